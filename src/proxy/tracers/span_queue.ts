/** Finished spans on their way to a collector: few at a time, or what there is after a while. */
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';

/** Spans that wait; more are dropped and counted. */
const maxWaiting = 4096;

export interface SpanQueueOptions<T> {
  /** Waiting spans that are sent at once. */
  readonly minFlush: () => number;
  /** Milliseconds from the first span that waits. */
  readonly flushIntervalMs: () => number;
  /** Sends them; false when it cannot take more. @param byTimer the interval is over. */
  send(spans: T[], byTimer: boolean): boolean;
  onDropped(count: number): void;
}

function onTimer(queue: { flush(byTimer: boolean): void }): void {
  queue.flush(true);
}

export class SpanQueue<T> {
  readonly #options: SpanQueueOptions<T>;
  #waiting: T[] = [];
  #timer: TimerHandle | undefined = undefined;

  constructor(options: SpanQueueOptions<T>) {
    this.#options = options;
  }

  push(span: T): void {
    if (this.#waiting.length >= maxWaiting) {
      this.#options.onDropped(1);
      return;
    }
    this.#waiting.push(span);
    if (this.#waiting.length >= this.#options.minFlush()) this.flush(false);
    else this.#timer ??= workerTimers.schedule(this.#options.flushIntervalMs(), onTimer, this);
  }

  flush(byTimer: boolean): void {
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    if (this.#waiting.length === 0) return;
    const spans = this.#waiting;
    this.#waiting = [];
    if (!this.#options.send(spans, byTimer)) this.#options.onDropped(spans.length);
  }
}
