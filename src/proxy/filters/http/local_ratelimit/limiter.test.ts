import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { LocalRateLimitDescriptorSchema } from '#api/gen/envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts';
import { TokenBucketSchema } from '#api/gen/envoy/type/v3/token_bucket_pb.ts';
import type { Descriptor } from '../../../router/rate_limit_policy.ts';
import { Limiter, readLimiter } from './limiter.ts';

const bucket = (maxTokens: number) =>
  create(TokenBucketSchema, { maxTokens, tokensPerFill: 1, fillInterval: { seconds: 3600n, nanos: 0 } });

const rule = (value: string, maxTokens: number, shadowMode = false) =>
  create(LocalRateLimitDescriptorSchema, {
    entries: [{ key: 'user', value }],
    tokenBucket: bucket(maxTokens),
    shadowMode,
  } as never);

const asking = (value: string, hits?: number): Descriptor => ({
  entries: [{ key: 'user', value }],
  limit: undefined,
  hits,
  xRateLimit: undefined,
});

function limiterOf(
  rules: ReturnType<typeof rule>[],
  maxDefault: number,
  always = true,
  maxDynamic = 2,
): Limiter {
  const settings = readLimiter(bucket(maxDefault), rules, always, maxDynamic);
  return new Limiter(settings, undefined, 'test', () => 1000);
}

test('a refused descriptor leaves the default bucket alone, an allowed one takes from it', () => {
  const limiter = limiterOf([rule('a', 1)], 2);
  assert.equal(limiter.ask([asking('a')]).allowed, true);
  assert.equal(limiter.ask([asking('a')]).allowed, false);
  assert.equal(limiter.ask([asking('b')]).allowed, true);
  assert.equal(limiter.ask([asking('b')]).allowed, false);
  const apart = limiterOf([rule('a', 2)], 1, false);
  assert.deepEqual(
    [1, 2].map(() => apart.ask([asking('a')]).allowed),
    [true, true],
  );
  assert.equal(apart.ask().allowed, true);
  assert.equal(apart.ask().allowed, false);
});

test('hits and trial rules', () => {
  const limiter = limiterOf([rule('a', 5), rule('b', 1, true)], 100);
  assert.equal(limiter.ask([asking('a', 6)]).allowed, false);
  assert.equal(limiter.ask([asking('a', 5)]).allowed, true);
  assert.equal(limiter.ask([asking('b')]).shadow, true);
  const over = limiter.ask([asking('b')]);
  assert.deepEqual([over.allowed, over.shadow], [false, true]);
});

test('buckets of open values are bounded: the one used longest ago goes', () => {
  const limiter = limiterOf([rule('', 1)], 100);
  const allowed = (user: string): boolean => limiter.ask([asking(user)]).allowed;
  assert.deepEqual(['a', 'b', 'a', 'b'].map(allowed), [true, true, false, false]);
  // 'c' takes the place of 'a', which begins anew when it comes back and takes that of 'b'.
  assert.deepEqual(['c', 'b', 'a', 'b'].map(allowed), [true, false, true, false]);
});

test('limits that contradict themselves are refused', () => {
  const limits = (rules: ReturnType<typeof rule>[]) => () => readLimiter(bucket(1), rules, true, 1);
  assert.throws(limits([rule('a', 1), rule('a', 2)]), /descriptors\[1\] stands twice/);
  assert.throws(limits([rule('a', 0)]), /descriptors\[0\].*max_tokens must be above 0/);
  assert.throws(
    limits([create(LocalRateLimitDescriptorSchema, { tokenBucket: bucket(1) })]),
    /entries are missing/,
  );
});
