import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TimerWheel, type TimerHandle, type WheelClock } from './timer_wheel.ts';

class FakeClock implements WheelClock {
  time = 0;
  wakeAt = Infinity;
  callback: () => void = () => {};
  wakes = 0;
  now(): number {
    return this.time;
  }
  wake(delayMs: number, callback: () => void): void {
    this.wakeAt = this.time + delayMs;
    this.callback = callback;
  }
  stop(): void {
    this.wakeAt = Infinity;
  }
  advance(ms: number): void {
    const end = this.time + ms;
    while (this.wakeAt <= end) {
      this.time = Math.max(this.wakeAt, this.time);
      this.wakeAt = Infinity;
      this.wakes++;
      this.callback();
    }
    this.time = end;
  }
}

test('timers fire in time, never early, at most two ticks late', () => {
  const clock = new FakeClock();
  const wheel = new TimerWheel(clock);
  clock.advance(3);
  const delays = [0, 1, 4, 5, 6, 99, 5119, 5120, 5121, 15_000, 61_003, 3_600_000];
  const fired = new Map<number, number>();
  for (const delay of delays) wheel.schedule(delay, (arg: number) => void fired.set(arg, clock.time), delay);
  assert.equal(wheel.size, delays.length);
  clock.advance(3_700_000);
  for (const delay of delays) {
    const at = fired.get(delay) ?? -1;
    assert.ok(at >= 3 + delay && at <= 3 + delay + 10, `${delay} fired at ${at}`);
  }
  assert.equal(wheel.size, 0);
});

test('random schedule, cancel and refresh agree with a model', () => {
  const clock = new FakeClock();
  const wheel = new TimerWheel(clock);
  let seed = 42;
  const random = (n: number): number => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return seed % n;
  };
  const live = new Map<number, { handle: TimerHandle; deadline: number }>();
  let next = 0;
  let firedCount = 0;
  const fire = (id: number): void => {
    const entry = live.get(id);
    assert.ok(entry !== undefined, 'a cancelled or fired timer fired');
    assert.ok(clock.time >= entry.deadline && clock.time <= entry.deadline + 10);
    live.delete(id);
    firedCount++;
    // Callbacks cancel and schedule others.
    const [other] = live.keys();
    if (other !== undefined && random(3) === 0) {
      wheel.cancel(live.get(other)!.handle);
      live.delete(other);
    }
    if (random(2) === 0) add(random(20));
  };
  function add(delay: number): void {
    const id = next++;
    live.set(id, { handle: wheel.schedule(delay, fire, id), deadline: clock.time + delay });
  }
  for (let step = 0; step < 20_000; step++) {
    const what = random(10);
    const ids = [...live.keys()];
    const id = ids[random(Math.max(ids.length, 1))];
    if (what < 5 && live.size < 300) add(random(12_000));
    else if (what < 7 && id !== undefined) {
      wheel.cancel(live.get(id)!.handle);
      live.delete(id);
    } else if (what < 9 && id !== undefined) {
      const delay = random(12_000);
      assert.equal(wheel.refresh(live.get(id)!.handle, delay), true);
      live.get(id)!.deadline = clock.time + delay;
    } else clock.advance(random(400));
    assert.equal(wheel.size, live.size);
  }
  clock.advance(20_000);
  assert.equal(live.size, 0);
  assert.equal(wheel.size, 0);
  assert.ok(firedCount > 1000);
});

test('an idle wheel sleeps and a callback that throws does not lose others', () => {
  const clock = new FakeClock();
  const wheel = new TimerWheel(clock);
  let fired = 0;
  wheel.schedule(10, () => {
    throw new Error('boom');
  });
  for (let i = 0; i < 5; i++) wheel.schedule(10, () => void fired++);
  wheel.schedule(30, () => void fired++);
  for (let i = 0; i < 50; i++) {
    try {
      clock.advance(5);
    } catch {
      // The wheel's owner sees it as an uncaught exception.
    }
  }
  assert.equal(fired, 6);
  assert.equal(clock.wakeAt, Infinity);
  const wakes = clock.wakes;
  clock.advance(100_000);
  assert.equal(clock.wakes, wakes);
});

test('the system clock fires', async () => {
  const wheel = new TimerWheel();
  const start = performance.now();
  await new Promise<void>((resolve) => {
    wheel.schedule(20, resolve);
    setTimeout(() => {}, 200);
  });
  const took = performance.now() - start;
  assert.ok(took >= 20 && took < 190, String(took));
});
