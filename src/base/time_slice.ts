/** Lets requests through while much is to be done: work is cut into slices of a millisecond. */

/** A slice: some resources more or less, far below what a request may wait. */
const sliceMs = 1;

export class TimeSlice {
  #beginMs = performance.now();

  /** True when other work should have its turn: then await `pause`. */
  get over(): boolean {
    return performance.now() - this.#beginMs > sliceMs;
  }

  /** Lets everything that waits on the event loop run once. */
  async pause(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#beginMs = performance.now();
  }
}
