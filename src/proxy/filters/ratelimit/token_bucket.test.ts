import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { TokenBucketSchema } from '#api/gen/envoy/type/v3/token_bucket_pb.ts';
import { SharedCounts } from '../../network/shared_counts.ts';
import { readBucket, TokenBucket } from './token_bucket.ts';

const settings = { maxTokens: 3, fillRate: 2, fillIntervalMs: 500 };

test('is full at first, takes all or none, fills as time passes', () => {
  let now = 100;
  const bucket = new TokenBucket(settings, undefined, 'b', () => now);
  assert.equal(bucket.remaining(), 3);
  assert.deepEqual([bucket.consume(2), bucket.consume(2), bucket.consume()], [true, false, true]);
  assert.equal(bucket.remaining(), 0);
  assert.equal(bucket.secondsToNextToken(), 0.5);
  now += 0.25;
  assert.equal(bucket.consume(), false);
  assert.equal(bucket.secondsToNextToken(), 0.25);
  now += 0.25;
  assert.equal(bucket.consume(), true);
  now += 1000;
  assert.equal(bucket.remaining(), 3);
  assert.equal(bucket.secondsToNextToken(), 0);
});

test('workers share a bucket by its name', () => {
  const memory = SharedCounts.allocate(2, 16);
  const clock = (): number => 50;
  const bucketOf = (worker: number, name: string): TokenBucket =>
    new TokenBucket(settings, new SharedCounts(memory, 2, worker), name, clock);
  const [first, second, other] = [bucketOf(0, 'a'), bucketOf(1, 'a'), bucketOf(1, 'b')];
  assert.deepEqual(
    [first.consume(), second.consume(), first.consume(), second.consume()],
    [true, true, true, false],
  );
  assert.equal(first.remaining(), 0);
  assert.equal(other.remaining(), 3);
  // A worker that comes later, as the successor of one that died.
  assert.equal(bucketOf(0, 'a').consume(), false);
});

test('limits that Envoy refuses are refused', () => {
  const second = { seconds: 1n, nanos: 0 };
  const cases: [object, RegExp][] = [
    [{ maxTokens: 1 }, /fill_interval is missing/],
    [{ maxTokens: 1, fillInterval: { seconds: 0n, nanos: 0 } }, /not above 0/],
    [{ maxTokens: 1, fillInterval: { seconds: 0n, nanos: 1_000_000 } }, /at least 50 ms/],
    [{ maxTokens: 0, fillInterval: second }, /max_tokens must be above 0/],
    [{ maxTokens: 1, tokensPerFill: 0, fillInterval: second }, /tokens_per_fill must be above 0/],
  ];
  for (const [init, error] of cases) assert.throws(() => readBucket(create(TokenBucketSchema, init)), error);
  assert.deepEqual(
    readBucket(create(TokenBucketSchema, { maxTokens: 5, tokensPerFill: 3, fillInterval: second })),
    { maxTokens: 5, fillRate: 3, fillIntervalMs: 1000 },
  );
});
