/** How many requests were made in the last interval, for retry budgets (`budget_interval`). One for all workers. */
import type { CountBlock } from '../network/shared_counts.ts';

// Words of the block.
const slot = 0;
const current = 1;
const previous = 2;

/** Counts in two slots of one interval each; the older one fades out as time passes. */
export class RequestWindow {
  readonly #intervalMs: number;
  readonly #block: CountBlock | undefined;
  readonly #words: Int32Array;
  readonly #now: () => number;

  /**
   * @param block numbers of all workers; undefined for one worker alone
   * @param now milliseconds since the epoch, which all workers agree on
   */
  constructor(intervalMs: number, block: CountBlock | undefined, now: () => number = Date.now) {
    this.#intervalMs = intervalMs;
    this.#block = block;
    this.#words = block?.words ?? new Int32Array(4);
    this.#now = now;
  }

  /** Share of the running slot that has passed. */
  #advance(): number {
    const words = this.#words;
    const time = this.#now() / this.#intervalMs;
    const wanted = Math.floor(time) | 0;
    const known = Atomics.load(words, slot);
    if (known !== wanted && Atomics.compareExchange(words, slot, known, wanted) === known) {
      const last = Atomics.exchange(words, current, 0);
      Atomics.store(words, previous, wanted === known + 1 ? last : 0);
    }
    return time - Math.floor(time);
  }

  add(): void {
    this.#advance();
    Atomics.add(this.#words, current, 1);
  }

  get count(): number {
    const passed = this.#advance();
    return (
      Atomics.load(this.#words, current) + Math.floor(Atomics.load(this.#words, previous) * (1 - passed))
    );
  }

  close(): void {
    this.#block?.close();
  }
}
