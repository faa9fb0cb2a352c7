/** Waiting times that double at each failure, with jitter on the upper half. */
export interface BackoffOptions {
  /** First wait in milliseconds. */
  readonly baseMs: number;
  /** Longest wait in milliseconds. */
  readonly maxMs: number;
  /** Source of randomness in [0, 1). Default `Math.random`. */
  readonly random?: () => number;
}

/** Exponential back-off: `next()` gives the wait before the next try, `reset()` after a success. */
export class Backoff {
  #current: number;
  readonly #options: BackoffOptions;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#current = options.baseMs;
  }

  /** Milliseconds to wait now; the following wait is twice as long, at most `maxMs`. */
  next(): number {
    const wait = this.#current;
    this.#current = Math.min(wait * 2, this.#options.maxMs);
    return wait / 2 + ((this.#options.random ?? Math.random)() * wait) / 2;
  }

  reset(): void {
    this.#current = this.#options.baseMs;
  }
}
