import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { HeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { RecordingServer, settle } from './testing.ts';

const pipelined =
  '\r\nGET /a?x=1 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: t\r\nX-Empty:\r\n\r\n' +
  'POST /b HTTP/1.1\r\nhost: b\r\nContent-Length: 5\r\n\r\nhello' +
  'POST /c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: Chunked\r\n\r\n4\r\nwiki\r\n0A;x="y"\r\n0123456789\r\n0\r\nTrail: er\r\n\r\n' +
  'PUT /d HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n' +
  'HEAD /e HTTP/1.1\r\nHost: e\r\n\r\n';

const expected = [
  'headers GET /a?x=1 host=a.example user-agent=t|x-empty=',
  'end',
  'headers POST /b host=b content-length=5',
  'data hello',
  'end',
  'headers POST /c host=c ',
  'data wiki0123456789',
  'trailers trail=er',
  'end',
  'headers PUT /d host=d ',
  'data abc',
  'end',
  'headers HEAD /e host=e ',
  'end',
];

test('requests split in two at every byte', async () => {
  for (let at = 0; at <= pipelined.length; at++) {
    const server = new RecordingServer({ enableTrailers: true });
    server.connection.onData(Buffer.from(pipelined.slice(0, at), 'latin1'));
    server.connection.onData(Buffer.from(pipelined.slice(at), 'latin1'));
    assert.deepEqual(server.lines, expected, `split at ${at}`);
    await settle();
    assert.equal(server.wire.text.match(/HTTP\/1\.1 200 OK/g)?.length, 5);
  }
});

test('requests byte by byte', () => {
  const server = new RecordingServer({ enableTrailers: true });
  for (const byte of Buffer.from(pipelined, 'latin1')) server.connection.onData(Buffer.of(byte));
  assert.deepEqual(server.lines, expected);
});

test('property: any request in any pieces', () => {
  const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,30}$/);
  const value = fc.stringMatching(/^([!-~]([ -~]{0,60}[!-~])?)?$/);
  const body = fc.oneof(
    fc.constant(undefined),
    fc.record({
      chunked: fc.boolean(),
      parts: fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 5 }),
    }),
  );
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          token.map((name) => `x-${name}`),
          value,
        ),
        { maxLength: 12 },
      ),
      body,
      fc.array(fc.nat(400), { maxLength: 8 }),
      (fields, message, cuts) => {
        let text = 'POST /p HTTP/1.1\r\nHost: h\r\n';
        for (const [name, fieldValue] of fields) text += `${name}: ${fieldValue}\r\n`;
        const parts = message?.parts.map((part) => Buffer.from(part).toString('latin1')) ?? [];
        const whole = parts.join('');
        if (message?.chunked === true) {
          text += 'Transfer-Encoding: chunked\r\n\r\n';
          for (const part of parts) text += `${part.length.toString(16)}\r\n${part}\r\n`;
          text += '0\r\n\r\n';
        } else text += `Content-Length: ${whole.length}\r\n\r\n${whole}`;
        const server = new RecordingServer();
        const places = [...cuts.filter((cut) => cut < text.length), text.length].sort((a, b) => a - b);
        let from = 0;
        for (const place of places) {
          if (place > from) server.connection.onData(Buffer.from(text.slice(from, place), 'latin1'));
          from = place;
        }
        const names = fields.map(([name, fieldValue]) => `${name.toLowerCase()}=${fieldValue}`);
        if (message?.chunked !== true) names.push(`content-length=${whole.length}`);
        const lines = [`headers POST /p host=h ${names.join('|')}`];
        if (whole !== '') lines.push(`data ${whole}`);
        assert.deepEqual(server.lines, [...lines, 'end']);
      },
    ),
    { numRuns: 300 },
  );
});

test('property: garbage never throws and never reaches a handler half checked', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(20), (bytes, cut) => {
      const server = new RecordingServer();
      const data = Buffer.concat([Buffer.from('GET /'.slice(0, cut)), bytes]);
      server.connection.onData(data);
      for (const line of server.lines) assert.match(line, /^(error|headers|end|data)/);
    }),
    { numRuns: 500 },
  );
});

const get = (fields: string): string => `GET / HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;
const post = (fields: string, body = ''): string => `POST / HTTP/1.1\r\nHost: h\r\n${fields}\r\n${body}`;

/** What is refused, with status and details. Everything that two servers could read differently is here. */
const refused: readonly (readonly [name: string, input: string, error: string])[] = [
  ['two lengths', post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello!'), '400 http1.codec_error'],
  [
    'the same length twice',
    post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello'),
    '400 http1.codec_error',
  ],
  ['a list of lengths', post('Content-Length: 5, 5\r\n', 'hello'), '400 http1.codec_error'],
  ['a signed length', post('Content-Length: +5\r\n', 'hello'), '400 http1.codec_error'],
  ['a negative length', post('Content-Length: -5\r\n', 'hello'), '400 http1.codec_error'],
  ['a hexadecimal length', post('Content-Length: 0x5\r\n', 'hello'), '400 http1.codec_error'],
  ['a length beyond 2^53', post('Content-Length: 9007199254740993\r\n'), '400 http1.codec_error'],
  ['an empty length', post('Content-Length:\r\n'), '400 http1.codec_error'],
  [
    'length and chunked',
    post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    '400 http1.content_length_and_chunked_not_allowed',
  ],
  [
    'chunked and length',
    post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
    '400 http1.content_length_and_chunked_not_allowed',
  ],
  ['gzip, chunked', post('Transfer-Encoding: gzip, chunked\r\n'), '501 http1.invalid_transfer_encoding'],
  [
    'chunked twice',
    post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'),
    '501 http1.invalid_transfer_encoding',
  ],
  ['identity', post('Transfer-Encoding: identity\r\n'), '501 http1.invalid_transfer_encoding'],
  ['chunked with a vertical tab', post('Transfer-Encoding: \vchunked\r\n'), '400 http1.invalid_characters'],
  ['xchunked', post('Transfer-Encoding: xchunked\r\n'), '501 http1.invalid_transfer_encoding'],
  ['folded header', get('A: b\r\n c: d\r\n'), '400 http1.codec_error'],
  ['folded first header', 'GET / HTTP/1.1\r\n Host: h\r\n\r\n', '400 http1.codec_error'],
  ['space before colon', get('Content-Length : 5\r\n'), '400 http1.codec_error'],
  ['tab before colon', get('A\t: 5\r\n'), '400 http1.codec_error'],
  ['no colon', get('abc\r\n'), '400 http1.codec_error'],
  ['empty name', get(': b\r\n'), '400 http1.codec_error'],
  ['bad name', get('a(b: c\r\n'), '400 http1.codec_error'],
  ['high byte in name', get('a\xe9: c\r\n'), '400 http1.codec_error'],
  ['NUL in value', get('A: b\0c\r\n'), '400 http1.invalid_characters'],
  ['control in value', get('A: b\x01c\r\n'), '400 http1.invalid_characters'],
  ['DEL in value', get('A: b\x7fc\r\n'), '400 http1.invalid_characters'],
  ['bare CR in value', get('A: b\rc\r\n'), '400 http1.codec_error'],
  ['bare LF ends value', get('A: b\nC: d\r\n'), '400 http1.codec_error'],
  ['bare LF everywhere', 'GET / HTTP/1.1\nHost: h\n\n', '400 http1.codec_error'],
  ['two hosts', get('Host: i\r\n'), '400 http1.codec_error'],
  ['unknown method', 'FOO / HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.codec_error'],
  ['lower case method', 'get / HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.codec_error'],
  ['two spaces', 'GET  / HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.codec_error'],
  ['space in target', 'GET /a b HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.codec_error'],
  ['tab in target', 'GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.invalid_url'],
  ['high byte in target', 'GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.invalid_url'],
  ['relative target', 'GET a HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.invalid_url'],
  ['other scheme', 'GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.invalid_url'],
  ['user in target', 'GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n', '400 http1.invalid_url'],
  ['no version', 'GET /\r\nHost: h\r\n\r\n', '400 http1.codec_error'],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\nHost: h\r\n\r\n', '426 low_version'],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: h\r\n\r\n', '426 low_version'],
  ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: h\r\n\r\n', '426 low_version'],
  ['TLS on a plain port', '\x16\x03\x01\x02\r\n\r\n', '400 http1.codec_error'],
  [
    'connection names x-forwarded-for',
    get('Connection: x-forwarded-for\r\n'),
    '400 http1.connection_header_rejected',
  ],
  [
    'connection names content-length',
    get('Connection: content-length\r\n'),
    '400 http1.connection_header_rejected',
  ],
  ['a head over the limit', get(`A: ${'a'.repeat(61 * 1024)}\r\n`), '431 http1.headers_too_large'],
  ['101 headers', get('a: b\r\n'.repeat(101)), '431 http1.too_many_headers'],
];

for (const [name, input, error] of refused) {
  test(`refuses ${name}`, async () => {
    for (const split of [input.length, Math.floor(input.length / 2), 1]) {
      const server = new RecordingServer();
      server.connection.onData(Buffer.from(input.slice(0, split), 'latin1'));
      if (split < input.length) server.connection.onData(Buffer.from(input.slice(split), 'latin1'));
      assert.deepEqual(server.lines, [`error ${error}`], `split at ${split}`);
      // What follows is not looked at.
      server.connection.onData(Buffer.from('GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n'));
      assert.equal(server.lines.length, 1);
      await settle();
      assert.match(server.wire.text, new RegExp(`^HTTP/1.1 ${error.slice(0, 3)} [^]*connection: close`));
      assert.ok(server.wire.ended);
    }
  });
}

const badChunks: readonly (readonly [name: string, body: string])[] = [
  ['no size', '\r\n\r\n'],
  ['not hexadecimal', 'zz\r\n\r\n'],
  ['a prefix 0x', '0x5\r\nhello\r\n0\r\n\r\n'],
  ['a sign', '+5\r\nhello\r\n0\r\n\r\n'],
  ['too many digits', '00000000000005\r\nhello\r\n0\r\n\r\n'],
  ['a bare LF after the size', '5\nhello\r\n0\r\n\r\n'],
  ['a bare LF after an extension', '5;a\nhello\r\n0\r\n\r\n'],
  ['data longer than its size', '4\r\nhello\r\n0\r\n\r\n'],
  ['a bare LF after data', '5\r\nhello\n0\r\n\r\n'],
  ['extensions without end', `5;${'a'.repeat(5000)}\r\nhello\r\n0\r\n\r\n`],
  ['a bad trailer', '0\r\nbad trailer\r\n\r\n'],
  ['trailers with bare LF', '0\r\na: b\n\r\n'],
];

for (const [name, body] of badChunks) {
  test(`refuses a chunked body with ${name}`, () => {
    const server = new RecordingServer();
    const input = post('Transfer-Encoding: chunked\r\n', body);
    for (const byte of Buffer.from(input, 'latin1')) server.connection.onData(Buffer.of(byte));
    const last = server.lines.at(-1);
    assert.equal(last, 'reset protocol error http1.codec_error');
  });
}

test('accepts what is unusual but clear', () => {
  for (const [input, line] of [
    ['GET http://a.example:80/echo?q HTTP/1.1\r\nHost: x\r\n\r\n', 'headers GET /echo?q host=a.example:80 '],
    ['GET http://a.example?q HTTP/1.1\r\nHost: x\r\n\r\n', 'headers GET /?q host=a.example '],
    ['OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', 'headers OPTIONS * host=x '],
    [get('A: \t b c \t\r\n'), 'headers GET / host=h a=b c'],
    [get('A: \xe9\r\n'), 'headers GET / host=h a=\xe9'],
    [get('Upgrade: websocket\r\n'), 'headers GET / host=h '],
    [
      get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n'),
      'headers GET / host=h connection=Upgrade, HTTP2-Settings',
    ],
    [get('X-Hop: 1\r\nConnection: x-hop\r\n'), 'headers GET / host=h connection=x-hop'],
  ] as const) {
    const server = new RecordingServer();
    server.connection.onData(Buffer.from(input, 'latin1'));
    assert.equal(server.lines[0], line);
  }
});

test('options: underscores, methods, HTTP/1.0, length beside chunked', () => {
  const ask = (options: ConstructorParameters<typeof RecordingServer>[0], input: string): RecordingServer => {
    const server = new RecordingServer(options);
    server.connection.onData(Buffer.from(input, 'latin1'));
    return server;
  };
  assert.equal(
    ask({ underscores: 'reject' }, get('a_b: c\r\n')).lines[0],
    'error 400 http1.unexpected_underscore',
  );
  assert.equal(ask({ underscores: 'drop' }, get('a_b: c\r\n')).lines[0], 'headers GET / host=h ');
  assert.equal(
    ask({ customMethods: true }, 'FOO / HTTP/1.1\r\nHost: h\r\n\r\n').lines[0],
    'headers FOO / host=h ',
  );
  assert.equal(
    ask({ customMethods: true }, 'F(O / HTTP/1.1\r\nHost: h\r\n\r\n').lines[0],
    'error 400 http1.codec_error',
  );
  assert.equal(
    ask({ acceptHttp10: true, defaultHost: 'd' }, 'GET / HTTP/1.0\r\n\r\n').lines[0],
    'headers GET / host=d ',
  );
  assert.equal(
    ask({ acceptHttp10: true }, 'POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n')
      .lines[0],
    'error 501 http1.invalid_transfer_encoding',
  );
  assert.equal(
    ask(
      { allowChunkedLength: true },
      post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    ).lines[0],
    'headers POST / host=h ',
  );
});

function respond(status: number, fields: Record<string, string>): ResponseHeaderMap {
  const headers = new ResponseHeaderMap(Object.keys(fields), Object.values(fields));
  headers.status = status;
  return headers;
}

/** Response framing: request, response, what is on the wire. */
const framings: readonly (readonly [
  name: string,
  request: string,
  status: number,
  fields: Record<string, string>,
  body: readonly string[] | undefined,
  wire: string,
])[] = [
  ['empty', 'GET', 200, {}, undefined, 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'],
  ['length', 'GET', 200, { 'content-length': '2' }, ['ok'], 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'],
  [
    'chunked',
    'GET',
    200,
    {},
    ['ab', 'c'],
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n',
  ],
  [
    'chunked, empty end',
    'GET',
    200,
    {},
    ['ab', ''],
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n',
  ],
  ['HEAD', 'HEAD', 200, { 'content-length': '7' }, undefined, 'HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n'],
  ['HEAD with a body that must not go out', 'HEAD', 200, {}, ['no'], 'HTTP/1.1 200 OK\r\n\r\n'],
  ['204', 'GET', 204, {}, undefined, 'HTTP/1.1 204 No Content\r\n\r\n'],
  [
    '304',
    'GET',
    304,
    { 'content-length': '7' },
    undefined,
    'HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n',
  ],
];

for (const [name, method, status, fields, body, wire] of framings) {
  test(`frames a response: ${name}`, async () => {
    const server = new RecordingServer({}, (encoder) => {
      encoder.encodeHeaders(respond(status, fields), body === undefined);
      body?.forEach((part, i) => encoder.encodeData(Buffer.from(part), i === body.length - 1));
    });
    server.connection.onData(Buffer.from(`${method} / HTTP/1.1\r\nHost: h\r\n\r\n`.repeat(2)));
    await settle();
    assert.equal(server.wire.text, wire + wire);
    assert.equal(server.wire.ended, false);
  });
}

test('trailers go out when they are enabled', async () => {
  for (const enableTrailers of [true, false]) {
    const server = new RecordingServer({ enableTrailers }, (encoder) => {
      encoder.encodeHeaders(respond(200, {}), false);
      encoder.encodeData(Buffer.from('a'), false);
      encoder.encodeTrailers(new HeaderMap(['t'], ['v']));
    });
    server.connection.onData(Buffer.from(get('')));
    await settle();
    assert.ok(
      server.wire.text.endsWith(enableTrailers ? '1\r\na\r\n0\r\nt: v\r\n\r\n' : '1\r\na\r\n0\r\n\r\n'),
    );
  }
});

test('HTTP/1.0: close-delimited without keep-alive, kept with it', async () => {
  const answer = (server: RecordingServer, request: string): void =>
    server.connection.onData(Buffer.from(request));
  const closing = new RecordingServer({ acceptHttp10: true }, (encoder) => {
    encoder.encodeHeaders(respond(200, {}), false);
    encoder.encodeData(Buffer.from('body'), true);
  });
  answer(closing, 'GET / HTTP/1.0\r\nHost: h\r\n\r\n');
  await settle();
  assert.equal(closing.wire.text, 'HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nbody');
  assert.ok(closing.wire.ended);
  const kept = new RecordingServer({ acceptHttp10: true });
  answer(kept, 'GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n');
  await settle();
  assert.equal(kept.wire.text, 'HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n');
  assert.equal(kept.wire.ended, false);
});

test('connection: close of the client is answered and done', async () => {
  const server = new RecordingServer();
  server.connection.onData(Buffer.from(get('Connection: close\r\n') + get('')));
  await settle();
  assert.equal(server.wire.text, 'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
  assert.ok(server.wire.ended);
  assert.deepEqual(server.lines, ['headers GET / host=h ', 'end']);
});

test('a response before the end of the request closes the connection', async () => {
  const server = new RecordingServer();
  let sent = false;
  server.newStream = (encoder) => ({
    decode1xxHeaders() {},
    decodeHeaders() {
      sent = true;
      encoder.encodeHeaders(respond(403, {}), true);
    },
    decodeData: () => assert.fail('no data after the response'),
    decodeTrailers() {},
    onResetStream() {},
    onAboveWriteBufferHighWatermark() {},
    onBelowWriteBufferLowWatermark() {},
  });
  server.connection.onData(Buffer.from(post('Content-Length: 10\r\n', 'abc')));
  server.connection.onData(Buffer.from('defghij'));
  await settle();
  assert.ok(sent);
  assert.equal(server.wire.text, 'HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
  assert.ok(server.wire.ended);
});

test('pipelined requests wait for the response before them', async () => {
  const waiting: (() => void)[] = [];
  const server = new RecordingServer({}, (encoder) => {
    waiting.push(() => encoder.encodeHeaders(respond(200, { n: String(waiting.length) }), true));
  });
  server.connection.onData(Buffer.from(get('') + get('') + post('Content-Length: 1\r\n', 'x')));
  assert.equal(server.lines.filter((line) => line.startsWith('headers')).length, 1);
  waiting[0]?.();
  assert.equal(server.lines.filter((line) => line.startsWith('headers')).length, 2);
  waiting[1]?.();
  waiting[2]?.();
  await settle();
  assert.equal(server.wire.text.match(/n: \d/g)?.join(), 'n: 1,n: 2,n: 3');
});

test('much pipelined input pauses the socket', async () => {
  const waiting: (() => void)[] = [];
  const server = new RecordingServer({}, (encoder) => {
    waiting.push(() => encoder.encodeHeaders(respond(200, {}), true));
  });
  for (let i = 0; i < 200; i++) server.wire.send(get('').repeat(100));
  await settle();
  assert.ok(server.wire.far.writableLength > 0, 'the far end still holds input');
  for (let i = 0; i < 20_000; i++) {
    if (waiting[i] === undefined) await settle();
    waiting[i]?.();
  }
  assert.equal(waiting.length, 20_000);
});

test('a slow reader raises the watermark once and lowers it', async () => {
  const server = new RecordingServer({ highWatermark: 100_000 }, (encoder) => {
    encoder.encodeHeaders(respond(200, {}), false);
    for (let i = 0; i < 30; i++) encoder.encodeData(Buffer.alloc(20_000, 97), false);
    assert.equal(encoder.aboveHighWatermark, true);
  });
  server.wire.far.pause();
  server.connection.onData(Buffer.from(get('')));
  const decoder = server.decoders[0];
  assert.equal(decoder?.above, 1);
  assert.equal(decoder?.below, 0);
  server.wire.far.resume();
  for (let i = 0; i < 20; i++) await settle();
  assert.equal(decoder?.below, 1);
});

test('a client that leaves resets its stream', async () => {
  const server = new RecordingServer({}, () => {});
  server.wire.send(get(''));
  await settle();
  server.wire.far.end();
  await settle();
  assert.deepEqual(server.lines.at(-1), 'reset connection termination ');
  assert.ok(server.closed);
});

test('upgrade and CONNECT become tunnels', async () => {
  for (const [request, status] of [
    [get('Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n'), 101],
    ['CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n', 200],
  ] as const) {
    const server = new RecordingServer();
    let encoderOf: Parameters<RecordingServer['newStream']>[0] | undefined;
    const plain = server.newStream.bind(server);
    server.newStream = (encoder) => {
      encoderOf = encoder;
      return plain(encoder);
    };
    server.connection.onData(Buffer.from(`${request}early`));
    encoderOf?.encodeHeaders(respond(status, {}), false);
    encoderOf?.encodeData(Buffer.from('GET / raw'), false);
    server.connection.onData(Buffer.from(' bytes\r\n\r\n'));
    await settle();
    assert.equal(server.wire.text.split('\r\n\r\n')[1], 'GET / raw');
    assert.ok(!server.wire.text.includes('content-length') && !server.wire.text.includes('chunked'));
    server.connection.onClose();
    assert.equal(server.lines[1], 'data early bytes\r\n\r\n');
  }
});

test('a refused upgrade is a plain response and ends the connection', async () => {
  const server = new RecordingServer();
  const plain = server.newStream.bind(server);
  server.newStream = (encoder) => {
    const decoder = plain(encoder);
    queueMicrotask(() => encoder.encodeHeaders(respond(403, {}), true));
    return decoder;
  };
  server.connection.onData(Buffer.from(get('Connection: upgrade\r\nUpgrade: foo\r\n')));
  await settle();
  assert.equal(server.wire.text, 'HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
  assert.ok(server.wire.ended);
});

test('shutdownNotice closes an idle connection and lets a busy one finish', async () => {
  const idle = new RecordingServer();
  idle.connection.shutdownNotice();
  await settle();
  assert.ok(idle.wire.ended);
  let finish: () => void = () => {};
  const busy = new RecordingServer({}, (encoder) => {
    finish = () => encoder.encodeHeaders(respond(200, {}), true);
  });
  busy.connection.onData(Buffer.from(get('')));
  busy.connection.shutdownNotice();
  await settle();
  assert.equal(busy.wire.ended, false);
  finish();
  await settle();
  assert.match(busy.wire.text, /connection: close/);
  assert.ok(busy.wire.ended);
});
