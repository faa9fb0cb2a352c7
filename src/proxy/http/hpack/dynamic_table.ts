/** The dynamic table of a decoder (RFC 7541 2.3.2, 4): a ring, newest first by index. */
import { entryOverhead, type HeaderField } from './field.ts';

export class DynamicTable {
  /** Capacity is a power of two that holds as many entries as the largest table can have. */
  #ring: (HeaderField | undefined)[];
  #mask: number;
  /** Entries ever inserted and ever evicted. */
  #inserted = 0;
  #evicted = 0;
  #size = 0;
  #maxSize: number;

  /** @param maxSize bytes by the count of RFC 7541 4.1. */
  constructor(maxSize: number) {
    this.#maxSize = maxSize;
    // Most connections insert a few entries: the ring grows with them.
    this.#ring = Array.from({ length: 16 }, () => undefined);
    this.#mask = 15;
  }

  get length(): number {
    return this.#inserted - this.#evicted;
  }

  /** Bytes held. */
  get size(): number {
    return this.#size;
  }

  get maxSize(): number {
    return this.#maxSize;
  }

  /** Entry by age, 0 for the newest; undefined past the oldest. */
  at(age: number): HeaderField | undefined {
    const index = this.#inserted - 1 - age;
    return index < this.#evicted ? undefined : this.#ring[index & this.#mask];
  }

  /** An entry larger than the table empties it (4.4). */
  insert(field: HeaderField): void {
    const { size } = field;
    if (size > this.#maxSize) {
      this.#evict(0);
      return;
    }
    if (this.#size + size > this.#maxSize) this.#evict(this.#maxSize - size);
    if (this.length > this.#mask) this.#grow();
    this.#ring[this.#inserted++ & this.#mask] = field;
    this.#size += size;
  }

  resize(maxSize: number): void {
    this.#maxSize = maxSize;
    if (this.#size > maxSize) this.#evict(maxSize);
  }

  #evict(maxSize: number): void {
    while (this.#size > maxSize) {
      const at = this.#evicted++ & this.#mask;
      this.#size -= (this.#ring[at] as HeaderField).size;
      this.#ring[at] = undefined;
    }
  }

  /** Bounded: an entry costs at least `entryOverhead` bytes of the table. */
  #grow(): void {
    const mask = this.#mask * 2 + 1;
    const ring: (HeaderField | undefined)[] = Array.from({ length: mask + 1 }, () => undefined);
    for (let i = this.#evicted; i < this.#inserted; i++) ring[i & mask] = this.#ring[i & this.#mask];
    this.#ring = ring;
    this.#mask = mask;
  }
}

/** Most entries that a table of this many bytes can hold. */
export function maxEntries(maxSize: number): number {
  return Math.floor(maxSize / entryOverhead);
}
