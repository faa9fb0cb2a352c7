import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap, RequestHeaderMap } from '../header_map.ts';
import { RecordingClient, RecordingDecoder, settle } from './testing.ts';

function request(method = 'GET', fields: Record<string, string> = {}): RequestHeaderMap {
  const headers = new RequestHeaderMap(Object.keys(fields), Object.values(fields));
  headers.method = method;
  headers.path = '/p';
  headers.authority = 'h';
  return headers;
}

/** Sends a request, plays the response in pieces of `size`, gives the events. */
function exchange(
  response: string,
  size: number,
  method = 'GET',
  fields: Record<string, string> = {},
): string[] {
  const client = new RecordingClient({ enableTrailers: true });
  const headers = request(method, fields);
  if (fields['upgrade'] !== undefined) headers.protocol = fields['upgrade'];
  const encoder = client.connection.newStream(new RecordingDecoder(client));
  encoder.encodeHeaders(headers, headers.protocol === '' && method !== 'CONNECT');
  const bytes = Buffer.from(response, 'latin1');
  for (let at = 0; at < bytes.length; at += size) client.connection.onData(bytes.subarray(at, at + size));
  return client.lines;
}

const responses: readonly (readonly [
  name: string,
  response: string,
  events: readonly string[],
  method?: string,
])[] = [
  [
    'length',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    ['headers 200 content-length=5', 'data hello', 'end', 'reusable'],
  ],
  [
    'no reason',
    'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n',
    ['headers 200 content-length=0', 'end', 'reusable'],
  ],
  [
    'chunked with trailers',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n',
    ['headers 200 ', 'data abc', 'trailers t=v', 'end', 'reusable'],
  ],
  [
    'HEAD',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n',
    ['headers 200 content-length=5', 'end', 'reusable'],
    'HEAD',
  ],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', ['headers 204 ', 'end', 'reusable']],
  [
    '304 with length',
    'HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n',
    ['headers 304 content-length=5', 'end', 'reusable'],
  ],
  [
    'early hints first',
    'HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    ['1xx 103', 'headers 200 content-length=0', 'end', 'reusable'],
  ],
  [
    'connection: close',
    'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok',
    ['goaway', 'headers 200 content-length=2', 'data ok', 'end'],
  ],
  [
    'HTTP/1.0 keep-alive',
    'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n',
    ['headers 200 content-length=0', 'end', 'reusable'],
  ],
];

for (const [name, response, events, method] of responses) {
  test(`reads a response in any pieces: ${name}`, () => {
    for (let size = 1; size <= response.length; size++)
      assert.deepEqual(exchange(response, size, method), events, `pieces of ${size}`);
  });
}

const broken: readonly (readonly [name: string, response: string])[] = [
  ['not HTTP', 'hello world\r\n\r\n'],
  ['HTTP/2', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['status 099', 'HTTP/1.1 099 OK\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
  ['length and chunked', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['unasked 101', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['bad chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n'],
  ['long head', `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(62_000)}\r\n\r\n`],
  ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
];

for (const [name, response] of broken) {
  test(`resets on a broken response: ${name}`, async () => {
    const lines = exchange(response, 7);
    await settle();
    assert.ok(
      lines.some((line) => line.startsWith('reset protocol error')),
      lines.join('\n'),
    );
    assert.match(lines.at(-1) ?? '', /^close/);
  });
}

test('a body without length ends with the connection', async () => {
  const client = new RecordingClient();
  client.connection.newStream(new RecordingDecoder(client)).encodeHeaders(request(), true);
  client.wire.send('HTTP/1.1 200 OK\r\n\r\npart');
  await settle();
  client.wire.send(' two');
  client.wire.far.end();
  await settle();
  assert.deepEqual(client.lines.slice(0, 4), ['goaway', 'headers 200 ', 'data part two', 'end']);
});

test('a connection that ends inside a response resets', async () => {
  for (const response of ['', 'HTTP/1.1 200', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel']) {
    const client = new RecordingClient();
    client.connection.newStream(new RecordingDecoder(client)).encodeHeaders(request(), true);
    client.wire.send(response);
    await settle();
    client.wire.far.end();
    await settle();
    // Inside the head it was no HTTP.
    const reason = response.endsWith(' 200') ? 'protocol error' : 'connection termination';
    assert.ok(client.lines.includes(`reset ${reason} `), response);
    assert.ok(!client.lines.includes('end'));
  }
});

test('bytes that nobody asked for close the connection', async () => {
  const idle = new RecordingClient();
  idle.wire.send('HTTP/1.1 408 Request Timeout\r\n\r\n');
  await settle();
  assert.deepEqual(idle.lines, ['close unsolicited response']);
  const lines = exchange('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', 1000);
  await settle();
  assert.equal(lines.at(-1), 'close unsolicited response');
});

test('request framing', async () => {
  const wires: readonly (readonly [string, Record<string, string>, readonly string[] | undefined, string])[] =
    [
      ['GET', {}, undefined, 'GET /p HTTP/1.1\r\nhost: h\r\n\r\n'],
      ['POST', {}, undefined, 'POST /p HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n'],
      [
        'POST',
        { 'content-length': '3' },
        ['abc'],
        'POST /p HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc',
      ],
      [
        'POST',
        {},
        ['abc'],
        'POST /p HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
      ],
      ['CONNECT', {}, undefined, 'CONNECT h HTTP/1.1\r\nhost: h\r\n\r\n'],
    ];
  for (const [method, fields, body, wire] of wires) {
    const client = new RecordingClient();
    const encoder = client.connection.newStream(new RecordingDecoder(client));
    encoder.encodeHeaders(request(method, fields), body === undefined);
    body?.forEach((part, i) => encoder.encodeData(Buffer.from(part), i === body.length - 1));
    await settle();
    assert.equal(client.wire.text, wire);
  }
  const client = new RecordingClient({ enableTrailers: true });
  const encoder = client.connection.newStream(new RecordingDecoder(client));
  encoder.encodeHeaders(request('POST'), false);
  encoder.encodeTrailers(new HeaderMap(['t'], ['v']));
  await settle();
  assert.ok(client.wire.text.endsWith('\r\n\r\n0\r\nt: v\r\n\r\n'));
});

test('names can be written in proper case', async () => {
  const { properCaseWords } = await import('./head_encoder.ts');
  const client = new RecordingClient({ nameFormat: properCaseWords });
  client.connection
    .newStream(new RecordingDecoder(client))
    .encodeHeaders(request('GET', { 'x-request-id': '1' }), true);
  await settle();
  assert.equal(client.wire.text, 'GET /p HTTP/1.1\r\nHost: h\r\nX-Request-Id: 1\r\n\r\n');
});

test('an upgrade and CONNECT become tunnels both ways', async () => {
  for (const [method, fields, status] of [
    ['GET', { connection: 'Upgrade', upgrade: 'websocket' }, 101],
    ['CONNECT', {}, 200],
  ] as const) {
    const client = new RecordingClient();
    const headers = request(method, fields);
    if (status === 101) headers.protocol = 'websocket';
    const encoder = client.connection.newStream(new RecordingDecoder(client));
    encoder.encodeHeaders(headers, false);
    client.wire.send(`HTTP/1.1 ${status} Yes\r\n\r\nframes`);
    await settle();
    encoder.encodeData(Buffer.from('more'), false);
    await settle();
    assert.ok(client.wire.text.endsWith('\r\n\r\nmore'));
    client.wire.far.end();
    await settle();
    assert.deepEqual(client.lines.slice(0, 4), ['goaway', `headers ${status} `, 'data frames', 'end']);
  }
});

test('a late call of an ended stream touches nothing', async () => {
  const client = new RecordingClient();
  const first = client.connection.newStream(new RecordingDecoder(client));
  first.encodeHeaders(request(), true);
  client.wire.send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  await settle();
  const second = client.connection.newStream(new RecordingDecoder(client));
  first.reset('local reset');
  first.readDisable(true);
  first.encodeData(Buffer.from('late'), true);
  second.encodeHeaders(request(), true);
  client.wire.send('HTTP/1.1 204 No Content\r\n\r\n');
  await settle();
  assert.deepEqual(client.lines, [
    'headers 200 content-length=0',
    'end',
    'reusable',
    'headers 204 ',
    'end',
    'reusable',
  ]);
  assert.ok(!client.wire.text.includes('late'));
});

test('a response before the end of the request gives up the connection', async () => {
  const client = new RecordingClient();
  const encoder = client.connection.newStream(new RecordingDecoder(client));
  encoder.encodeHeaders(request('POST'), false);
  client.wire.send('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
  await settle();
  assert.deepEqual(client.lines, ['headers 413 content-length=0', 'end', 'close']);
});

test('reset closes the connection, a pause stops reading and ends with the stream', async () => {
  const client = new RecordingClient();
  client.connection.newStream(new RecordingDecoder(client)).reset('local reset');
  await settle();
  assert.deepEqual(client.lines, ['close local reset']);
  const paused = new RecordingClient();
  const encoder = paused.connection.newStream(new RecordingDecoder(paused));
  encoder.encodeHeaders(request(), true);
  encoder.readDisable(true);
  paused.wire.send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  await settle();
  assert.deepEqual(paused.lines, []);
  encoder.readDisable(false);
  await settle();
  assert.equal(paused.lines.at(-1), 'reusable');
});
