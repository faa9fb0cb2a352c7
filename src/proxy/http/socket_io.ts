/**
 * A codec's view of its socket: reads as calls, writes gathered. What codecs write while one chunk of input is worked on
 * (a head, its body, the next pipelined answer) goes out in one system call when the chunk is done; strings and small
 * buffers are joined as latin1 text, the cheapest form for Node to write. On the hot path: bench/micro/http1_proxy.ts.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { latin1Slice } from './latin1.ts';
import {
  lastWriteWasAsync,
  newWriteRequest,
  rawHandle,
  type StreamHandle,
  takeReadsInto,
  type WriteOwner,
  type WriteRequest,
} from './stream_handle.ts';

/** Who hears the socket. */
export interface IoListener {
  onData(chunk: Buffer): void;
  /** The peer shut down its sending side. */
  onEnd(): void;
  /** The socket is gone; called once. */
  onClose(error: Error | undefined): void;
  /** All that was queued has been handed to the kernel. */
  onDrain(): void;
}

/** Buffers up to this size are joined with the text before them; larger ones are written as they are. */
const joinBytes = 8 * 1024;
/** Text is handed to the socket when it has grown to this size, even inside a batch. */
const maxText = 64 * 1024;

/** Where all sockets of the worker read into: what a read brings is copied out at once. */
const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024);
/** A read this large is not copied: from then on the socket has buffers of its own, which go to the reader. */
const bulkBytes = 32 * 1024;

let depth = 0;
const dirty: SocketIo[] = [];
let batchTime = 0;

/** Begins a batch: writes are held back until the matching `endBatch`. Batches nest. */
export function beginBatch(): void {
  depth++;
}

/** Ends a batch; the outermost end flushes every socket that was written to. */
export function endBatch(): void {
  if (depth > 1) {
    depth--;
    return;
  }
  // A flush may write again (drain callbacks): the list grows while it is walked, still inside the batch.
  for (let i = 0; i < dirty.length; i++) (dirty[i] as SocketIo).flush();
  dirty.length = 0;
  depth = 0;
  batchTime = 0;
}

/** Sockets that are flushed when the events of this turn of the loop have been worked on. */
let turn: SocketIo[] = [];

function flushTurn(): void {
  const sockets = turn;
  turn = [];
  beginBatch();
  try {
    for (let i = 0; i < sockets.length; i++) (sockets[i] as SocketIo).flush();
  } finally {
    endBatch();
  }
}

/** `performance.now()`; within a batch the clock is read once. */
export function batchNow(): number {
  if (depth === 0) return performance.now();
  if (batchTime === 0) batchTime = performance.now();
  return batchTime;
}

/** Owns the events of one socket. The listener can be replaced (protocol detection). */
export class SocketIo implements WriteOwner {
  readonly socket: Socket;
  listener: IoListener;
  /** Undefined: reads and writes go through the socket's streams. */
  readonly #handle: StreamHandle | undefined;
  /** Buffer of the next read. */
  #buffer: Buffer = sharedBuffer;
  /** Free for the next write. */
  #request: WriteRequest | undefined = undefined;
  /** Bytes that the handle has taken and not yet written. */
  #pending = 0;
  /** A TLS handle takes one write at a time and ends the process over a second: what comes meanwhile waits here. */
  readonly #oneWrite: boolean;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #text = '';
  #queued = false;
  #ended = false;
  #endWaits = false;
  #closed = false;
  #error: Error | undefined = undefined;
  #pauses = 0;
  /**
   * Small writes wait for the end of the loop's turn, not of the batch: for a connection that many others write to, whose
   * events come one after the other.
   */
  flushPerTurn = false;
  /** Bytes read and written so far, for statistics. */
  bytesRead = 0;
  bytesWritten = 0;

  constructor(socket: Socket, listener: IoListener) {
    this.socket = socket;
    this.listener = listener;
    const onData = (chunk: Buffer): void => {
      this.bytesRead += chunk.length;
      depth++;
      try {
        this.listener.onData(chunk);
      } finally {
        endBatch();
      }
    };
    // Raw writes would overtake what the stream has still to write itself.
    const handle = socket.writableLength === 0 ? rawHandle(socket) : undefined;
    const raw =
      handle !== undefined && takeReadsInto(handle, sharedBuffer, (bytes) => this.#onBytes(bytes, onData));
    this.#handle = raw ? handle : undefined;
    this.#oneWrite = this.#handle !== undefined && socket instanceof TLSSocket;
    // With a raw handle only what the socket held before comes this way.
    socket.on('data', onData);
    socket.on('end', () => {
      beginBatch();
      this.listener.onEnd();
      endBatch();
    });
    socket.on('error', (error: Error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.#closed = true;
      this.#text = '';
      beginBatch();
      this.listener.onClose(this.#error);
      endBatch();
    });
    if (this.#handle === undefined) socket.on('drain', () => this.#drained());
    socket.resume();
  }

  #onBytes(bytes: number, onData: (chunk: Buffer) => void): Buffer | undefined {
    const buffer = this.#buffer;
    let chunk: Buffer;
    if (buffer === sharedBuffer) {
      chunk = Buffer.allocUnsafe(bytes);
      buffer.copy(chunk, 0, 0, bytes);
      if (bytes < bulkBytes) {
        onData(chunk);
        return undefined;
      }
    } else chunk = buffer.subarray(0, bytes);
    const next = bytes < bulkBytes ? sharedBuffer : Buffer.allocUnsafeSlow(sharedBuffer.length);
    this.#buffer = next;
    onData(chunk);
    return next;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes not yet handed to the kernel. */
  get queuedBytes(): number {
    return (
      this.#pending +
      this.#heldBytes +
      this.#text.length +
      (this.#handle === undefined ? this.socket.writableLength : 0)
    );
  }

  /** `queuedBytes` above this is sure to be followed by `onDrain`. */
  get drainMark(): number {
    return this.#handle === undefined ? this.socket.writableHighWaterMark : maxText;
  }

  /** Writes latin1 text. */
  writeText(text: string): void {
    if (this.#ended) return;
    this.bytesWritten += text.length;
    this.#text += text;
    if (this.#text.length > maxText) this.#writeOut();
    else if (this.#queued) return;
    else if (this.flushPerTurn) {
      this.#queued = true;
      if (turn.length === 0) setImmediate(flushTurn);
      turn.push(this);
    } else if (depth === 0) this.#writeOut();
    else {
      this.#queued = true;
      dirty.push(this);
    }
  }

  writeBuffer(data: Buffer): void {
    if (this.#ended) return;
    if (data.length <= joinBytes) {
      this.writeText(latin1Slice(data, 0, data.length));
      return;
    }
    this.bytesWritten += data.length;
    const text = this.#text;
    this.#text = '';
    if (this.#closed || this.socket.destroyed) return;
    const handle = this.#handle;
    if (this.#oneWrite && this.#pending > 0) {
      if (text !== '') this.#hold(Buffer.from(text, 'latin1'));
      this.#hold(data);
      return;
    }
    if (handle !== undefined) {
      const request = this.#request ?? newWriteRequest(handle);
      if (text === '') {
        request.buffer = data;
        this.#written(request, handle.writeBuffer(request, data), data.length);
      } else {
        const parts = [Buffer.from(text, 'latin1'), data];
        request.buffer = parts;
        this.#written(request, handle.writev(request, parts, true), text.length + data.length);
      }
      return;
    }
    if (text === '') {
      this.socket.write(data);
      return;
    }
    this.socket.cork();
    this.socket.write(text, 'latin1');
    this.socket.write(data);
    this.socket.uncork();
  }

  /** Hands gathered text to the socket. */
  flush(): void {
    this.#queued = false;
    if (this.#text !== '') this.#writeOut();
  }

  #writeOut(): void {
    const text = this.#text;
    this.#text = '';
    if (this.#closed || this.socket.destroyed) return;
    const handle = this.#handle;
    if (handle === undefined) {
      this.socket.write(text, 'latin1');
      return;
    }
    if (this.#oneWrite && this.#pending > 0) {
      this.#hold(Buffer.from(text, 'latin1'));
      return;
    }
    const request = this.#request ?? newWriteRequest(handle);
    this.#written(request, handle.writeLatin1String(request, text), text.length);
  }

  #hold(data: Buffer): void {
    this.#held.push(data);
    this.#heldBytes += data.length;
  }

  #writeHeld(handle: StreamHandle): void {
    const parts = this.#held;
    const bytes = this.#heldBytes;
    this.#held = [];
    this.#heldBytes = 0;
    const request = this.#request ?? newWriteRequest(handle);
    request.buffer = parts;
    this.#written(request, handle.writev(request, parts, true), bytes);
  }

  #written(request: WriteRequest, error: number, bytes: number): void {
    this.#request = undefined;
    if (error !== 0) {
      this.#fail(error);
      return;
    }
    if (!lastWriteWasAsync()) {
      request.buffer = undefined;
      this.#request = request;
      return;
    }
    request.io = this;
    request.bytes = bytes;
    this.#pending += bytes;
  }

  /** A write that took longer than its call is done. */
  onWritten(bytes: number, status: number): void {
    this.#pending -= bytes;
    if (this.#closed || this.socket.destroyed) return;
    if (status !== 0) {
      this.#fail(status);
      return;
    }
    if (this.#pending === 0 && this.#heldBytes > 0 && this.#handle !== undefined)
      this.#writeHeld(this.#handle);
    if (this.#pending > 0) return;
    if (this.#endWaits) {
      this.#endWaits = false;
      this.socket.end();
    }
    this.#drained();
  }

  #fail(status: number): void {
    this.#ended = true;
    this.socket.destroy(new Error(`write failed (${status})`));
  }

  #drained(): void {
    beginBatch();
    this.listener.onDrain();
    endBatch();
  }

  /** Stops reading; calls count. */
  pause(): void {
    if (this.#pauses++ > 0) return;
    this.socket.pause();
    const handle = this.#handle;
    if (handle !== undefined && handle.reading && !this.socket.destroyed) {
      handle.reading = false;
      handle.readStop();
    }
  }

  resume(): void {
    if (this.#pauses === 0 || --this.#pauses > 0 || this.#closed || this.socket.destroyed) return;
    this.socket.resume();
    const handle = this.#handle;
    if (handle !== undefined && !handle.reading) {
      handle.reading = true;
      handle.readStart();
    }
  }

  get paused(): boolean {
    return this.#pauses > 0;
  }

  /** Shuts down the sending side after all that was written. */
  end(): void {
    if (this.#ended) return;
    this.flush();
    this.#ended = true;
    if (this.#closed) return;
    if (this.#pending > 0) this.#endWaits = true;
    else this.socket.end();
  }

  /** Closes at once; queued bytes are lost. `onClose` follows later. */
  destroy(): void {
    this.#ended = true;
    this.#text = '';
    this.socket.destroy();
  }
}
