/**
 * Counts that all workers share: circuit breakers, rate limits, the global connection limit. One worker alone counts in its
 * own memory; several count in one SharedArrayBuffer that the main thread makes (`SharedCounts.allocate`) and hands to each.
 *
 * Counts have names; a name gives the same numbers in every worker. What a worker holds (`acquire`) is also written down
 * under its index, so that the main thread gives it back when the worker dies (`releaseWorker`).
 */
import { hash } from 'node:crypto';

/** Numbers under one name. */
export const countsPerName = 4;

/** Which of the numbers under a name. */
export type CountIndex = 0 | 1 | 2 | 3;

/** The numbers under one name. All operations are atomic over workers. */
export interface CountBlock {
  /** Counts one more unless `limit` are counted already; false then. */
  tryAcquire(index: CountIndex, limit: number): boolean;
  /** Counts one more, past any limit. */
  acquire(index: CountIndex): void;
  release(index: CountIndex): void;
  /** What all workers hold. */
  value(index: CountIndex): number;
  /**
   * The numbers themselves, 16 bytes aligned to 8, for state that is not held by anybody (a token bucket): it outlives the
   * death of a worker while another worker has the name open. Zero at first. Use `Atomics`.
   */
  readonly words: Int32Array;
  /** Gives the name up; the numbers are dropped when no worker has it open. Call once; nothing may be held. */
  close(): void;
}

/** Where workers get their numbers. */
export interface Counts {
  /** Opens a name. The same name twice gives the same numbers; each has to be closed. */
  open(name: string): CountBlock;
}

class LocalBlock implements CountBlock {
  readonly words = new Int32Array(countsPerName);
  references = 0;
  readonly #onUnused: () => void;

  constructor(onUnused: () => void) {
    this.#onUnused = onUnused;
  }

  tryAcquire(index: CountIndex, limit: number): boolean {
    const count = this.words[index] as number;
    if (count >= limit) return false;
    this.words[index] = count + 1;
    return true;
  }

  acquire(index: CountIndex): void {
    (this.words[index] as number)++;
  }

  release(index: CountIndex): void {
    (this.words[index] as number)--;
  }

  value(index: CountIndex): number {
    return this.words[index] as number;
  }

  close(): void {
    if (--this.references === 0) this.#onUnused();
  }
}

/** Counts of one worker alone. */
export class LocalCounts implements Counts {
  readonly #blocks = new Map<string, LocalBlock>();

  open(name: string): CountBlock {
    let block = this.#blocks.get(name);
    if (block === undefined) {
      block = new LocalBlock(() => void this.#blocks.delete(name));
      this.#blocks.set(name, block);
    }
    block.references++;
    return block;
  }
}

/** Names that may be open at a time. Past that a worker counts for itself. */
const defaultCapacity = 16_384;

/** 32-bit words before the slots: the lock. Eight bytes, so that keys are aligned. */
const headerWords = 2;

const freeKey = 0n;
/** The slot was used once: a search goes on past it. */
const deletedKey = 1n;

function keyOf(name: string): bigint {
  const key = hash('sha256', name, 'buffer').readBigInt64LE(0);
  return key === freeKey || key === deletedKey ? 2n : key;
}

class SharedBlock implements CountBlock {
  readonly words: Int32Array;
  readonly #own: Int32Array;
  readonly #onClose: () => void;

  /** @param own what this worker holds of each. */
  constructor(words: Int32Array, own: Int32Array, onClose: () => void) {
    this.words = words;
    this.#own = own;
    this.#onClose = onClose;
  }

  tryAcquire(index: CountIndex, limit: number): boolean {
    if (Atomics.add(this.words, index, 1) >= limit) {
      Atomics.sub(this.words, index, 1);
      return false;
    }
    (this.#own[index] as number)++;
    return true;
  }

  acquire(index: CountIndex): void {
    Atomics.add(this.words, index, 1);
    (this.#own[index] as number)++;
  }

  release(index: CountIndex): void {
    Atomics.sub(this.words, index, 1);
    (this.#own[index] as number)--;
  }

  value(index: CountIndex): number {
    return Atomics.load(this.words, index);
  }

  close(): void {
    this.#onClose();
  }
}

/**
 * Counts in shared memory: a table of slots, found by a 64-bit digest of the name. A slot is its key, the numbers, and for
 * each worker how often it has the name open and what it holds. Opening and closing take a lock; counting does not.
 */
export class SharedCounts implements Counts {
  readonly #buffer: SharedArrayBuffer;
  readonly #all: Int32Array;
  /** The same memory by keys: a slot's key is its first two words. */
  readonly #keys: BigInt64Array;
  readonly #worker: number;
  readonly #workers: number;
  readonly #slotWords: number;
  readonly #capacity: number;
  readonly #alone = new LocalCounts();

  /**
   * @param buffer of `allocate`
   * @param workers the same number as given there
   * @param worker index of this worker, from 0; `workers` for the main thread
   */
  constructor(buffer: SharedArrayBuffer, workers: number, worker: number) {
    this.#buffer = buffer;
    this.#all = new Int32Array(buffer);
    this.#keys = new BigInt64Array(buffer);
    this.#workers = workers;
    this.#worker = worker;
    this.#slotWords = slotWords(workers);
    this.#capacity = Math.floor((this.#all.length - headerWords) / this.#slotWords);
  }

  /** Memory for so many workers; pages that no name uses are never touched. */
  static allocate(workers: number, capacity: number = defaultCapacity): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (headerWords + capacity * slotWords(workers)));
  }

  open(name: string): CountBlock {
    this.#lock();
    const slot = this.#find(keyOf(name));
    if (slot !== undefined && this.#worker < this.#workers) Atomics.add(this.#all, this.#references(slot), 1);
    this.#unlock();
    if (slot === undefined) return this.#alone.open(name);
    const base = this.#base(slot);
    return new SharedBlock(
      new Int32Array(this.#buffer, 4 * (base + 2), countsPerName),
      new Int32Array(this.#buffer, 4 * (this.#references(slot) + 1), countsPerName),
      () => this.#close(slot),
    );
  }

  /** Main thread: a worker is gone. What it held is given back, what only it had open is dropped. */
  releaseWorker(worker: number): void {
    // It may have died while it held the lock; the table is whole at every step of it.
    Atomics.compareExchange(this.#all, 0, worker + 1, 0);
    this.#lock();
    for (let slot = 0; slot < this.#capacity; slot++) {
      const key = this.#keys[this.#keyAt(slot)];
      if (key === freeKey || key === deletedKey) continue;
      const references = this.#references(slot, worker);
      if (this.#all[references] === 0) continue;
      this.#all[references] = 0;
      for (let i = 0; i < countsPerName; i++) {
        Atomics.sub(this.#all, this.#base(slot) + 2 + i, this.#all[references + 1 + i] as number);
        this.#all[references + 1 + i] = 0;
      }
      this.#dropUnused(slot);
    }
    this.#unlock();
  }

  #close(slot: number): void {
    this.#lock();
    if (Atomics.sub(this.#all, this.#references(slot), 1) === 1) this.#dropUnused(slot);
    this.#unlock();
  }

  #dropUnused(slot: number): void {
    for (let worker = 0; worker < this.#workers; worker++)
      if (this.#all[this.#references(slot, worker)] !== 0) return;
    const base = this.#base(slot);
    this.#all.fill(0, base + 2, base + this.#slotWords);
    // A run that ends here needs no mark.
    const next = this.#keys[this.#keyAt((slot + 1) % this.#capacity)];
    this.#keys[this.#keyAt(slot)] = next === freeKey ? freeKey : deletedKey;
  }

  /** The slot of a key, taken when there is none yet; undefined when the table is full. */
  #find(key: bigint): number | undefined {
    const start = Number(BigInt.asUintN(32, key)) % this.#capacity;
    let reusable: number | undefined;
    for (let i = 0; i < this.#capacity; i++) {
      const slot = (start + i) % this.#capacity;
      const found = this.#keys[this.#keyAt(slot)];
      if (found === key) return slot;
      if (found === deletedKey) reusable ??= slot;
      if (found === freeKey) {
        reusable ??= slot;
        break;
      }
    }
    if (reusable !== undefined) this.#keys[this.#keyAt(reusable)] = key;
    return reusable;
  }

  #base(slot: number): number {
    return headerWords + slot * this.#slotWords;
  }

  #keyAt(slot: number): number {
    return this.#base(slot) / 2;
  }

  /** Where a worker's references stand; what it holds follows. */
  #references(slot: number, worker: number = this.#worker): number {
    return this.#base(slot) + 2 + countsPerName + worker * (1 + countsPerName);
  }

  #lock(): void {
    // Held for microseconds, by configuration updates only.
    while (Atomics.compareExchange(this.#all, 0, 0, this.#worker + 1) !== 0) Atomics.wait(this.#all, 1, 0, 1);
  }

  #unlock(): void {
    Atomics.store(this.#all, 0, 0);
  }
}

/** Key, numbers, and per worker references and holdings; an even number of words. */
function slotWords(workers: number): number {
  const words = 2 + countsPerName + workers * (1 + countsPerName);
  return words + (words % 2);
}
