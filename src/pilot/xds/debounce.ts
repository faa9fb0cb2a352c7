/** Waits until changes have become quiet, so that a burst makes one push. */
import type { ConfigChange } from '#config/store/store.ts';

export interface DebounceOptions {
  /** Quiet time after the last change, default 100 ms (`PILOT_DEBOUNCE_AFTER`). */
  readonly afterMs?: number;
  /** Longest wait since the first change, default 10 s (`PILOT_DEBOUNCE_MAX`). */
  readonly maxMs?: number;
}

/** A burst of changes. */
export interface ChangeBatch {
  readonly changes: readonly ConfigChange[];
  /** When the first change came, milliseconds since the epoch. */
  readonly startedAt: number;
  /** Notifications that were merged. */
  readonly merged: number;
}

/** Merges changes; calls `flush` once per burst. */
export class Debounce {
  readonly #afterMs: number;
  readonly #maxMs: number;
  readonly #flush: (batch: ChangeBatch) => void;
  #changes: ConfigChange[] = [];
  #merged = 0;
  #startedAt = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DebounceOptions, flush: (batch: ChangeBatch) => void) {
    this.#afterMs = options.afterMs ?? 100;
    this.#maxMs = options.maxMs ?? 10_000;
    this.#flush = flush;
  }

  /** An empty list of changes asks for a push of what there is. */
  add(changes: readonly ConfigChange[]): void {
    const now = Date.now();
    if (this.#timer === undefined) this.#startedAt = now;
    clearTimeout(this.#timer);
    for (const change of changes) this.#changes.push(change);
    this.#merged++;
    const wait = Math.min(this.#afterMs, this.#startedAt + this.#maxMs - now);
    this.#timer = setTimeout(() => this.#fire(), Math.max(wait, 0));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #fire(): void {
    this.#timer = undefined;
    const batch = { changes: this.#changes, startedAt: this.#startedAt, merged: this.#merged };
    this.#changes = [];
    this.#merged = 0;
    this.#flush(batch);
  }
}
