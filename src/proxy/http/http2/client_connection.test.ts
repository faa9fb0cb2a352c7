import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestEncoder } from '../codec.ts';
import { HeaderMap } from '../header_map.ts';
import { ErrorCode } from './error_codes.ts';
import { FrameType, uint32Text } from './frames/frame_header.ts';
import { goawayFrame } from './frames/goaway.ts';
import { SettingId, settingsFrame } from './frames/settings.ts';
import type { Http2Options } from './options.ts';
import {
  data,
  frame,
  headers,
  rawField,
  RecordingClient,
  RecordingDecoder,
  requestHeaders,
  reset,
  responseBlock,
  settle,
  windowUpdate,
} from './testing.ts';

interface Sent {
  readonly encoder: RequestEncoder;
  readonly decoder: RecordingDecoder;
}

async function client(
  options: Partial<Http2Options> = {},
  settings: readonly (readonly [number, number])[] = [],
): Promise<RecordingClient> {
  const made = new RecordingClient(options, settings);
  await settle();
  made.peer.take();
  made.lines.length = 0;
  return made;
}

function send(on: RecordingClient, method = 'GET', endStream = true): Sent {
  const decoder = new RecordingDecoder(on);
  const encoder = on.connection.newStream(decoder);
  encoder.encodeHeaders(requestHeaders(method), endStream);
  return { encoder, decoder };
}

async function answer(on: RecordingClient, ...frames: string[]): Promise<string[]> {
  on.peer.send(...frames);
  await settle();
  return on.peer.take();
}

test('preface, settings without push, windows; the first block empties the table', async () => {
  const on = new RecordingClient();
  send(on);
  await settle();
  assert.deepEqual(on.peer.take(), [
    'settings 2=0 4=16777216',
    `window 0 ${24 * 1024 * 1024 - 65_535}`,
    'headers 1 :method=GET :scheme=http :path=/ :authority=host end',
    'settings ack',
  ]);
});

test('many requests at once, answers in any order', async () => {
  const on = await client();
  for (let i = 0; i < 3; i++) send(on);
  assert.equal(on.connection.activeStreams, 3);
  await answer(
    on,
    headers(5, responseBlock(200, rawField('n', '5')), false),
    headers(1, responseBlock(204), true),
    headers(3, responseBlock(103), false),
    headers(3, responseBlock(200), false),
    data(3, 'three'),
    headers(3, rawField('grpc-status', '0'), true),
    data(5, 'five', true),
  );
  assert.deepEqual(on.lines, [
    'headers 200 n=5',
    'headers 204 ',
    'end',
    'stream end',
    '1xx 103',
    'headers 200 ',
    'data three',
    'trailers grpc-status=0',
    'end',
    'stream end',
    'data five',
    'end',
    'stream end',
  ]);
  assert.equal(on.connection.activeStreams, 0);
});

test('a request with body and trailers', async () => {
  const on = await client();
  const { encoder } = send(on, 'POST', false);
  encoder.encodeData(Buffer.from('body'), false);
  encoder.encodeTrailers(new HeaderMap(['t'], ['v']));
  await settle();
  assert.deepEqual(on.peer.take().slice(1), ['data 1 body', 'headers 1 t=v end']);
});

test('CONNECT and extended CONNECT', async () => {
  const on = await client();
  const encode = (method: string, protocol: string): void => {
    const request = requestHeaders(method, '/ws', { upgrade: 'websocket', connection: 'upgrade', a: 'b' });
    request.protocol = protocol;
    on.connection.newStream(new RecordingDecoder(on)).encodeHeaders(request, false);
  };
  encode('CONNECT', '');
  encode('CONNECT', 'websocket');
  await settle();
  assert.deepEqual(on.peer.take(), [
    'headers 1 :method=CONNECT :authority=host a=b',
    'headers 3 :method=CONNECT :scheme=http :path=/ws :authority=host :protocol=websocket a=b',
  ]);
});

test("the limit of streams is the lower of ours and the peer's, and follows SETTINGS", async () => {
  const on = await client({ maxConcurrentStreams: 10 }, [[SettingId.maxConcurrentStreams, 2]]);
  assert.equal(on.connection.availableStreams, 2);
  send(on);
  const waiting = on.connection.newStream(new RecordingDecoder(on));
  assert.equal(on.connection.availableStreams, 0);
  await answer(on, settingsFrame([[SettingId.maxConcurrentStreams, 100]]));
  assert.deepEqual(on.lines, ['capacity 8']);
  // Never sent: nothing goes over the wire.
  on.peer.take();
  waiting.reset('local reset');
  await settle();
  assert.deepEqual(on.peer.take(), []);
  assert.equal(on.connection.availableStreams, 9);
});

test('GOAWAY: what the server has not seen may be sent again, the rest ends', async () => {
  const on = await client();
  for (let i = 0; i < 3; i++) send(on);
  await answer(on, goawayFrame(3, 0));
  assert.deepEqual(on.lines, [
    'goaway',
    'reset remote refused stream reset http2.remote_refuse',
    'stream end',
  ]);
  assert.equal(on.connection.availableStreams, 0);
  await answer(on, headers(1, responseBlock(), true), headers(3, responseBlock(), true));
  assert.deepEqual(on.lines.slice(3), [
    'headers 200 ',
    'end',
    'stream end',
    'headers 200 ',
    'end',
    'stream end',
    'close',
  ]);
  assert.ok(on.peer.ended);
});

test('GOAWAY that takes more, then the one that does not', async () => {
  const on = await client();
  send(on);
  await answer(on, goawayFrame(0x7fff_ffff, 0));
  assert.deepEqual(on.lines, ['goaway']);
  await answer(on, goawayFrame(1, 0), headers(1, responseBlock(), true));
  assert.deepEqual(on.lines, ['goaway', 'headers 200 ', 'end', 'stream end', 'close']);
});

test("resets of the server have Envoy's reasons", async () => {
  const on = await client();
  for (let i = 0; i < 3; i++) send(on, 'POST', false);
  await answer(
    on,
    reset(1, ErrorCode.refusedStream),
    reset(3, ErrorCode.cancel),
    reset(5, ErrorCode.connectError),
  );
  assert.deepEqual(on.lines, [
    'reset remote refused stream reset http2.remote_refuse',
    'stream end',
    'reset remote reset http2.remote_reset',
    'stream end',
    'reset connect error http2.remote_reset',
    'stream end',
  ]);
});

test('our reset: later frames of the stream are ignored, its headers still decoded', async () => {
  const on = await client();
  const first = send(on);
  send(on);
  first.encoder.reset('local reset');
  const sent = await answer(
    on,
    headers(1, responseBlock(200, '\x40\x01n\x01v'), false),
    data(1, 'late'),
    windowUpdate(1, 5),
    reset(1, 0),
    headers(3, responseBlock(200, '\xbe'), true),
  );
  assert.deepEqual(sent.slice(-1), ['reset 1 8']);
  assert.deepEqual(on.lines, ['stream end', 'headers 200 n=v', 'end', 'stream end']);
});

test('a response before the end of the request ends both', async () => {
  const on = await client();
  const { encoder } = send(on, 'POST', false);
  await answer(on, headers(1, responseBlock(413), true));
  encoder.encodeData(Buffer.from('more'), true);
  await settle();
  assert.deepEqual(on.peer.take(), []);
  assert.deepEqual(on.lines, ['headers 413 ', 'end', 'stream end']);
});

test('HEAD and 304 may name a length without a body', async () => {
  const on = await client();
  send(on, 'HEAD');
  send(on);
  send(on);
  const length = rawField('content-length', '5');
  await answer(
    on,
    headers(1, responseBlock(200, length), true),
    headers(3, responseBlock(304, length), true),
    headers(5, responseBlock(200, length), true),
  );
  assert.equal(on.lines.filter((line) => line === 'end').length, 2);
  assert.ok(on.lines.includes('reset protocol error http2.violation.of.messaging.rule'));
});

/** Each on stream 1, with a request open. */
const wrong: readonly (readonly [string, string, string])[] = [
  ['no status', headers(1, rawField('a', 'b'), true), 'http2.violation.of.messaging.rule'],
  ['status of two digits', headers(1, rawField(':status', '20'), true), 'http2.violation.of.messaging.rule'],
  [
    'pseudo header of requests',
    headers(1, responseBlock() + rawField(':path', '/'), true),
    'http2.violation.of.messaging.rule',
  ],
  ['101', headers(1, responseBlock(101), false), 'http2.violation.of.messaging.rule'],
  ['1xx that ends the stream', headers(1, responseBlock(103), true), 'http2.violation.of.messaging.rule'],
  ['body before headers', data(1, 'x'), 'http2.violation.of.messaging.rule'],
  [
    'second headers that end nothing',
    headers(1, responseBlock(), false) + headers(1, rawField('t', 'v'), false),
    'http2.violation.of.messaging.rule',
  ],
  [
    'pseudo header in trailers',
    headers(1, responseBlock(), false) + headers(1, responseBlock(), true),
    'http2.violation.of.messaging.rule',
  ],
  [
    'connection-specific field',
    headers(1, responseBlock(200, rawField('connection', 'close')), true),
    'http2.invalid.header.field',
  ],
];

for (const [name, frames, details] of wrong) {
  test(`malformed response: ${name}`, async () => {
    const on = await client({ streamErrorOnInvalidHttpMessage: true });
    send(on);
    await answer(on, frames);
    assert.ok(on.lines.includes(`reset protocol error ${details}`), on.lines.join('; '));
    assert.equal(on.connection.activeStreams, 0);
    assert.equal(on.connection.availableStreams, 1024);
  });
}

/** Each ends the connection. */
const fatal: readonly (readonly [string, string, number])[] = [
  ['PUSH_PROMISE', frame(FrameType.pushPromise, 4, 1, uint32Text(2)), ErrorCode.protocolError],
  ['HEADERS of a stream that we did not open', headers(3, responseBlock(), true), ErrorCode.protocolError],
  ['HEADERS on an even stream', headers(2, responseBlock(), true), ErrorCode.protocolError],
  ['ENABLE_PUSH from a server', settingsFrame([[SettingId.enablePush, 1]]), ErrorCode.protocolError],
  [
    'extended CONNECT taken back',
    settingsFrame([
      [8, 1],
      [8, 0],
    ]),
    ErrorCode.protocolError,
  ],
  ['HEADERS on a closed stream', headers(1, responseBlock(), true).repeat(2), ErrorCode.streamClosed],
];

for (const [name, frames, code] of fatal) {
  test(`ends the connection: ${name}`, async () => {
    const on = await client();
    send(on);
    const lines = (await answer(on, frames)).filter((line) => line.startsWith('goaway'));
    assert.deepEqual(lines, [`goaway 0 ${code}`]);
    assert.match(on.lines.at(-1) ?? '', /^close http2\./);
  });
}

test('identifiers run out: the connection ends gracefully', async () => {
  const on = await client();
  on.connection.setNextStreamId(0x7fff_ffff);
  send(on);
  assert.deepEqual(on.lines, ['goaway']);
  assert.equal(on.connection.availableStreams, 0);
  await answer(on, headers(0x7fff_ffff, responseBlock(), true));
  assert.deepEqual(on.lines, ['goaway', 'headers 200 ', 'end', 'stream end', 'close']);
});

test('writes of one turn of the loop leave together', async () => {
  const on = await client();
  const chunks: number[] = [];
  on.peer.far.on('data', (chunk: Buffer) => chunks.push(chunk.length));
  for (let i = 0; i < 10; i++) send(on);
  await settle();
  assert.equal(chunks.length, 1);
  assert.equal(on.peer.take().length, 10);
});

test('the socket ends: streams are reset, then the pool hears it', async () => {
  const on = await client();
  send(on);
  on.peer.far.destroy();
  await settle();
  assert.deepEqual(on.lines, ['reset connection termination ', 'close']);
});
