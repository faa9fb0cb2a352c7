/**
 * Where access logs go. Lines gather in memory and leave as whole lines: at 64 KiB, or 100 ms after the first. Files are
 * written by the worker itself (O_APPEND keeps batches of workers apart); standard output and error belong to the process,
 * so their batches go to the main thread, which writes them one after the other.
 */
import { closeSync, constants, openSync, write } from 'node:fs';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';

/** Node's method behind `write(text, offset, 'latin1')`, without the look-up of the encoding. */
interface Latin1Buffer extends Buffer {
  latin1Write(text: string, offset: number): number;
}

/** Largest batch: a full one leaves at once. */
const batchBytes = 64 * 1024;
const flushIntervalMs = 100;
/** Bytes that may wait for a slow disk; lines past that are dropped and counted. */
const maxWaitingBytes = 16 * 1024 * 1024;

/** A named pipe without a reader is refused; without O_NONBLOCK the open would wait for one, and the worker with it. */
const openFlags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

/** Takes lines, each with its newline, one character per byte. */
export interface LogSink {
  write(line: string): void;
}

function onFlushTime(batch: Batch): void {
  batch.flush();
}

/**
 * Gathers lines and gives batches to `#deliver`. Lines become bytes at once, in one block that is used again: text that waits
 * would outlive the young generation.
 */
class Batch implements LogSink {
  readonly #deliver: (bytes: Buffer) => void;
  #block: Buffer | undefined;
  #length = 0;
  #timer: TimerHandle | undefined;

  /** @param deliver gets bytes that stay as they are until it gives them to `reuse`. */
  constructor(deliver: (bytes: Buffer) => void) {
    this.#deliver = deliver;
  }

  write(line: string): void {
    if (this.#length + line.length > batchBytes) this.flush();
    if (line.length > batchBytes) {
      this.#deliver(Buffer.from(line, 'latin1'));
      return;
    }
    this.#block ??= Buffer.allocUnsafeSlow(batchBytes);
    this.#length += (this.#block as Latin1Buffer).latin1Write(line, this.#length);
    this.#timer ??= workerTimers.schedule(flushIntervalMs, onFlushTime, this as Batch);
  }

  flush(): void {
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    const block = this.#block;
    if (block === undefined || this.#length === 0) return;
    const bytes = block.subarray(0, this.#length);
    this.#block = undefined;
    this.#length = 0;
    this.#deliver(bytes);
  }

  /** Takes back a block whose bytes are written. */
  reuse(bytes: Buffer): void {
    if (this.#block === undefined && bytes.buffer.byteLength === batchBytes)
      this.#block = Buffer.from(bytes.buffer);
  }
}

/** One open file; one write at a time, in order. */
class FileWriter {
  readonly #path: string;
  #fd: number;
  /** Told of bytes that are written. */
  onWritten: (bytes: Buffer) => void = () => {};
  readonly #queue: Buffer[] = [];
  #waitingBytes = 0;
  #writing = false;
  readonly #onIdle: (() => void)[] = [];
  droppedBytes = 0;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, openFlags, 0o644);
  }

  push(bytes: Buffer): void {
    if (this.#waitingBytes + bytes.length > maxWaitingBytes) {
      this.droppedBytes += bytes.length;
      return;
    }
    this.#queue.push(bytes);
    this.#waitingBytes += bytes.length;
    if (!this.#writing) this.#next();
  }

  #next(): void {
    const bytes = this.#queue[0];
    this.#writing = bytes !== undefined;
    if (bytes !== undefined) this.#write(bytes, 0);
    else for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #write(bytes: Buffer, offset: number): void {
    write(this.#fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      if (error !== null) this.droppedBytes += bytes.length - offset;
      else if (offset + written < bytes.length) {
        this.#write(bytes, offset + written);
        return;
      }
      this.#queue.shift();
      this.#waitingBytes -= bytes.length;
      this.onWritten(bytes);
      this.#next();
    });
  }

  /** After a rotation: the next write goes to a new file of the same name. */
  reopen(): void {
    const fd = openSync(this.#path, openFlags, 0o644);
    const old = this.#fd;
    this.#fd = fd;
    // A write on the old descriptor may be under way: it keeps its place until that is done.
    setTimeout(() => closeSync(old), 1000).unref();
  }

  /** Resolves when all that was pushed is written. */
  finish(): Promise<void> {
    if (!this.#writing) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }
}

const streams: Readonly<Record<string, 1 | 2>> = {
  '/dev/stdout': 1,
  '/proc/self/fd/1': 1,
  '/dev/fd/1': 1,
  '/dev/stderr': 2,
  '/proc/self/fd/2': 2,
  '/dev/fd/2': 2,
};

/** All sinks of one worker, by path. They live as long as the worker. */
export class LogSinks {
  readonly #post: (fd: 1 | 2, text: Uint8Array) => void;
  readonly #sinks = new Map<string, Batch>();
  readonly #files: FileWriter[] = [];

  /** @param post hands whole lines for standard output (1) or error (2) to the main thread. */
  constructor(post: (fd: 1 | 2, text: Uint8Array) => void) {
    this.#post = post;
  }

  /** @throws Error when the file cannot be opened. */
  open(path: string): LogSink {
    const fd = streams[path];
    const key = fd === undefined ? path : `fd ${fd}`;
    let sink = this.#sinks.get(key);
    if (sink !== undefined) return sink;
    if (fd === undefined) {
      let file: FileWriter;
      try {
        file = new FileWriter(path);
      } catch (error) {
        throw new Error(`unable to open file '${path}': ${(error as Error).message}`, { cause: error });
      }
      this.#files.push(file);
      const batch = new Batch((bytes) => file.push(bytes));
      file.onWritten = (bytes) => batch.reuse(bytes);
      sink = batch;
    } else {
      const batch = new Batch((bytes) => {
        this.#post(fd, new Uint8Array(bytes));
        batch.reuse(bytes);
      });
      sink = batch;
    }
    this.#sinks.set(key, sink);
    return sink;
  }

  /** Bytes that were dropped because a disk was slow or full. */
  get droppedBytes(): number {
    return this.#files.reduce((sum, file) => sum + file.droppedBytes, 0);
  }

  flush(): void {
    for (const sink of this.#sinks.values()) sink.flush();
  }

  reopen(): void {
    this.flush();
    for (const file of this.#files) file.reopen();
  }

  /** Resolves when all lines are written: nothing is lost at the end of a worker. */
  async close(): Promise<void> {
    this.flush();
    await Promise.all(this.#files.map((file) => file.finish()));
  }
}
