/** Standard output and error of the process for the log lines of all workers: one batch after the other, none lost. */
import { write } from 'node:fs';

/** A pipe whose reader is slow answers EAGAIN: wait this long. */
const retryMs = 5;

/** Bytes that may wait for a reader that is slow; batches past that are dropped and counted. */
const maxWaitingBytes = 64 * 1024 * 1024;

/** Writes to one descriptor. `write` is `fs.write` unless a test gives another. */
export class StreamWriter {
  readonly #fd: number;
  readonly #write: typeof write;
  readonly #queue: Uint8Array[] = [];
  #waitingBytes = 0;
  #writing = false;
  readonly #onIdle: (() => void)[] = [];
  droppedBytes = 0;

  constructor(fd: number, writeFunction: typeof write = write) {
    this.#fd = fd;
    this.#write = writeFunction;
  }

  push(bytes: Uint8Array): void {
    if (this.#waitingBytes + bytes.length > maxWaitingBytes) {
      this.droppedBytes += bytes.length;
      return;
    }
    this.#queue.push(bytes);
    this.#waitingBytes += bytes.length;
    if (!this.#writing) this.#next();
  }

  /** Resolves when all that was pushed is written or dropped. */
  finish(): Promise<void> {
    if (!this.#writing) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #next(): void {
    const bytes = this.#queue[0];
    this.#writing = bytes !== undefined;
    if (bytes !== undefined) this.#continue(bytes, 0);
    else for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #continue(bytes: Uint8Array, offset: number): void {
    this.#write(this.#fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      if (error !== null && error.code === 'EAGAIN') {
        setTimeout(() => this.#continue(bytes, offset), retryMs);
        return;
      }
      if (error !== null) this.droppedBytes += bytes.length - offset;
      else if (offset + written < bytes.length) {
        this.#continue(bytes, offset + written);
        return;
      }
      this.#queue.shift();
      this.#waitingBytes -= bytes.length;
      this.#next();
    });
  }
}
