/**
 * A token bucket that fills as time passes, without a timer (envoy AtomicTokenBucketImpl): its whole state is the moment at
 * which it was, or would have been, empty. Workers may share that moment.
 */
import type { TokenBucket as TokenBucketProto } from '#api/gen/envoy/type/v3/token_bucket_pb.ts';
import { durationMs } from '../../network/duration.ts';
import { type SharedNumber, sharedNumber } from './shared_table.ts';

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

/** A bucket; full when it is made for a key that nobody used before. */
export class TokenBucket {
  readonly settings: BucketSettings;
  readonly #emptyAt: SharedNumber;
  readonly #clock: Clock;

  /**
   * @param memory of all workers; undefined keeps the bucket to this one
   * @param key tells buckets apart; the same in all workers
   */
  constructor(
    settings: BucketSettings,
    memory: SharedArrayBuffer | undefined,
    key: string,
    clock: Clock = processClock,
  ) {
    this.settings = settings;
    this.#clock = clock;
    const now = clock();
    // Nobody waits for a bucket that has not been asked for a day: it is taken for full, whatever its rate.
    this.#emptyAt = sharedNumber(memory, key, now - settings.maxTokens / settings.fillRate, (emptyAt) => {
      return clock() - emptyAt > 86_400;
    });
  }

  /** Takes tokens when there are as many, all or none. */
  consume(tokens = 1): boolean {
    const { maxTokens, fillRate } = this.settings;
    const now = this.#clock();
    for (;;) {
      const emptyAt = this.#emptyAt.load();
      const there = Math.min(maxTokens, (now - emptyAt) * fillRate);
      if (there < tokens) return false;
      if (this.#emptyAt.replace(emptyAt, now - (there - tokens) / fillRate)) return true;
    }
  }

  /** Tokens now, with fractions. */
  remaining(): number {
    const { maxTokens, fillRate } = this.settings;
    return Math.max(0, Math.min(maxTokens, (this.#clock() - this.#emptyAt.load()) * fillRate));
  }

  /** Seconds until there is one token more than now, rounded up; 0 when it is full or holds one. */
  secondsToNextToken(): number {
    const remaining = this.remaining();
    return remaining >= 1 ? 0 : (1 - remaining) / this.settings.fillRate;
  }
}
