/** Entries on their way to a log service: sent when they are many bytes, or after a while. */
import type { Counter } from '#telemetry/metrics.ts';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';

/** Bytes that wait at most; what comes then is dropped and counted. */
const maxWaitingBytes = 1024 * 1024;

/** Envoy's defaults of `buffer_size_bytes` and `buffer_flush_interval`. */
export const defaultBufferBytes = 16_384;
export const defaultFlushMs = 1000;

export interface EntryQueueOptions {
  /** Bytes that are sent at once; 0 sends each entry by itself. */
  readonly bufferBytes: number;
  readonly flushMs: number;
  readonly written: Counter;
  readonly dropped: Counter;
  /** False when nothing can be sent now: the entries are dropped. */
  send(entries: readonly Uint8Array[]): boolean;
}

function onTimer(queue: EntryQueue): void {
  queue.flush();
}

/** Holds encoded entries: nothing of a request lives on in it. */
export class EntryQueue {
  readonly #options: EntryQueueOptions;
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #timer: TimerHandle | undefined = undefined;

  constructor(options: EntryQueueOptions) {
    this.#options = options;
  }

  push(entry: Uint8Array): void {
    const { bufferBytes, flushMs, written, dropped } = this.#options;
    if (entry.length > maxWaitingBytes) {
      dropped.inc();
      return;
    }
    written.inc();
    this.#waiting.push(entry);
    this.#bytes += entry.length;
    if (this.#bytes >= Math.min(bufferBytes, maxWaitingBytes)) this.flush();
    else this.#timer ??= workerTimers.schedule(flushMs, onTimer, this as EntryQueue);
  }

  flush(): void {
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    const entries = this.#waiting;
    if (entries.length === 0) return;
    this.#waiting = [];
    this.#bytes = 0;
    if (!this.#options.send(entries)) this.#options.dropped.inc(entries.length);
  }
}
