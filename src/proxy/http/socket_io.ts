/**
 * A codec's view of its socket: reads as calls, writes gathered. What codecs write while one chunk of input is worked on
 * (a head, its body, the next pipelined answer) goes out in one system call when the chunk is done; strings and small
 * buffers are joined as latin1 text, the cheapest form for Node to write. On the hot path: bench/micro/http1_proxy.ts.
 */
import type { Socket } from 'node:net';
import { latin1Slice } from './latin1.ts';

/** Who hears the socket. */
export interface IoListener {
  onData(chunk: Buffer): void;
  /** The peer shut down its sending side. */
  onEnd(): void;
  /** The socket is gone; called once. */
  onClose(error: Error | undefined): void;
  /** All that was queued has been handed to the kernel, after `queuedBytes` had grown past the socket's own mark. */
  onDrain(): void;
}

/** Buffers up to this size are joined with the text before them; larger ones are written as they are. */
const joinBytes = 8 * 1024;
/** Text is handed to the socket when it has grown to this size, even inside a batch. */
const maxText = 64 * 1024;

let depth = 0;
const dirty: SocketIo[] = [];

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
}

/** Owns the events of one socket. The listener can be replaced (protocol detection). */
export class SocketIo {
  readonly socket: Socket;
  listener: IoListener;
  #text = '';
  #queued = false;
  #ended = false;
  #closed = false;
  #error: Error | undefined = undefined;
  #pauses = 0;
  /** Bytes read and written so far, for statistics. */
  bytesRead = 0;
  bytesWritten = 0;

  constructor(socket: Socket, listener: IoListener) {
    this.socket = socket;
    this.listener = listener;
    socket.on('data', (chunk: Buffer) => {
      this.bytesRead += chunk.length;
      depth++;
      try {
        this.listener.onData(chunk);
      } finally {
        endBatch();
      }
    });
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
    socket.on('drain', () => {
      beginBatch();
      this.listener.onDrain();
      endBatch();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes not yet handed to the kernel. */
  get queuedBytes(): number {
    return this.socket.writableLength + this.#text.length;
  }

  /** Writes latin1 text. */
  writeText(text: string): void {
    if (this.#ended) return;
    this.bytesWritten += text.length;
    this.#text += text;
    if (depth === 0) this.flush();
    else if (!this.#queued) {
      this.#queued = true;
      dirty.push(this);
    } else if (this.#text.length > maxText) this.#writeOut();
  }

  writeBuffer(data: Buffer): void {
    if (this.#ended) return;
    if (data.length <= joinBytes) {
      this.writeText(latin1Slice(data, 0, data.length));
      return;
    }
    this.bytesWritten += data.length;
    if (this.#text === '') {
      this.socket.write(data);
      return;
    }
    this.socket.cork();
    this.#writeOut();
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
    if (!this.#closed) this.socket.write(text, 'latin1');
  }

  /** Stops reading; calls count. */
  pause(): void {
    if (this.#pauses++ === 0) this.socket.pause();
  }

  resume(): void {
    if (this.#pauses > 0 && --this.#pauses === 0 && !this.#closed) this.socket.resume();
  }

  get paused(): boolean {
    return this.#pauses > 0;
  }

  /** Shuts down the sending side after all that was written. */
  end(): void {
    if (this.#ended) return;
    this.flush();
    this.#ended = true;
    if (!this.#closed) this.socket.end();
  }

  /** Closes at once; queued bytes are lost. `onClose` follows later. */
  destroy(): void {
    this.#ended = true;
    this.#text = '';
    this.socket.destroy();
  }
}
