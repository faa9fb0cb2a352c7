/**
 * One number per key that all workers of a process change together: the state of a token bucket, or a count. The table is
 * an open-addressed hash in shared memory, so that workers agree on a place without asking anybody; a worker that is
 * replaced finds the numbers of the one before. Values are doubles whose bits are exchanged atomically.
 */
import { hash } from 'node:crypto';

/** Places in the table; a place is a key of 64 bits and a value of 64 bits. */
const places = 8192;
/** Places that are tried for one key. */
const probes = 32;
/** Size of the memory that a process gives to its workers. */
export const sharedLimitsBytes: number = places * 16;

const bits = new BigInt64Array(1);
const number = new Float64Array(bits.buffer);

function toBits(value: number): bigint {
  number[0] = value;
  return bits[0] as bigint;
}

function fromBits(value: bigint): number {
  bits[0] = value;
  return number[0] as number;
}

/** A number that others may change at the same time. */
export interface SharedNumber {
  load(): number;
  /** True when the number was still `expected`, and now is `next`. */
  replace(expected: number, next: number): boolean;
}

/** A number of this worker alone. */
export class OwnNumber implements SharedNumber {
  #value: number;

  constructor(value: number) {
    this.#value = value;
  }

  load(): number {
    return this.#value;
  }

  replace(_expected: number, next: number): boolean {
    this.#value = next;
    return true;
  }
}

class Place implements SharedNumber {
  readonly #words: BigInt64Array;
  readonly #at: number;

  constructor(words: BigInt64Array, at: number) {
    this.#words = words;
    this.#at = at;
  }

  load(): number {
    return fromBits(Atomics.load(this.#words, this.#at));
  }

  replace(expected: number, next: number): boolean {
    const old = toBits(expected);
    return Atomics.compareExchange(this.#words, this.#at, old, toBits(next)) === old;
  }
}

/** 64 bits of the key's digest; never 0, which marks a free place. */
function keyBits(key: string): bigint {
  const digest = Buffer.from(hash('sha256', key, 'hex'), 'hex');
  return digest.readBigInt64LE(0) || 1n;
}

/**
 * The number of a key.
 * @param memory undefined gives a number of this worker alone
 * @param initial for a key that nobody has asked for yet; not 0
 * @param isSpent true for a value that is worth no more than a fresh one: its place may go to another key
 */
export function sharedNumber(
  memory: SharedArrayBuffer | undefined,
  key: string,
  initial: number,
  isSpent: (value: number) => boolean,
): SharedNumber {
  if (memory === undefined) return new OwnNumber(initial);
  const words = new BigInt64Array(memory);
  const wanted = keyBits(key);
  const first = Number(BigInt.asUintN(32, wanted) % BigInt(places));
  let spent = -1;
  for (let i = 0; i < probes; i++) {
    const at = ((first + i) % places) * 2;
    const found = Atomics.compareExchange(words, at, 0n, wanted);
    if (found === 0n || found === wanted) {
      // 0 is no value: whoever comes first writes the initial one.
      Atomics.compareExchange(words, at + 1, 0n, toBits(initial));
      return new Place(words, at + 1);
    }
    if (spent < 0 && isSpent(fromBits(Atomics.load(words, at + 1)))) spent = at;
  }
  if (spent >= 0) {
    const old = Atomics.load(words, spent);
    if (Atomics.compareExchange(words, spent, old, wanted) === old) {
      Atomics.store(words, spent + 1, toBits(initial));
      return new Place(words, spent + 1);
    }
  }
  // The table is full of limits in use: this one holds for the worker only.
  return new OwnNumber(initial);
}
