/**
 * Moves bytes from one socket to another. Below Node's streams where the handles allow it: one read buffer
 * for all small traffic, own ones where much flows, and a write that the kernel takes at once costs no allocation. Bench: bench/micro/tcp_proxy.ts.
 */
import type { Socket } from 'node:net';
import {
  type StreamHandle,
  type WriteOwner,
  type WriteRequest,
  lastWriteWasAsync,
  newWriteRequest,
  rawHandle,
  takeReadsInto,
} from '../../../http/stream_handle.ts';

/**
 * Where all directions of the worker read into while their traffic is small: an idle connection holds no memory of its own.
 * What a read brings is copied into `pieces` before it is written, because the kernel may take a write only in part.
 */
const shared = Buffer.allocUnsafeSlow(64 * 1024);
/** A read this large gives the direction a buffer of its own: from there on bytes are not copied. */
const bulkBytes = 32 * 1024;
/** Size of a direction's own buffer. */
const largeBuffer = 128 * 1024;
/** Reads in a row that use an eighth of an own buffer or less before it is given back. */
const smallReads = 32;
/** Copies of reads; the place is free again at once when the kernel took all. */
let pieces = Buffer.allocUnsafeSlow(64 * 1024);
let piecesUsed = 0;

function copyPiece(bytes: number): Buffer {
  if (piecesUsed + bytes > pieces.length) {
    pieces = Buffer.allocUnsafeSlow(64 * 1024);
    piecesUsed = 0;
  }
  shared.copy(pieces, piecesUsed, 0, bytes);
  return pieces.subarray(piecesUsed, piecesUsed + bytes);
}

/** Bytes that wait for a TLS sink before its source is paused, unless the limit of the connection is smaller. */
const highWatermark = 128 * 1024;
/** Smaller limits count as this: less than one small read would be a step per packet. */
const minLimit = 1024;

/** One direction of a connection. */
export class Pump implements WriteOwner {
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #onBytes: (bytes: number) => void;
  #from: StreamHandle | undefined = undefined;
  #to: StreamHandle | undefined = undefined;
  /** Of the next read: `shared` or an own one. */
  #buffer: Buffer;
  /** What all share, or as much of it as the limit allows to hold. */
  readonly #shared: Buffer;
  /** Bytes that may wait for the sink; reads are not larger. */
  readonly #limit: number;
  #spare: WriteRequest | undefined = undefined;
  #writing: WriteRequest | undefined = undefined;
  /** Pieces behind the write that goes on. */
  readonly #queue: Buffer[] = [];
  readonly #encrypts: boolean;
  #ending = false;
  #onEnd: (() => void) | undefined = undefined;
  #idleReads = 0;
  /** Bytes handed to the sink and not yet gone. */
  #waiting = 0;
  #paused = false;

  /**
   * @param onBytes called for each piece that was read.
   * @param limit bytes that may wait for the sink (`per_connection_buffer_limit_bytes`); above 128 KiB it changes nothing.
   */
  constructor(source: Socket, sink: Socket, onBytes: (bytes: number) => void, limit = highWatermark) {
    this.#limit = Math.max(minLimit, Math.min(limit, highWatermark));
    this.#shared = this.#limit < shared.length ? shared.subarray(0, this.#limit) : shared;
    this.#buffer = this.#shared;
    this.#source = source;
    this.#sink = sink;
    this.#onBytes = onBytes;
    this.#encrypts = 'encrypted' in sink;
  }

  /** Begins with what was read before; both sockets are connected. */
  start(): void {
    const source = this.#source;
    const early: Buffer[] = [];
    for (let chunk = source.read() as Buffer | null; chunk !== null; chunk = source.read() as Buffer | null)
      early.push(chunk);
    // Raw writes would overtake what a stream has still to write itself.
    const raw = this.#sink.writableLength === 0 && this.#takeHandles();
    if (!raw) this.#useStreams();
    for (const chunk of early) {
      this.#onBytes(chunk.length);
      if (raw) this.#send(chunk);
      else this.#sink.write(chunk);
    }
    source.resume();
  }

  #takeHandles(): boolean {
    const from = rawHandle(this.#source);
    const to = rawHandle(this.#sink);
    if (from === undefined || to === undefined) return false;
    if (!takeReadsInto(from, this.#shared, (bytes) => this.#onRead(bytes))) return false;
    this.#from = from;
    this.#to = to;
    return true;
  }

  /** Gives the buffer of the next read, undefined for the same one. */
  #onRead(bytes: number): Buffer | undefined {
    this.#onBytes(bytes);
    if (this.#sink.destroyed || this.#ending) return undefined;
    const buffer = this.#buffer;
    if (buffer === this.#shared) {
      if (bytes < bulkBytes) {
        if (this.#send(copyPiece(bytes))) piecesUsed += bytes;
        return undefined;
      }
      this.#send(Buffer.from(buffer.subarray(0, bytes)));
      this.#idleReads = 0;
      this.#buffer = this.#newBuffer();
      return this.#buffer;
    }
    const data = bytes === buffer.length ? buffer : buffer.subarray(0, bytes);
    const kept = this.#send(data);
    if (bytes * 8 > buffer.length) this.#idleReads = 0;
    else if (++this.#idleReads >= smallReads) {
      this.#buffer = this.#shared;
      return this.#buffer;
    }
    if (!kept) return undefined;
    // What waits in our queue, or in the kernel's, still lies in this memory.
    this.#buffer = this.#newBuffer();
    return this.#buffer;
  }

  #newBuffer(): Buffer {
    return Buffer.allocUnsafeSlow(Math.min(largeBuffer, this.#limit));
  }

  /** True when the memory of `data` is needed after the call. */
  #send(data: Buffer): boolean {
    if (this.#writing !== undefined) {
      // A TLS handle takes one write at a time.
      this.#queue.push(data);
      this.#waiting += data.length;
      this.#pause();
      return true;
    }
    if (!this.#write(data)) return false;
    this.#waiting += data.length;
    // A TLS handle is done in the same turn of the loop when the kernel takes all: to read on would only need more memory.
    // For small pieces that is cheaper than to stop and start reading.
    if (!this.#encrypts || data.length >= bulkBytes || this.#waiting > this.#limit) this.#pause();
    // OpenSSL has taken or copied what it was given.
    return !this.#encrypts;
  }

  /** True when the write goes on after the call. */
  #write(data: Buffer): boolean {
    const to = this.#to;
    if (to === undefined) return false;
    const request = this.#spare ?? newWriteRequest(to);
    this.#spare = undefined;
    if (to.writeBuffer(request, data) !== 0) {
      this.#sink.destroy();
      return false;
    }
    if (!lastWriteWasAsync()) {
      this.#spare = request;
      return false;
    }
    request.bytes = data.length;
    request.buffer = data;
    request.io = this;
    this.#writing = request;
    return true;
  }

  /** WriteOwner: a write that went on after its call is done. */
  onWritten(bytes: number, status: number): void {
    // The request object stays tied to the handle until this call returns: it is not used again.
    this.#writing = undefined;
    this.#waiting -= bytes;
    if (status < 0 || this.#sink.destroyed) {
      this.#sink.destroy();
      return;
    }
    while (this.#queue.length > 0 && this.#writing === undefined) {
      const data = this.#queue.length === 1 ? (this.#queue[0] as Buffer) : Buffer.concat(this.#queue);
      this.#queue.length = 0;
      if (!this.#write(data)) this.#waiting -= data.length;
    }
    if (this.#waiting === 0 && this.#ending) this.#finish();
    else if (this.#paused && this.#waiting <= this.#limit / 2) this.#resume();
  }

  /** Calls back when all that was read has left; nothing is read from the source any more. */
  end(callback: () => void): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#onEnd = callback;
    if (this.#waiting === 0) this.#finish();
  }

  #finish(): void {
    const callback = this.#onEnd;
    this.#onEnd = undefined;
    callback?.();
  }

  #pause(): void {
    const from = this.#from;
    if (this.#paused || from === undefined) return;
    this.#paused = true;
    from.reading = false;
    from.readStop();
  }

  #resume(): void {
    this.#paused = false;
    const from = this.#from;
    if (from === undefined || this.#source.destroyed) return;
    from.reading = true;
    from.readStart();
  }

  #useStreams(): void {
    const source = this.#source;
    const sink = this.#sink;
    source.on('data', (data: Buffer) => {
      this.#onBytes(data.length);
      if (!sink.write(data)) source.pause();
    });
    sink.on('drain', () => source.resume());
  }
}
