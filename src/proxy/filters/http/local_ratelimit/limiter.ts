/** The token buckets of one configuration: the default one and those of descriptors (envoy LocalRateLimiterImpl). */
import type { LocalRateLimitDescriptor } from '#api/gen/envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts';
import type { TokenBucket as TokenBucketProto } from '#api/gen/envoy/type/v3/token_bucket_pb.ts';
import type { Counts } from '../../../network/shared_counts.ts';
import type { Descriptor, DescriptorEntry } from '../../../router/rate_limit_policy.ts';
import { type BucketSettings, type Clock, readBucket, TokenBucket } from '../../ratelimit/token_bucket.ts';

/** A descriptor with its own limit; an empty value stands for any. */
interface LimitRule {
  readonly entries: readonly DescriptorEntry[];
  readonly settings: BucketSettings;
  readonly shadow: boolean;
  readonly dynamic: boolean;
}

/** What limits of a place are made of; checked once, used for each of its limiters. */
export interface LimiterSettings {
  readonly bucket: BucketSettings | undefined;
  readonly rules: readonly LimitRule[];
  readonly alwaysConsumeDefault: boolean;
  /** Buckets kept for each rule with an open value. */
  readonly maxDynamic: number;
}

/** What came of a request. `bucket` is the one that headers tell of. */
export interface LimitVerdict {
  readonly allowed: boolean;
  /** The limit that was passed only counts (shadow_mode). */
  readonly shadow: boolean;
  readonly bucket: TokenBucket | undefined;
  readonly xRateLimit: boolean | undefined;
}

const maxRules = 1024;

/** @throws Error for limits that Envoy refuses. */
export function readLimiter(
  proto: TokenBucketProto | undefined,
  descriptors: readonly LocalRateLimitDescriptor[],
  alwaysConsumeDefault: boolean,
  maxDynamic: number,
): LimiterSettings {
  if (descriptors.length > maxRules) throw new Error(`descriptors: more than ${maxRules}`);
  const bucket = proto === undefined ? undefined : readBucket(proto);
  const seen = new Set<string>();
  const rules = descriptors.map((descriptor, i) => {
    if (descriptor.tokenBucket === undefined) throw new Error(`descriptors[${i}].token_bucket is missing`);
    let settings: BucketSettings;
    try {
      settings = readBucket(descriptor.tokenBucket);
    } catch (cause) {
      throw new Error(`descriptors[${i}].${(cause as Error).message}`, { cause });
    }
    const entries = descriptor.entries.map(({ key, value }) => ({ key, value }));
    if (entries.length === 0) throw new Error(`descriptors[${i}].entries are missing`);
    const text = JSON.stringify(entries.map(({ key, value }) => [key, value]));
    if (seen.has(text)) throw new Error(`descriptors[${i}] stands twice`);
    seen.add(text);
    return {
      entries,
      settings,
      shadow: descriptor.shadowMode,
      dynamic: entries.some(({ value }) => value === ''),
    };
  });
  return { bucket, rules, alwaysConsumeDefault, maxDynamic };
}

function matches(rule: LimitRule, { entries }: Descriptor): boolean {
  if (rule.entries.length !== entries.length) return false;
  for (let i = 0; i < entries.length; i++) {
    const wanted = rule.entries[i] as DescriptorEntry;
    const entry = entries[i] as DescriptorEntry;
    if (wanted.key !== entry.key) return false;
    if (wanted.value !== '' && wanted.value !== entry.value) return false;
  }
  return true;
}

interface Match {
  readonly bucket: TokenBucket;
  readonly shadow: boolean;
  readonly hits: number;
  readonly xRateLimit: boolean | undefined;
}

function verdict(allowed: boolean, bucket: TokenBucket | undefined, match?: Match): LimitVerdict {
  return { allowed, shadow: match?.shadow ?? false, bucket, xRateLimit: match?.xRateLimit };
}

const noDescriptors: readonly Descriptor[] = [];

export class Limiter {
  readonly #settings: LimiterSettings;
  readonly #counts: Counts | undefined;
  readonly #key: string;
  readonly #clock: Clock | undefined;
  readonly #default: TokenBucket | undefined;
  /** Bucket of each rule; rules with an open value have one per value, the one used last at the end. */
  readonly #buckets: readonly (TokenBucket | Map<string, TokenBucket>)[];

  constructor(settings: LimiterSettings, counts: Counts | undefined, key: string, clock?: Clock) {
    this.#settings = settings;
    this.#counts = counts;
    this.#key = key;
    this.#clock = clock;
    this.#default =
      settings.bucket === undefined ? undefined : new TokenBucket(settings.bucket, counts, key, clock);
    this.#buckets = settings.rules.map((rule, i) =>
      rule.dynamic ? new Map<string, TokenBucket>() : this.#bucket(rule, `${i}`),
    );
  }

  #bucket(rule: LimitRule, name: string): TokenBucket {
    return new TokenBucket(rule.settings, this.#counts, `${this.#key}\0${name}`, this.#clock);
  }

  /** Takes the tokens that the request costs, from each bucket that it matches. */
  ask(descriptors: readonly Descriptor[] = noDescriptors): LimitVerdict {
    const { rules, alwaysConsumeDefault } = this.#settings;
    const fallback = this.#default;
    if (descriptors.length === 0 || rules.length === 0) return verdict(fallback?.consume() ?? true, fallback);
    const found = this.#match(descriptors);
    for (const match of found)
      if (!match.bucket.consume(match.hits)) return verdict(false, match.bucket, match);
    const first = found[0];
    if (first !== undefined && !alwaysConsumeDefault) return verdict(true, first.bucket, first);
    const allowed = fallback?.consume() ?? true;
    return allowed && first !== undefined ? verdict(true, first.bucket, first) : verdict(allowed, fallback);
  }

  /** The strictest first, so that the headers tell of it. */
  #match(descriptors: readonly Descriptor[]): Match[] {
    const { rules } = this.#settings;
    const found: Match[] = [];
    for (const descriptor of descriptors) {
      for (let i = 0; i < rules.length; i++) {
        const rule = rules[i] as LimitRule;
        if (!matches(rule, descriptor)) continue;
        found.push({
          bucket: this.#bucketFor(i, descriptor),
          shadow: rule.shadow,
          hits: descriptor.hits ?? 1,
          xRateLimit: descriptor.xRateLimit,
        });
        break;
      }
    }
    if (found.length > 1) found.sort((a, b) => a.bucket.settings.fillRate - b.bucket.settings.fillRate);
    return found;
  }

  #bucketFor(rule: number, { entries }: Descriptor): TokenBucket {
    const kept = this.#buckets[rule] as TokenBucket | Map<string, TokenBucket>;
    if (kept instanceof TokenBucket) return kept;
    const name = JSON.stringify(entries.map(({ value }) => value));
    let bucket = kept.get(name);
    if (bucket !== undefined) {
      kept.delete(name);
      kept.set(name, bucket);
      return bucket;
    }
    if (kept.size >= this.#settings.maxDynamic) {
      const oldest = kept.keys().next();
      if (!oldest.done) kept.delete(oldest.value);
    }
    bucket = this.#bucket(this.#settings.rules[rule] as LimitRule, `${rule}\0${name}`);
    kept.set(name, bucket);
    return bucket;
  }
}
