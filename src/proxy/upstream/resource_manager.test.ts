import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { CircuitBreakers_ThresholdsSchema as ThresholdsSchema } from '#api/gen/envoy/config/cluster/v3/circuit_breaker_pb.ts';
import { SharedCounts } from '../network/shared_counts.ts';
import { RequestWindow } from './request_window.ts';
import { ThresholdResources } from './resource_manager.ts';

const limits = create(ThresholdsSchema, {
  maxConnections: 2,
  maxPendingRequests: 2,
  maxRequests: 2,
  maxRetries: 2,
});

/** The same limits as two workers see them. */
function twoWorkers(thresholds = limits): readonly [ThresholdResources, ThresholdResources] {
  const buffer = SharedCounts.allocate(2, 16);
  const of = (worker: number): ThresholdResources => {
    const counts = new SharedCounts(buffer, 2, worker);
    return new ThresholdResources(thresholds, (name = 'c') => counts.open(name));
  };
  return [of(0), of(1)];
}

for (const [name, [one, two]] of [
  ['one worker', [new ThresholdResources(limits), undefined]],
  ['two workers', twoWorkers()],
] as const) {
  const other = two ?? one;
  test(`limits hold for ${name}`, () => {
    for (const kind of ['Request', 'Retry', 'PendingRequest', 'Connection'] as const) {
      assert.equal(one[`try${kind}`](), true, kind);
      assert.equal(other[`try${kind}`](), true, kind);
      assert.equal(one[`try${kind}`](), false, kind);
      assert.equal(other[`try${kind}`](), false, kind);
      one[`release${kind}`]();
      assert.equal(other[`try${kind}`](), true, kind);
      other[`release${kind}`]();
      other[`release${kind}`]();
    }
    assert.deepEqual([one.requests, one.retries, one.pendingRequests, one.connections], [0, 0, 0, 0]);
  });
}

test('a connection past the limit is counted', () => {
  const [one, two] = twoWorkers();
  one.forceConnection();
  one.forceConnection();
  one.forceConnection();
  assert.equal(two.connections, 3);
  assert.equal(two.tryConnection(), false);
});

test('a retry budget is a share of the requests of all workers', () => {
  const budget = create(ThresholdsSchema, {
    maxRequests: 100,
    retryBudget: { budgetPercent: { value: 50 }, minRetryConcurrency: 1 },
  });
  const [one, two] = twoWorkers(budget);
  assert.equal(one.maxRetries, 1);
  for (let i = 0; i < 5; i++) {
    one.tryRequest();
    two.tryRequest();
  }
  assert.equal(one.maxRetries, 5);
});

test('a version that drains keeps its counts until nothing is held', () => {
  const buffer = SharedCounts.allocate(1, 1);
  const counts = new SharedCounts(buffer, 1, 0);
  const old = new ThresholdResources(limits, () => counts.open('old'));
  old.tryRequest();
  old.close();
  assert.equal(old.requests, 1);
  old.releaseRequest();
  // The only slot is free again: the next name counts in shared memory.
  const next = new ThresholdResources(limits, () => counts.open('next'));
  next.tryRequest();
  assert.equal(new SharedCounts(buffer, 1, 0).open('next').value(2), 1);
});

test('a retry budget over an interval counts the requests of the last one too', () => {
  let now = 10_000;
  const window = new RequestWindow(1000, undefined, () => now);
  for (let i = 0; i < 8; i++) window.add();
  assert.equal(window.count, 8);
  now += 1000;
  assert.equal(window.count, 8);
  now += 500;
  window.add();
  assert.equal(window.count, 5);
  now += 500;
  assert.equal(window.count, 1);
  now += 5000;
  assert.equal(window.count, 0);
  const interval = create(ThresholdsSchema, {
    retryBudget: {
      budgetPercent: { value: 50 },
      minRetryConcurrency: 1,
      budgetInterval: { seconds: 3600n, nanos: 0 },
    },
  });
  const [one, two] = twoWorkers(interval);
  for (let i = 0; i < 5; i++) {
    for (const worker of [one, two]) {
      worker.tryRequest();
      worker.releaseRequest();
    }
  }
  assert.equal(one.maxRetries, 5);
});
