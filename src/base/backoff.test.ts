import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from './backoff.ts';

test('waits double up to the maximum and start over after reset', () => {
  const backoff = new Backoff({ baseMs: 100, maxMs: 300, random: () => 1 });
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next(), backoff.next()], [100, 200, 300, 300]);
  backoff.reset();
  assert.equal(backoff.next(), 100);
});

test('jitter never goes below half of the wait', () => {
  const backoff = new Backoff({ baseMs: 100, maxMs: 100, random: () => 0 });
  assert.equal(backoff.next(), 50);
});
