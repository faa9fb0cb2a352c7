import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameType } from './frames/frame_header.ts';
import { FloodGuards } from './guards.ts';
import { defaultHttp2Options, type Http2Options } from './options.ts';
import {
  data,
  frame,
  headers,
  RecordingServer,
  requestBlock,
  reset,
  settle,
  windowUpdate,
} from './testing.ts';
import { violations } from './violations.ts';

const never = (): void => {};

interface Flood {
  readonly name: string;
  /** Frames of one round; the bound is passed after `rounds`. */
  readonly frames: (round: number) => string;
  readonly rounds: number;
  readonly options?: Partial<Http2Options>;
  readonly first?: string;
}

const post = headers(1, requestBlock('POST'), false);

/** Each is let through `rounds` times and ends the connection the next time. */
const floods: readonly Flood[] = [
  { name: 'empty DATA', first: post, frames: () => data(1, ''), rounds: 1 },
  {
    name: 'empty CONTINUATION',
    first: frame(FrameType.headers, 0, 1, requestBlock()),
    frames: () => frame(FrameType.continuation, 0, 1),
    rounds: 1,
  },
  {
    name: 'CONTINUATION',
    first: frame(FrameType.headers, 0, 1, requestBlock()),
    frames: () => frame(FrameType.continuation, 0, 1, '\x82'),
    rounds: 160,
  },
  {
    name: 'octets of CONTINUATION',
    first: frame(FrameType.headers, 0, 1, requestBlock()),
    frames: () => frame(FrameType.continuation, 0, 1, 'x'.repeat(15_500)),
    rounds: 8,
  },
  { name: 'PRIORITY', frames: () => frame(FrameType.priority, 0, 1, '\0\0\0\0\x10'), rounds: 100 },
  {
    name: 'PRIORITY with a stream',
    first: post,
    frames: () => frame(FrameType.priority, 0, 1, '\0\0\0\0\x10'),
    rounds: 200,
  },
  { name: 'WINDOW_UPDATE', frames: () => windowUpdate(0, 1), rounds: 5 },
  { name: 'WINDOW_UPDATE with a stream', first: post, frames: () => windowUpdate(1, 1), rounds: 7 },
  {
    name: 'rapid reset',
    frames: (round) => headers(2 * round + 1, requestBlock(), true) + reset(2 * round + 1, 8),
    rounds: 249,
  },
  {
    name: 'resets by rate',
    options: { streamResetBurst: 10, streamResetRate: 0 },
    frames: (round) => headers(2 * round + 1, requestBlock(), true) + reset(2 * round + 1, 8),
    rounds: 10,
  },
];

for (const { name, frames, rounds, options, first } of floods) {
  test(`flood: ${name} ends the connection past its bound`, async () => {
    const on = new RecordingServer(options, never);
    on.peer.send(first ?? '');
    for (let round = 0; round < rounds; round++) on.peer.send(frames(round));
    await settle();
    await settle();
    assert.deepEqual(
      on.peer.take().filter((line) => line.startsWith('goaway')),
      [],
    );
    on.peer.send(frames(rounds));
    await settle();
    const lines = on.peer.take().filter((line) => line.startsWith('goaway'));
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', / 11$/);
    assert.ok(on.peer.ended);
  });
}

/** The GOAWAY that the peer reads at last. */
async function goaway(on: RecordingServer): Promise<string> {
  for (let i = 0; i < 2000; i++) {
    const line = on.peer.take().find((one) => one.startsWith('goaway'));
    if (line !== undefined) return line;
    await settle();
  }
  return '';
}

for (const [name, frames] of [
  ['PING', frame(FrameType.ping, 0, 0, '12345678')],
  ['SETTINGS', frame(FrameType.settings, 0, 0)],
] as const) {
  test(`flood: ${name} is answered while the peer reads, and ends the connection when it does not`, async () => {
    const on = new RecordingServer({ maxOutboundControlFrames: 100, delayedCloseMs: 5000 });
    await settle();
    for (let i = 0; i < 20; i++) {
      on.peer.send(frames.repeat(50));
      await settle();
    }
    assert.equal(on.peer.take().filter((line) => line.startsWith('goaway')).length, 0);
    on.peer.far.pause();
    for (let i = 0; i < 20_000 && !on.peer.ended && on.connection.activeStreams === 0; i += 50) {
      on.peer.send(frames.repeat(50));
      if (i % 5000 === 0) await settle();
    }
    for (let i = 0; i < 20; i++) await settle();
    on.peer.far.resume();
    assert.match(await goaway(on), /^goaway 0 11$/);
  });
}

test('a client that resets answered or old requests is none', () => {
  const guards = new FloodGuards(defaultHttp2Options);
  for (let i = 0; i < 10_000; i++) assert.equal(guards.onRequestEnd(false), undefined);
  // From here one in two is too many.
  for (let i = 0; i < 9999; i++) assert.equal(guards.onRequestEnd(true), undefined);
  assert.equal(guards.onRequestEnd(true), violations.rapidReset);
});

test('the rate of resets recovers with time', () => {
  const guards = new FloodGuards({ ...defaultHttp2Options, streamResetBurst: 2, streamResetRate: 10 });
  assert.deepEqual(
    [0, 0, 0, 100, 150].map((now) => guards.onReset(now + 1)?.details),
    [undefined, undefined, 'http2.stream_reset_rate', undefined, 'http2.stream_reset_rate'],
  );
});

test('WINDOW_UPDATE for bodies that are sent is no flood', () => {
  const guards = new FloodGuards(defaultHttp2Options);
  for (let i = 0; i < 1000; i++) {
    guards.onDataSent();
    for (let k = 0; k < 20; k++) assert.equal(guards.onWindowUpdate(), undefined);
  }
});

test('an HPACK bomb costs its stream, not memory', async () => {
  const on = new RecordingServer({}, never);
  const large = '\x40\x01a\x7f\xa1\x1e' + 'v'.repeat(4000);
  on.peer.send(headers(1, requestBlock('GET', '/', large), true));
  on.peer.send(headers(3, requestBlock('GET', '/', '\xbe'.repeat(16_000)), true));
  await settle();
  assert.equal(on.lines.at(-1), 'reset local reset http2.header_list_size_too_large');
  assert.ok(on.peer.take().includes('reset 3 2'));
});

test('resets that answer frames of a closed stream are bounded too', async () => {
  const on = new RecordingServer({ maxOutboundControlFrames: 50, delayedCloseMs: 5000 }, undefined);
  await settle();
  for (let id = 1; id < 200; id += 2) on.peer.send(headers(id, requestBlock(), true));
  await settle();
  on.peer.far.pause();
  // Long forgotten: each frame is answered with a reset.
  on.peer.send(data(1, 'x').repeat(40_000));
  for (let i = 0; i < 60; i++) await settle();
  on.peer.far.resume();
  assert.match(await goaway(on), /^goaway 199 11$/);
});
