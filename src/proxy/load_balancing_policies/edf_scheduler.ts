/** Earliest deadline first: picks entries in proportion to their weights, evenly spread (envoy EdfScheduler). */

interface Item<T> {
  deadline: number;
  /** Order of insertion breaks ties. */
  order: number;
  readonly entry: T;
}

/** A binary heap by deadline. Weights are asked for at each pick, so that they may change. */
export class EdfScheduler<T> {
  readonly #heap: Item<T>[] = [];
  readonly #weightOf: (entry: T) => number;
  #time = 0;
  #order = 0;

  /** @param random numbers in [0, 1): where in its cycle the schedule begins. */
  constructor(entries: readonly T[], weightOf: (entry: T) => number, random: () => number) {
    this.#weightOf = weightOf;
    // Deadlines of a first turn at random points: workers that start together do not all begin with the same host.
    for (const entry of entries)
      this.#push({ deadline: random() / weightOf(entry), order: this.#order++, entry });
  }

  /** The entry whose turn it is; undefined when there is none. */
  pick(): T | undefined {
    const top = this.#heap[0];
    if (top === undefined) return undefined;
    this.#time = top.deadline;
    top.deadline = this.#time + 1 / this.#weightOf(top.entry);
    top.order = this.#order++;
    this.#siftDown();
    return top.entry;
  }

  #push(item: Item<T>): void {
    const heap = this.#heap;
    let i = heap.push(item) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(item, heap[parent] as Item<T>)) break;
      heap[i] = heap[parent] as Item<T>;
      i = parent;
    }
    heap[i] = item;
  }

  #siftDown(): void {
    const heap = this.#heap;
    const item = heap[0] as Item<T>;
    let i = 0;
    for (;;) {
      let next = 2 * i + 1;
      if (next >= heap.length) break;
      if (next + 1 < heap.length && before(heap[next + 1] as Item<T>, heap[next] as Item<T>)) next++;
      if (!before(heap[next] as Item<T>, item)) break;
      heap[i] = heap[next] as Item<T>;
      i = next;
    }
    heap[i] = item;
  }
}

function before(a: { deadline: number; order: number }, b: { deadline: number; order: number }): boolean {
  return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
}
