import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TimerWheel } from '../../network/timer_wheel.ts';
import { Keepalive } from './keepalive.ts';
import type { Http2KeepaliveOptions } from './options.ts';
import { defaultHttp2Options } from './options.ts';
import { RecordingClient, RecordingDecoder, requestHeaders, settle } from './testing.ts';

/** A wheel that moves when the test says so. */
class TestClock {
  time = 0;
  #due = Infinity;
  #callback: (() => void) | undefined = undefined;

  readonly wheel = new TimerWheel({
    now: () => this.time,
    wake: (delayMs, callback) => {
      this.#due = this.time + delayMs;
      this.#callback = callback;
    },
    stop: () => {
      this.#due = Infinity;
    },
  });

  /** Moves on, firing what is due on the way. */
  pass(ms: number): void {
    const end = this.time + ms;
    while (this.#due <= end) {
      this.time = this.#due;
      this.#due = Infinity;
      this.#callback?.();
    }
    this.time = end;
  }
}

const options: Http2KeepaliveOptions = {
  intervalMs: 1000,
  timeoutMs: 200,
  intervalJitterPercent: 0,
  idleIntervalMs: 0,
};

class Owner {
  readonly frames: string[] = [];
  timeouts = 0;
  control(frame: string): void {
    this.frames.push(frame);
  }
  onKeepaliveTimeout(): void {
    this.timeouts++;
  }
}

test('a PING each interval as long as it is answered', () => {
  const clock = new TestClock();
  const owner = new Owner();
  const keepalive = new Keepalive(owner, options, clock.wheel);
  keepalive.start();
  clock.pass(990);
  assert.equal(owner.frames.length, 0);
  for (let i = 1; i <= 3; i++) {
    clock.pass(20);
    assert.equal(owner.frames.length, i);
    keepalive.onAck(owner.frames.at(-1)!.slice(9));
    clock.pass(985);
  }
  assert.equal(owner.timeouts, 0);
  assert.notEqual(owner.frames[0], owner.frames[1]);
});

test('no answer, or the answer to an older PING, is a timeout', () => {
  const clock = new TestClock();
  const owner = new Owner();
  const keepalive = new Keepalive(owner, options, clock.wheel);
  keepalive.start();
  clock.pass(1010);
  const old = owner.frames[0]!.slice(9);
  keepalive.onAck(old);
  clock.pass(1010);
  keepalive.onAck(old);
  clock.pass(150);
  assert.equal(owner.timeouts, 0);
  clock.pass(100);
  assert.equal(owner.timeouts, 1);
});

test('jitter adds to the interval; a stopped one is silent', () => {
  const clock = new TestClock();
  const owner = new Owner();
  const keepalive = new Keepalive(owner, { ...options, intervalJitterPercent: 50 }, clock.wheel, () => 1);
  keepalive.start();
  clock.pass(1490);
  assert.equal(owner.frames.length, 0);
  clock.pass(20);
  assert.equal(owner.frames.length, 1);
  keepalive.stop();
  clock.pass(10_000);
  assert.deepEqual([owner.frames.length, owner.timeouts], [1, 0]);
});

test('a connection closes when its peer does not answer', async () => {
  const clock = new TestClock();
  const on = new RecordingClient({ ...defaultHttp2Options, keepalive: options, timers: clock.wheel });
  await settle();
  // The test's peer never answers PING.
  clock.pass(1010);
  await settle();
  assert.match(on.peer.take().at(-1) ?? '', /^ping trysail/);
  clock.pass(210);
  await settle();
  assert.equal(on.lines.at(-1), 'close http2.ping_timeout');
});

test('an idle connection is asked before its next stream', async () => {
  const clock = new TestClock();
  const on = new RecordingClient({
    keepalive: { ...options, intervalMs: 0, idleIntervalMs: 5000 },
    timers: clock.wheel,
  });
  const request = (): void => {
    const encoder = on.connection.newStream(new RecordingDecoder(on));
    encoder.encodeHeaders(requestHeaders(), true);
    encoder.reset('local reset');
  };
  clock.pass(1000);
  request();
  clock.pass(4000);
  request();
  await settle();
  assert.equal(on.peer.take().filter((line) => line.startsWith('ping')).length, 0);
  clock.pass(6000);
  request();
  await settle();
  assert.equal(on.peer.take().filter((line) => line.startsWith('ping')).length, 1);
});
