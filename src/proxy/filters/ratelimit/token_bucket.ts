/**
 * A token bucket that fills as time passes, without a timer (envoy AtomicTokenBucketImpl): its whole state is the moment at
 * which it was, or would have been, empty. Workers may share that moment.
 */
import type { TokenBucket as TokenBucketProto } from '#api/gen/envoy/type/v3/token_bucket_pb.ts';
import { durationMs } from '../../network/duration.ts';
import type { CountBlock, Counts } from '../../network/shared_counts.ts';

/** Seconds of a monotonic clock that all threads of the process read the same. */
export type Clock = () => number;

const base = Number(process.hrtime.bigint()) / 1e9 - performance.now() / 1000;

/** The clock of the process. */
export const processClock: Clock = () => base + performance.now() / 1000;

/** `envoy.type.v3.TokenBucket`, checked. */
export interface BucketSettings {
  readonly maxTokens: number;
  /** Tokens per second. */
  readonly fillRate: number;
  readonly fillIntervalMs: number;
}

/** Envoy refuses shorter intervals, milliseconds. */
const minFillIntervalMs = 50;

/** @throws Error for limits that Envoy refuses. */
export function readBucket(proto: TokenBucketProto, minIntervalMs = minFillIntervalMs): BucketSettings {
  const intervalMs = durationMs(proto.fillInterval);
  if (intervalMs === undefined || intervalMs <= 0)
    throw new Error('token_bucket.fill_interval is missing or not above 0');
  if (intervalMs < minIntervalMs)
    throw new Error(`token_bucket.fill_interval must be at least ${minIntervalMs} ms`);
  if (proto.maxTokens === 0) throw new Error('token_bucket.max_tokens must be above 0');
  const perFill = proto.tokensPerFill ?? 1;
  if (perFill === 0) throw new Error('token_bucket.tokens_per_fill must be above 0');
  return { maxTokens: proto.maxTokens, fillRate: perFill / (intervalMs / 1000), fillIntervalMs: intervalMs };
}

/** Gives up the shared number of a bucket that nobody has any more: routes and connections end without a word. */
const released = new FinalizationRegistry<CountBlock>((block) => block.close());

const bits = new BigInt64Array(1);
const double = new Float64Array(bits.buffer);

function toBits(value: number): bigint {
  double[0] = value;
  return bits[0] as bigint;
}

function fromBits(value: bigint): number {
  bits[0] = value;
  return double[0] as number;
}

/** A bucket; full when it is made under a name that nobody uses. */
export class TokenBucket {
  readonly settings: BucketSettings;
  readonly #clock: Clock;
  /** Of workers together: the bits of a double. */
  readonly #shared: BigInt64Array | undefined;
  #own: number;

  /**
   * @param counts where workers keep their numbers together; undefined keeps the bucket to its owner
   * @param name tells buckets apart; the same in all workers
   */
  constructor(
    settings: BucketSettings,
    counts: Counts | undefined,
    name: string,
    clock: Clock = processClock,
  ) {
    this.settings = settings;
    this.#clock = clock;
    this.#own = clock() - settings.maxTokens / settings.fillRate;
    const block = counts?.open(name);
    if (block === undefined) return;
    released.register(this, block);
    const { buffer, byteOffset } = block.words;
    this.#shared = new BigInt64Array(buffer, byteOffset, 1);
    // Zero until the first worker comes.
    Atomics.compareExchange(this.#shared, 0, 0n, toBits(this.#own));
  }

  /** The moment at which it was empty. */
  #emptyAt(): number {
    return this.#shared === undefined ? this.#own : fromBits(Atomics.load(this.#shared, 0));
  }

  /** True when nobody came in between. */
  #replace(expected: number, next: number): boolean {
    if (this.#shared === undefined) {
      this.#own = next;
      return true;
    }
    const old = toBits(expected);
    return Atomics.compareExchange(this.#shared, 0, old, toBits(next)) === old;
  }

  /** Takes tokens when there are as many, all or none. */
  consume(tokens = 1): boolean {
    const { maxTokens, fillRate } = this.settings;
    const now = this.#clock();
    for (;;) {
      const emptyAt = this.#emptyAt();
      const there = Math.min(maxTokens, (now - emptyAt) * fillRate);
      if (there < tokens) return false;
      if (this.#replace(emptyAt, now - (there - tokens) / fillRate)) return true;
    }
  }

  /** Tokens now, with fractions. */
  remaining(): number {
    const { maxTokens, fillRate } = this.settings;
    return Math.max(0, Math.min(maxTokens, (this.#clock() - this.#emptyAt()) * fillRate));
  }

  /** Seconds until there is a token; 0 when there is one. */
  secondsToNextToken(): number {
    const remaining = this.remaining();
    return remaining >= 1 ? 0 : (1 - remaining) / this.settings.fillRate;
  }
}
