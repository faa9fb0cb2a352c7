import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Drain, type DrainPolicy } from './drain.ts';

function policy(more: Partial<DrainPolicy> = {}): { clock: { ms: number }; policy: DrainPolicy } {
  const clock = { ms: 1000 };
  return {
    clock,
    policy: {
      drainTimeMs: 100,
      strategy: 'gradual',
      healthCheckFailed: false,
      random: () => 0.5,
      now: () => clock.ms,
      ...more,
    },
  };
}

test('gradual: the share of responses that end their connection grows with the time', () => {
  let random = 0;
  const { clock, policy: gradual } = policy({ random: () => random });
  const drain = new Drain(gradual);
  assert.equal(drain.draining, false);
  drain.start();
  const share = (): number => {
    let yes = 0;
    for (random = 0.005; random < 1; random += 0.01) if (drain.draining) yes++;
    return yes;
  };
  assert.equal(share(), 0);
  clock.ms += 30;
  assert.equal(share(), 30);
  clock.ms += 60;
  assert.equal(share(), 90);
  clock.ms += 10;
  assert.equal(share(), 100);
});

test('immediate: every response from the start on, callbacks at once', () => {
  const drain = new Drain(policy({ strategy: 'immediate' }).policy);
  let called = 0;
  drain.onDrain(() => called++);
  assert.equal(drain.draining, false);
  drain.start();
  drain.start();
  assert.equal(drain.draining, true);
  assert.equal(called, 1);
  drain.onDrain(() => called++);
  assert.equal(called, 2);
});

test('a failed health check ends connections without a drain', () => {
  const { policy: own } = policy();
  const drain = new Drain(own);
  own.healthCheckFailed = true;
  assert.equal(drain.draining, true);
  own.healthCheckFailed = false;
  assert.equal(drain.draining, false);
});

test('gradual: a callback comes within the drain time, one that was taken back never', async () => {
  const drain = new Drain({ ...policy({ drainTimeMs: 20 }).policy, now: () => performance.now() });
  let called = 0;
  const gone = drain.onDrain(() => assert.fail('was taken back'));
  const done = new Promise<void>((resolve) => {
    drain.onDrain(() => {
      called++;
      resolve();
    });
  });
  drain.start();
  assert.equal(called, 0);
  gone();
  await done;
  assert.equal(called, 1);
});
