import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap } from '../header_map.ts';
import { ErrorCode } from './error_codes.ts';
import { FrameFlag, FrameType, uint32Text } from './frames/frame_header.ts';
import { SettingId, settingsAck, settingsFrame } from './frames/settings.ts';
import type { Http2Options } from './options.ts';
import {
  type Answer,
  clientPreface,
  data,
  frame,
  headers,
  rawField,
  RecordingServer,
  requestBlock,
  reset,
  responseHeaders,
  settle,
  windowUpdate,
} from './testing.ts';

/** A connection after its handshake; its first frames have been taken. */
async function server(options: Partial<Http2Options> = {}, answer?: Answer): Promise<RecordingServer> {
  const made = new RecordingServer(options, answer);
  await settle();
  made.peer.take();
  return made;
}

/** Sends and gives what came back. */
async function ask(to: RecordingServer, ...frames: string[]): Promise<string[]> {
  to.peer.send(...frames);
  await settle();
  return to.peer.take();
}

const goaway = (last: number, code: number): string => `goaway ${last} ${code}`;

test('settings as Envoy sends them, then the window of the connection', async () => {
  const made = new RecordingServer({}, undefined, false);
  await settle();
  assert.deepEqual(made.peer.take(), ['settings 3=1024 4=16777216', `window 0 ${24 * 1024 * 1024 - 65_535}`]);
  const other = new RecordingServer(
    { allowConnect: true, hpackTableSize: 0, maxFrameSize: 32_768, maxConcurrentStreams: 7 },
    undefined,
    false,
  );
  await settle();
  assert.equal(other.peer.take()[0], 'settings 3=7 8=1 1=0 4=16777216 5=32768');
});

test('the preface decides, wherever it is split', async () => {
  for (let split = 0; split < clientPreface.length; split++) {
    const made = new RecordingServer({}, undefined, false);
    made.peer.send(clientPreface.slice(0, split));
    await settle();
    made.peer.send(clientPreface.slice(split), settingsFrame([]));
    await settle();
    assert.equal(made.peer.take().at(-1), 'settings ack');
  }
  const bad = new RecordingServer({}, undefined, false);
  await settle();
  bad.peer.take();
  assert.deepEqual(await ask(bad, `${clientPreface.slice(0, 20)}xx`), [goaway(0, ErrorCode.protocolError)]);
  const noSettings = new RecordingServer({}, undefined, false);
  await settle();
  noSettings.peer.take();
  assert.deepEqual(await ask(noSettings, clientPreface, frame(FrameType.ping, 0, 0, '12345678')), [
    goaway(0, ErrorCode.protocolError),
  ]);
});

test('request and response with body, trailers and cookies', async () => {
  const on = await server({}, (encoder) => {
    encoder.encode1xxHeaders(responseHeaders(103, { link: 'x' }));
    encoder.encodeHeaders(responseHeaders(200, { a: 'b', connection: 'close', 'set-cookie': 's' }), false);
    encoder.encodeData(Buffer.from('body'), false);
    encoder.encodeTrailers(new HeaderMap(['grpc-status'], ['0']));
  });
  const answer = await ask(
    on,
    headers(
      1,
      requestBlock(
        'POST',
        '/p?q',
        rawField('cookie', 'a=1') + rawField('x', 'y') + rawField('cookie', 'b=2'),
      ),
      false,
    ),
    data(1, 'hello '),
    data(1, 'world'),
    headers(1, rawField('t', 'v'), true),
  );
  assert.deepEqual(on.lines, [
    'headers POST /p?q host=host cookie=a=1; b=2|x=y',
    'data hello world',
    'trailers t=v',
    'end',
  ]);
  assert.deepEqual(answer, [
    'headers 1 :status=103 link=x',
    'headers 1 :status=200 a=b set-cookie=s',
    'data 1 body',
    'headers 1 grpc-status=0 end',
  ]);
  assert.equal(on.connection.activeStreams, 0);
});

test('padding and priority are taken off', async () => {
  const on = await server();
  const block = requestBlock('POST');
  const answer = await ask(
    on,
    frame(
      FrameType.headers,
      FrameFlag.padded | FrameFlag.priority | FrameFlag.endHeaders,
      1,
      `\x05${uint32Text(3)}\x10${block}${'\0'.repeat(5)}`,
    ),
    frame(FrameType.data, FrameFlag.padded, 1, `\x03abc${'\0'.repeat(3)}`),
    frame(FrameType.data, FrameFlag.padded, 1, `\x04${'\0'.repeat(4)}`),
    frame(FrameType.data, FrameFlag.padded | FrameFlag.endStream, 1, '\x00d'),
  );
  assert.deepEqual(on.lines, ['headers POST / host=host ', 'data abcd', 'end']);
  assert.deepEqual(answer, ['headers 1 :status=200 end']);
});

test('a session gives the same events wherever its bytes are split', async () => {
  const session =
    clientPreface +
    settingsFrame([[SettingId.initialWindowSize, 100_000]]) +
    settingsAck +
    headers(1, requestBlock('POST', '/1', rawField('a', 'b')), false) +
    frame(FrameType.ping, 0, 0, '12345678') +
    frame(FrameType.data, FrameFlag.padded, 1, '\x02one\0\0') +
    frame(FrameType.headers, FrameFlag.endStream, 3, requestBlock('GET', '/3').slice(0, 4)) +
    frame(FrameType.continuation, FrameFlag.endHeaders, 3, requestBlock('GET', '/3').slice(4)) +
    data(1, 'two', true) +
    windowUpdate(0, 5);
  const play = async (parts: readonly string[]): Promise<string[]> => {
    const on = new RecordingServer({}, undefined, false);
    for (const part of parts) {
      on.peer.send(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await settle();
    return [...on.lines, ...on.peer.take()];
  };
  const whole = await play([session]);
  assert.ok(whole.includes('data onetwo') && whole.includes('headers 3 :status=200 end'));
  for (let at = 1; at < session.length; at++)
    assert.deepEqual(await play([session.slice(0, at), session.slice(at)]), whole, `split at ${at}`);
  assert.deepEqual(await play([...session]), whole, 'byte by byte');
});

/** What ends a connection; `last` is the stream that GOAWAY names. */
const fatal: readonly (readonly [string, string, number, number?])[] = [
  ['DATA on stream 0', data(0, 'x'), ErrorCode.protocolError],
  ['HEADERS on stream 0', headers(0, requestBlock(), true), ErrorCode.protocolError],
  ['HEADERS on an even stream', headers(2, requestBlock(), true), ErrorCode.protocolError],
  ['DATA on an idle stream', data(1, 'x'), ErrorCode.protocolError],
  ['RST_STREAM on an idle stream', reset(1, 8), ErrorCode.protocolError],
  ['WINDOW_UPDATE on an idle stream', windowUpdate(1, 8), ErrorCode.protocolError],
  ['WINDOW_UPDATE of 0 on the connection', windowUpdate(0, 0), ErrorCode.protocolError],
  ['window past 2^31-1', windowUpdate(0, 0x7fff_ffff), ErrorCode.flowControlError],
  ['PUSH_PROMISE from a client', frame(FrameType.pushPromise, 4, 1, uint32Text(2)), ErrorCode.protocolError],
  ['CONTINUATION out of place', frame(FrameType.continuation, 4, 1, requestBlock()), ErrorCode.protocolError],
  [
    'a frame between HEADERS and CONTINUATION',
    frame(FrameType.headers, 0, 1, requestBlock()) + frame(FrameType.ping, 0, 0, '12345678'),
    ErrorCode.protocolError,
  ],
  [
    'CONTINUATION of another stream',
    frame(FrameType.headers, 0, 1, requestBlock()) + frame(FrameType.continuation, 4, 3, ''),
    ErrorCode.protocolError,
  ],
  ['a frame too large', frame(FrameType.data, 0, 1, 'x'.repeat(16_385)), ErrorCode.frameSizeError],
  ['PING of 7 octets', frame(FrameType.ping, 0, 0, '1234567'), ErrorCode.frameSizeError],
  ['PING on a stream', frame(FrameType.ping, 0, 1, '12345678'), ErrorCode.protocolError],
  ['SETTINGS of 5 octets', frame(FrameType.settings, 0, 0, '12345'), ErrorCode.frameSizeError],
  ['SETTINGS ACK with payload', frame(FrameType.settings, 1, 0, '123456'), ErrorCode.frameSizeError],
  ['SETTINGS on a stream', frame(FrameType.settings, 0, 1), ErrorCode.protocolError],
  ['ENABLE_PUSH 2', settingsFrame([[SettingId.enablePush, 2]]), ErrorCode.protocolError],
  [
    'INITIAL_WINDOW_SIZE 2^31',
    settingsFrame([[SettingId.initialWindowSize, 2 ** 31]]),
    ErrorCode.flowControlError,
  ],
  ['MAX_FRAME_SIZE 1', settingsFrame([[SettingId.maxFrameSize, 1]]), ErrorCode.protocolError],
  ['RST_STREAM of 3 octets', frame(FrameType.rstStream, 0, 1, '123'), ErrorCode.frameSizeError],
  ['WINDOW_UPDATE of 3 octets', frame(FrameType.windowUpdate, 0, 0, '123'), ErrorCode.frameSizeError],
  ['GOAWAY of 7 octets', frame(FrameType.goaway, 0, 0, '1234567'), ErrorCode.frameSizeError],
  ['GOAWAY on a stream', frame(FrameType.goaway, 0, 1, '12345678'), ErrorCode.protocolError],
  ['PRIORITY on stream 0', frame(FrameType.priority, 0, 0, '12345'), ErrorCode.protocolError],
  ['compression error', headers(1, '\x80', true), ErrorCode.compressionError, 1],
  [
    'padding longer than the payload',
    frame(FrameType.headers, FrameFlag.padded | FrameFlag.endHeaders, 1, '\x05abc'),
    ErrorCode.protocolError,
  ],
  [
    'padded DATA without length',
    headers(1, requestBlock('POST'), false) + frame(FrameType.data, FrameFlag.padded, 1),
    ErrorCode.frameSizeError,
    1,
  ],
  [
    'padding of DATA longer than the payload',
    headers(1, requestBlock('POST'), false) + frame(FrameType.data, FrameFlag.padded, 1, '\x02x'),
    ErrorCode.protocolError,
    1,
  ],
  [
    'a stream number that goes back',
    headers(5, requestBlock(), true) + headers(3, requestBlock(), true),
    ErrorCode.protocolError,
    5,
  ],
  [
    'HEADERS on a closed stream',
    headers(1, requestBlock(), true) + headers(1, requestBlock(), true),
    ErrorCode.streamClosed,
    1,
  ],
  ['DATA on a closed stream', headers(1, requestBlock(), true) + data(1, 'x'), ErrorCode.streamClosed, 1],
];

for (const [name, frames, code, last] of fatal) {
  test(`ends the connection: ${name}`, async () => {
    const on = await server();
    const lines = (await ask(on, frames)).filter((line) => line.startsWith('goaway'));
    assert.deepEqual(lines, [goaway(last ?? 0, code)]);
    assert.ok(on.peer.ended);
    assert.equal(on.connection.activeStreams, 0);
  });
}

/** Requests that are malformed (RFC 9113 8.1.1): details as Envoy has them. */
const field = 'http2.invalid.header.field';
const rule = 'http2.violation.of.messaging.rule';
const pseudo = (name: string, value: string): string => rawField(`:${name}`, value);
const malformed: readonly (readonly [string, string, string])[] = [
  ['name in upper case', requestBlock('GET', '/', rawField('Abc', 'x')), field],
  ['name with a space', requestBlock('GET', '/', rawField('a b', 'x')), field],
  ['no name', requestBlock('GET', '/', rawField('', 'x')), field],
  ['value with NUL', requestBlock('GET', '/', rawField('a', 'x\0y')), field],
  ['value with CR', requestBlock('GET', '/', rawField('a', 'x\ry')), field],
  ['value with LF', requestBlock('GET', '/', rawField('a', 'x\ny')), field],
  ['connection', requestBlock('GET', '/', rawField('connection', 'close')), field],
  ['keep-alive', requestBlock('GET', '/', rawField('keep-alive', '5')), field],
  ['proxy-connection', requestBlock('GET', '/', rawField('proxy-connection', 'x')), field],
  ['transfer-encoding', requestBlock('GET', '/', rawField('transfer-encoding', 'chunked')), field],
  ['upgrade', requestBlock('GET', '/', rawField('upgrade', 'websocket')), field],
  ['te other than trailers', requestBlock('GET', '/', rawField('te', 'gzip')), field],
  ['content-length not a number', requestBlock('POST', '/', rawField('content-length', '+1')), field],
  ['two content-lengths', requestBlock('POST', '/', rawField('content-length', '0').repeat(2)), field],
  ['content-length without body', requestBlock('POST', '/', rawField('content-length', '1')), rule],
  ['unknown pseudo header', requestBlock('GET', '/', '') + pseudo('x', 'y'), field],
  ['pseudo header of responses', requestBlock() + pseudo('status', '200'), rule],
  ['pseudo header twice', requestBlock() + pseudo('path', '/'), rule],
  ['pseudo header behind a field', rawField('a', 'b') + requestBlock(), rule],
  ['no method', pseudo('scheme', 'http') + pseudo('path', '/') + pseudo('authority', 'a'), rule],
  ['no scheme', pseudo('method', 'GET') + pseudo('path', '/') + pseudo('authority', 'a'), rule],
  ['no path', pseudo('method', 'GET') + pseudo('scheme', 'http') + pseudo('authority', 'a'), rule],
  ['no authority', pseudo('method', 'GET') + pseudo('scheme', 'http') + pseudo('path', '/'), rule],
  ['empty path', requestBlock('GET', ''), field],
  ['path without slash', requestBlock('GET', 'x'), rule],
  ['absolute path', requestBlock('GET', 'http://a/b'), rule],
  ['star for GET', requestBlock('GET', '*'), rule],
  ['path with a space', requestBlock('GET', '/a b'), field],
  ['method with a space', requestBlock('GE T'), field],
  [
    'scheme with a space',
    pseudo('method', 'GET') + pseudo('scheme', 'ht tp') + pseudo('path', '/') + pseudo('authority', 'a'),
    field,
  ],
  [
    'authority with userinfo',
    pseudo('method', 'GET') + pseudo('scheme', 'http') + pseudo('path', '/') + pseudo('authority', 'u@a'),
    field,
  ],
  ['CONNECT with a path', pseudo('method', 'CONNECT') + pseudo('path', '/') + pseudo('authority', 'a'), rule],
  [
    'extended CONNECT where it is not offered',
    requestBlock('CONNECT') + pseudo('protocol', 'websocket'),
    rule,
  ],
  [
    'two hosts',
    pseudo('method', 'GET') +
      pseudo('scheme', 'http') +
      pseudo('path', '/') +
      rawField('host', 'a') +
      rawField('host', 'b'),
    field,
  ],
];

for (const [name, block, details] of malformed) {
  test(`malformed: ${name}`, async () => {
    const on = await server();
    assert.deepEqual(await ask(on, headers(1, block, true)), ['reset 1 1', goaway(1, 1)]);
    assert.deepEqual(on.lines, [`reset protocol error ${details}`]);
    const kind = await server({ streamErrorOnInvalidHttpMessage: true });
    assert.deepEqual(await ask(kind, headers(1, block, true), headers(3, requestBlock(), true)), [
      'reset 1 1',
      'headers 3 :status=200 end',
    ]);
  });
}

/** Requests that look odd and are taken, as Envoy takes them. */
const taken: readonly (readonly [string, string, string])[] = [
  ['te: trailers', requestBlock('GET', '/', rawField('te', 'trailers')), 'GET / host=host te=trailers'],
  ['spaces around a value', requestBlock('GET', '/', rawField('a', ' b\t')), 'GET / host=host a=b'],
  ['octets past ASCII', requestBlock('GET', '/\xff', rawField('a', '\xfe')), 'GET /\xff host=host a=\xfe'],
  ['own method', requestBlock('FOO'), 'FOO / host=host '],
  ['star for OPTIONS', requestBlock('OPTIONS', '*'), 'OPTIONS * host=host '],
  [
    'host in place of authority',
    pseudo('method', 'GET') + pseudo('scheme', 'http') + pseudo('path', '/') + rawField('host', 'h'),
    'GET / host=h ',
  ],
  ['host beside authority', requestBlock('GET', '/', rawField('host', 'other')), 'GET / host=host '],
];

for (const [name, block, line] of taken) {
  test(`taken: ${name}`, async () => {
    const on = await server();
    assert.deepEqual(await ask(on, headers(1, block, true)), ['headers 1 :status=200 end']);
    assert.deepEqual(on.lines, [`headers ${line}`, 'end']);
  });
}

test('content-length is held against the body', async () => {
  const length = (value: number): string =>
    requestBlock('POST', '/', rawField('content-length', String(value)));
  const short = await server({ streamErrorOnInvalidHttpMessage: true });
  assert.deepEqual(await ask(short, headers(1, length(4), false), data(1, 'abc', true)), ['reset 1 1']);
  assert.deepEqual(await ask(short, headers(3, length(4), false), data(3, 'abcde')), ['reset 3 1']);
  assert.deepEqual(
    await ask(short, headers(5, length(4), false), data(5, 'abc'), headers(5, rawField('t', 'v'), true)),
    ['reset 5 1'],
  );
  assert.deepEqual(await ask(short, headers(7, length(4), false), data(7, 'ab'), data(7, 'cd', true)), [
    'headers 7 :status=200 end',
  ]);
});

test('underscores: allowed, dropped, rejected', async () => {
  const block = requestBlock('GET', '/', rawField('a_b', 'c'));
  const drop = await server({ underscores: 'drop' });
  await ask(drop, headers(1, block, true));
  assert.deepEqual(drop.lines, ['headers GET / host=host ', 'end']);
  const reject = await server({ underscores: 'reject' });
  assert.deepEqual(await ask(reject, headers(1, block, true), headers(3, requestBlock(), true)), [
    'reset 1 1',
    'headers 3 :status=200 end',
  ]);
  assert.equal(reject.lines[0], 'reset local reset http2.unexpected_underscore');
});

test('too many and too large headers cost their stream; the table stays right', async () => {
  const on = await server({ maxHeadersKb: 1, maxHeadersCount: 10 });
  const indexed = '\x40\x01n\x01v';
  assert.deepEqual(
    await ask(
      on,
      headers(1, requestBlock('GET', '/', rawField('a', 'b').repeat(7) + indexed), true),
      headers(3, requestBlock('GET', '/', rawField('a', 'b'.repeat(2000))), true),
      headers(5, requestBlock('GET', '/', '\xbe'), true),
    ),
    ['reset 1 2', 'reset 3 2', 'headers 5 :status=200 end'],
  );
  assert.deepEqual(on.lines, [
    'reset local reset http2.too_many_headers',
    'reset local reset http2.header_list_size_too_large',
    'headers GET / host=host n=v',
    'end',
  ]);
});

test('streams past the limit are refused, and frames for them ignored', async () => {
  const on = await server({ maxConcurrentStreams: 2 }, () => {});
  const answer = await ask(
    on,
    headers(1, requestBlock(), true),
    headers(3, requestBlock(), true),
    headers(5, requestBlock('POST'), false),
    data(5, 'late'),
    headers(5, rawField('t', 'v'), true),
  );
  assert.deepEqual(answer, ['reset 5 7']);
  assert.equal(on.connection.activeStreams, 2);
  on.encoders[0]!.encodeHeaders(responseHeaders(), true);
  await settle();
  assert.deepEqual(await ask(on, headers(7, requestBlock(), true)), ['headers 1 :status=200 end']);
  assert.equal(on.connection.activeStreams, 2);
});

test('a response before the end of the request: the rest is not wanted', async () => {
  const on = await server({}, () => {});
  await ask(on, headers(1, requestBlock('POST'), false));
  on.encoders[0]!.encodeHeaders(responseHeaders(413), true);
  assert.deepEqual(await ask(on, data(1, 'more'), data(1, 'x', true)), [
    'headers 1 :status=413 end',
    'reset 1 0',
  ]);
  assert.equal(on.connection.activeStreams, 0);
});

test("resets: ours with a code, the peer's with a reason", async () => {
  const on = await server({}, () => {});
  await ask(
    on,
    headers(1, requestBlock(), true),
    headers(3, requestBlock(), true),
    headers(5, requestBlock(), true),
  );
  on.encoders[0]!.reset('local reset');
  on.encoders[0]!.encodeHeaders(responseHeaders(), true);
  on.encoders[0]!.reset('local reset');
  assert.deepEqual(await ask(on, reset(3, 8), reset(5, 7), reset(1, 8)), ['reset 1 2']);
  assert.deepEqual(on.lines.slice(-2), [
    'reset remote reset http2.remote_reset',
    'reset remote refused stream reset http2.remote_refuse',
  ]);
  assert.equal(on.connection.activeStreams, 0);
});

test('flow control of the sender: windows of stream and connection, frames of the size that the peer takes', async () => {
  const on = await server({}, (encoder) => {
    encoder.encodeHeaders(responseHeaders(), false);
    encoder.encodeData(Buffer.alloc(100_000, 97), true);
  });
  await ask(on, settingsFrame([[SettingId.initialWindowSize, 20_000]]));
  assert.deepEqual(await ask(on, headers(1, requestBlock(), true)), [
    'headers 1 :status=200',
    'data 1 16384',
    'data 1 3616',
  ]);
  assert.deepEqual(await ask(on, windowUpdate(1, 10_000)), ['data 1 10000']);
  // A lower initial window may take the window below zero.
  await ask(on, settingsFrame([[SettingId.initialWindowSize, 10_000]]));
  assert.deepEqual(await ask(on, windowUpdate(1, 10_000)), []);
  assert.deepEqual(await ask(on, windowUpdate(1, 5000)), ['data 1 5000']);
  assert.deepEqual(await ask(on, settingsFrame([[SettingId.maxFrameSize, 40_000]])), ['settings ack']);
  // 65535 of the connection, less what was sent.
  assert.deepEqual(await ask(on, windowUpdate(1, 100_000)), [`data 1 ${65_535 - 35_000}`]);
  assert.deepEqual(await ask(on, windowUpdate(0, 100_000)), [`data 1 ${100_000 - 65_535} end`]);
  assert.equal(on.connection.activeStreams, 0);
});

test('streams that wait for the connection window take turns', async () => {
  const on = await server({}, (encoder) => {
    encoder.encodeHeaders(responseHeaders(), false);
    encoder.encodeData(Buffer.alloc(60_000, 97), false);
    encoder.encodeTrailers(new HeaderMap(['t'], ['v']));
  });
  const first = await ask(
    on,
    headers(1, requestBlock(), true),
    headers(3, requestBlock(), true),
    headers(5, requestBlock(), true),
  );
  assert.deepEqual(
    first.filter((line) => line.startsWith('data')),
    ['data 1 16384', 'data 1 16384', 'data 1 16384', 'data 1 10848', 'data 3 5535'],
  );
  const later = await ask(on, windowUpdate(0, 40_000));
  assert.deepEqual(later, ['data 3 16384', 'data 5 16384', 'data 3 7232']);
  const rest = await ask(on, windowUpdate(0, 1_000_000));
  assert.deepEqual(
    rest.filter((line) => line.endsWith(' end')),
    ['headers 3 t=v end', 'headers 5 t=v end'],
  );
  assert.equal(on.connection.activeStreams, 0);
});

test('backpressure: a stream tells its source when to pause and when to go on', async () => {
  const on = await server({ streamHighWatermark: 1000 }, () => {});
  await ask(on, settingsFrame([[SettingId.initialWindowSize, 100]]), headers(1, requestBlock(), true));
  const [encoder, decoder] = [on.encoders[0]!, on.decoders[0]!];
  encoder.encodeHeaders(responseHeaders(), false);
  encoder.encodeData(Buffer.alloc(900), false);
  assert.deepEqual([encoder.aboveHighWatermark, decoder.above, decoder.below], [false, 0, 0]);
  encoder.encodeData(Buffer.alloc(900), false);
  encoder.encodeData(Buffer.alloc(900), false);
  assert.deepEqual([encoder.aboveHighWatermark, decoder.above, decoder.below], [true, 1, 0]);
  await ask(on, windowUpdate(1, 2000));
  assert.deepEqual([encoder.aboveHighWatermark, decoder.below], [true, 0]);
  await ask(on, windowUpdate(1, 300));
  assert.deepEqual([encoder.aboveHighWatermark, decoder.above, decoder.below], [false, 1, 1]);
});

test('backpressure: a socket that does not take bytes pauses all streams', async () => {
  const on = await server({ highWatermark: 100_000 }, () => {});
  await ask(
    on,
    settingsFrame([[SettingId.initialWindowSize, 10_000_000]]),
    windowUpdate(0, 10_000_000),
    headers(1, requestBlock(), true),
    headers(3, requestBlock(), true),
  );
  on.peer.far.pause();
  await settle();
  const body = Buffer.alloc(50_000);
  on.encoders[0]!.encodeHeaders(responseHeaders(), false);
  for (let i = 0; i < 20; i++) on.encoders[0]!.encodeData(body, false);
  assert.deepEqual(
    on.encoders.map((encoder) => encoder.aboveHighWatermark),
    [true, true],
  );
  assert.deepEqual(
    on.decoders.map((decoder) => decoder.above),
    [1, 1],
  );
  on.peer.far.resume();
  for (let i = 0; i < 40; i++) await settle();
  for (const [i, decoder] of on.decoders.entries()) {
    assert.equal(decoder.below, decoder.above);
    assert.equal(on.encoders[i]!.aboveHighWatermark, false);
  }
  const bytes = on.peer
    .take()
    .filter((line) => line.startsWith('data'))
    .map((line) => Number(line.split(' ')[2]));
  assert.equal(
    bytes.reduce((sum, size) => sum + size, 0),
    1_000_000,
  );
});

test('flow control of the receiver: half a stream window, a sixteenth of the connection window; reading disabled, nothing', async () => {
  const on = await server({ initialStreamWindowSize: 70_000, initialConnectionWindowSize: 80_000 }, () => {});
  const body = 'x'.repeat(10_000);
  assert.deepEqual(await ask(on, headers(1, requestBlock('POST'), false), data(1, body).repeat(3)), [
    'window 0 10000',
    'window 0 10000',
    'window 0 10000',
  ]);
  assert.deepEqual(await ask(on, data(1, body)), ['window 0 10000', 'window 1 40000']);
  on.encoders[0]!.readDisable(true);
  on.encoders[0]!.readDisable(true);
  assert.deepEqual(await ask(on, data(1, body).repeat(6)), []);
  on.encoders[0]!.readDisable(false);
  await settle();
  assert.deepEqual(on.peer.take(), []);
  on.encoders[0]!.readDisable(false);
  await settle();
  assert.deepEqual(on.peer.take(), ['window 0 60000', 'window 1 60000']);
});

test('a body past the window of its stream resets it, past that of the connection ends it', async () => {
  const small = { initialStreamWindowSize: 65_535, initialConnectionWindowSize: 100_000 };
  const on = await server(small, () => {});
  await ask(on, headers(1, requestBlock('POST'), false), headers(3, requestBlock('POST'), false));
  on.encoders[0]!.readDisable(true);
  on.encoders[1]!.readDisable(true);
  const body = 'x'.repeat(16_000);
  assert.deepEqual(await ask(on, data(1, body).repeat(5)), ['window 0 16000', 'reset 1 3', 'window 0 64000']);
  assert.deepEqual(await ask(on, data(3, body).repeat(4)), []);
  await ask(on, headers(5, requestBlock('POST'), false));
  on.encoders[2]!.readDisable(true);
  assert.deepEqual(await ask(on, data(5, body).repeat(3)), [goaway(5, ErrorCode.flowControlError)]);
});

test('extended CONNECT and CONNECT', async () => {
  const on = await server({ allowConnect: true }, () => {});
  await ask(
    on,
    headers(1, requestBlock('CONNECT', '/ws') + pseudo('protocol', 'websocket'), false),
    headers(3, pseudo('method', 'CONNECT') + pseudo('authority', 'a:1'), false),
  );
  const [extended, plain] = on.decoders.map((decoder) => decoder.headers);
  assert.deepEqual([extended?.method, extended?.path, extended?.protocol], ['CONNECT', '/ws', 'websocket']);
  assert.deepEqual(
    [plain?.method, plain?.path, plain?.authority, plain?.protocol],
    ['CONNECT', '', 'a:1', ''],
  );
  on.encoders[0]!.encodeHeaders(responseHeaders(101, { upgrade: 'websocket', connection: 'upgrade' }), false);
  on.encoders[0]!.encodeData(Buffer.from('down'), false);
  assert.deepEqual(await ask(on, data(1, 'up')), ['headers 1 :status=200', 'data 1 down']);
  assert.deepEqual(on.connection.activeStreams, 2);
});

test('a large header list goes out in CONTINUATION frames', async () => {
  const on = await server({}, (encoder) =>
    encoder.encodeHeaders(responseHeaders(200, { a: 'x'.repeat(40_000) }), true),
  );
  const lines = await ask(on, headers(1, requestBlock(), true));
  assert.deepEqual(
    lines.map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['headers 1', 'continuation 1', 'continuation 1'],
  );
  assert.match(lines[2]!, / last$/);
});

test('graceful end: GOAWAY that takes more, GOAWAY that does not, then close', async () => {
  const on = await server({ drainTimeoutMs: 30 }, () => {});
  await ask(on, headers(1, requestBlock(), true));
  on.connection.shutdownNotice();
  on.connection.shutdownNotice();
  assert.deepEqual(await ask(on, headers(3, requestBlock(), true)), [goaway(0x7fff_ffff, 0)]);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(await ask(on, headers(5, requestBlock(), true)), [goaway(3, 0)]);
  assert.equal(on.connection.activeStreams, 2);
  on.encoders[0]!.encodeHeaders(responseHeaders(), true);
  assert.ok(!on.peer.ended);
  on.encoders[1]!.encodeHeaders(responseHeaders(), true);
  await settle();
  assert.deepEqual(on.peer.take(), ['headers 1 :status=200 end', 'headers 3 :status=200 end']);
  assert.ok(on.peer.ended);
});

test('a connection that is gone resets its streams', async () => {
  const on = await server({}, () => {});
  await ask(on, headers(1, requestBlock(), true));
  on.peer.far.end();
  await settle();
  assert.equal(on.lines.at(-1), 'reset connection termination ');
  assert.ok(on.closed);
});
