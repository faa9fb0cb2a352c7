import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { after, test, type TestContext } from 'node:test';
import { FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { catchAllRoutes, listen, type ProxyOptions, startProxy, type TestProxy } from './testing.ts';

/** An upstream that answers each request with the head it got as body. */
const echo = createServer((socket) => {
  let input = '';
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    input += chunk.toString('latin1');
    if (!input.includes('\r\n\r\n')) return;
    const text = input;
    input = '';
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`, 'latin1');
  });
});
const echoPort = await listen(echo);
echo.unref();
const open = new Set<Socket>();
echo.on('connection', (socket) => {
  open.add(socket);
  socket.unref();
});
after(() => {
  echo.close();
  for (const socket of open) socket.destroy();
});

async function proxyFor(t: TestContext, options: ProxyOptions = {}): Promise<TestProxy> {
  const proxy = await startProxy({ clusters: { a: [echoPort] }, ...options });
  t.after(() => proxy.close());
  return proxy;
}

/** Sends bytes and reads until the connection is quiet for `quietMs` or closed. */
async function exchange(port: number, bytes: string, quietMs = 60): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setEncoding('latin1');
  socket.on('error', () => {});
  socket.write(bytes, 'latin1');
  await new Promise<void>((resolve) => {
    let timer = setTimeout(resolve, 2000);
    socket.on('data', (chunk: string) => {
      text += chunk;
      clearTimeout(timer);
      timer = setTimeout(resolve, quietMs);
    });
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
  socket.destroy();
  return text;
}

const get = (path: string, fields = ''): string => `GET ${path} HTTP/1.1\r\nHost: h.example\r\n${fields}\r\n`;

/** The request as the upstream saw it: fields by name. */
function seenUpstream(response: string): { line: string; fields: Map<string, string> } {
  const head = response.slice(response.indexOf('\r\n\r\n') + 4).split('\r\n');
  const fields = new Map<string, string>();
  for (const line of head.slice(1)) {
    const colon = line.indexOf(': ');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 2));
  }
  return { line: head[0] ?? '', fields };
}

test('a request goes through and the answer comes back', async (t) => {
  const proxy = await proxyFor(t);
  const response = await exchange(proxy.port, get('/x?y=1', 'User-Agent: t\r\n'));
  assert.match(response, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(response, /\r\nx-envoy-upstream-service-time: \d+\r\n/);
  assert.match(response, /\r\ndate: .* GMT\r\nserver: envoy\r\n\r\n/);
  const { line, fields } = seenUpstream(response);
  assert.equal(line, 'GET /x?y=1 HTTP/1.1');
  assert.deepEqual(
    [...fields.keys()],
    ['host', 'user-agent', 'x-forwarded-proto', 'x-request-id', 'x-envoy-expected-rq-timeout-ms'],
  );
  assert.match(
    fields.get('x-request-id') ?? '',
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
});

const edge = { use_remote_address: true, internal_address_config: {} };
const headerCases: readonly (readonly [
  name: string,
  hcm: ProxyOptions['hcm'],
  fields: string,
  expected: Record<string, string | RegExp | undefined>,
])[] = [
  [
    'sidecar keeps what neighbours said',
    {},
    'X-Forwarded-Proto: https\r\nX-Request-Id: abc\r\nX-Forwarded-For: 1.2.3.4\r\n',
    { 'x-forwarded-proto': 'https', 'x-request-id': 'abc', 'x-forwarded-for': '1.2.3.4' },
  ],
  [
    'sidecar drops steering from outside',
    {},
    'X-Envoy-Retry-On: 5xx\r\nX-Envoy-Upstream-Rq-Timeout-Ms: 1\r\nX-Envoy-Decorator-Operation: op\r\n',
    {
      'x-envoy-retry-on': undefined,
      'x-envoy-upstream-rq-timeout-ms': undefined,
      'x-envoy-decorator-operation': 'op',
    },
  ],
  [
    'edge appends the peer',
    edge,
    'X-Forwarded-For: 9.9.9.9\r\n',
    { 'x-forwarded-for': /^9\.9\.9\.9,\d+\.\d+\.\d+\.\d+$/, 'x-envoy-external-address': '127.0.0.1' },
  ],
  [
    'edge overwrites proto and id',
    edge,
    'X-Forwarded-Proto: https\r\nX-Request-Id: abc\r\nX-Envoy-Decorator-Operation: op\r\n',
    {
      'x-forwarded-proto': 'http',
      'x-request-id': /^[0-9a-f-]{36}$/,
      'x-envoy-decorator-operation': undefined,
    },
  ],
  [
    'edge trusts hops',
    { ...edge, xff_num_trusted_hops: 1 },
    'X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n',
    { 'x-forwarded-proto': 'https', 'x-envoy-external-address': '9.9.9.9' },
  ],
  [
    'edge keeps an id when asked',
    { ...edge, preserve_external_request_id: true },
    'X-Request-Id: abc\r\n',
    { 'x-request-id': 'abc' },
  ],
  [
    'internal addresses',
    {
      use_remote_address: true,
      internal_address_config: { cidr_ranges: [{ address_prefix: '127.0.0.0', prefix_len: 8 }] },
    },
    'X-Envoy-Decorator-Operation: op\r\n',
    {
      'x-envoy-internal': 'true',
      'x-envoy-external-address': undefined,
      'x-envoy-decorator-operation': 'op',
    },
  ],
  ['no id when switched off', { generate_request_id: false }, '', { 'x-request-id': undefined }],
  [
    'hop-by-hop headers go',
    {},
    'Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: deflate\r\n',
    {
      connection: undefined,
      'x-hop': undefined,
      'keep-alive': undefined,
      'proxy-connection': undefined,
      te: undefined,
    },
  ],
  ['te: trailers stays', {}, 'TE: gzip, trailers\r\n', { te: 'trailers' }],
  ['via', { via: 'me' }, 'Via: you\r\n', { via: 'you, me' }],
  ['x-forwarded-port', { append_x_forwarded_port: true }, '', { 'x-forwarded-port': /^\d+$/ }],
  [
    'client certificate headers are sanitized',
    {},
    'X-Forwarded-Client-Cert: By=evil\r\n',
    { 'x-forwarded-client-cert': undefined },
  ],
  [
    'client certificate headers without TLS',
    { forward_client_cert_details: 'APPEND_FORWARD' },
    'X-Forwarded-Client-Cert: By=evil\r\n',
    { 'x-forwarded-client-cert': undefined },
  ],
  [
    'client certificate headers always forwarded',
    { forward_client_cert_details: 'ALWAYS_FORWARD_ONLY' },
    'X-Forwarded-Client-Cert: By=a\r\n',
    { 'x-forwarded-client-cert': 'By=a' },
  ],
  ['strip any port', { strip_any_host_port: true }, '', { host: 'h.example' }],
];

for (const [name, hcm, fields, expected] of headerCases) {
  test(`request headers: ${name}`, async (t) => {
    const proxy = await proxyFor(t, { hcm: hcm ?? {} });
    const seen = seenUpstream(await exchange(proxy.port, get('/', fields)));
    for (const [header, value] of Object.entries(expected)) {
      const actual = seen.fields.get(header);
      if (value instanceof RegExp) assert.match(actual ?? '', value, header);
      else assert.equal(actual, value, header);
    }
  });
}

test('paths are normalized before anything else sees them', async (t) => {
  const proxy = await proxyFor(t, {
    hcm: {
      normalize_path: true,
      merge_slashes: true,
      path_with_escaped_slashes_action: 'UNESCAPE_AND_FORWARD',
    },
  });
  for (const [path, seen] of [
    ['/a/../b', '/b'],
    ['/a%2f..%2Fb//c?q=/../', '/b/c?q=/../'],
  ] as const)
    assert.equal(seenUpstream(await exchange(proxy.port, get(path))).line, `GET ${seen} HTTP/1.1`);
  for (const path of ['/a%00', '/a#frag'])
    assert.match(await exchange(proxy.port, get(path)), /^HTTP\/1\.1 400 /);
  const redirecting = await proxyFor(t, {
    hcm: { normalize_path: true, path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT' },
  });
  assert.match(await exchange(redirecting.port, get('/a%2fb')), /^HTTP\/1\.1 307 [^]*location: \/a\/b\r\n/);
});

test('server header: overwrite, append if absent, pass through', async (t) => {
  const upstream = createHttpServer((_request, response) => {
    response.setHeader('server', 'mine');
    response.end();
  });
  const port = await listen(upstream);
  t.after(() => upstream.close());
  for (const [transformation, expected] of [
    ['OVERWRITE', 'istio-envoy'],
    ['APPEND_IF_ABSENT', 'mine'],
    ['PASS_THROUGH', 'mine'],
  ] as const) {
    const proxy = await proxyFor(t, {
      clusters: { a: [port] },
      hcm: { server_name: 'istio-envoy', server_header_transformation: transformation },
    });
    assert.match(await exchange(proxy.port, get('/')), new RegExp(`\r\nserver: ${expected}\r\n`));
  }
});

test('bad requests are answered, logged and counted', async (t) => {
  const logged: string[] = [];
  const proxy = await proxyFor(t, {
    accessLoggers: [
      {
        log: (info, request) =>
          void logged.push(`${info.responseCode} ${info.responseCodeDetails} ${request?.path ?? '-'}`),
      },
    ],
  });
  assert.match(await exchange(proxy.port, 'GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400 [^]*connection: close/);
  assert.match(
    await exchange(proxy.port, get('/').replace('h.example', 'a b')),
    /^HTTP\/1\.1 400 [^]*\r\n\r\nBad Request$/,
  );
  assert.match(await exchange(proxy.port, 'BAD / HTTP/1.1\r\nHost: h\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.match(await exchange(proxy.port, 'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n'), /^HTTP\/1\.1 404 /);
  assert.deepEqual(logged, [
    '400 missing_host_header /',
    '400 http.invalid_authority /',
    '400 http1.codec_error -',
    '404 absolute_path_rejected *',
  ]);
  const families = new Map(proxy.metrics.snapshot().map((family) => [family.name, family]));
  assert.equal(families.get('envoy_http_downstream_rq_total')?.series[0]?.value, 4);
  assert.equal(families.get('envoy_http_downstream_rq_active')?.series[0]?.value, 0);
});

test('expect: 100-continue is answered at once', async (t) => {
  const proxy = await proxyFor(t);
  const response = await exchange(
    proxy.port,
    'POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc',
  );
  assert.match(response, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
  assert.ok(!response.includes('expect:'));
});

test('bodies of any size go both ways', async (t) => {
  const upstream = createHttpServer((request, response) => request.pipe(response));
  const port = await listen(upstream);
  const proxy = await proxyFor(t, { clusters: { a: [port] } });
  t.after(() => upstream.close());
  for (const size of [0, 1, 8191, 8192, 8193, 70_000, 5_000_000]) {
    const body = Buffer.alloc(size, 'abcdefghij');
    for (const chunked of [false, true]) {
      const request = httpRequest({
        port: proxy.port,
        host: '127.0.0.1',
        method: 'POST',
        headers: chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': size },
        agent: false,
      });
      request.end(body);
      const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
      const parts: Buffer[] = [];
      for await (const part of response) parts.push(part as Buffer);
      assert.equal(response.statusCode, 200);
      assert.ok(Buffer.concat(parts).equals(body), `${size} ${chunked}`);
    }
  }
});

test('a slow client does not make the proxy hold the response', async (t) => {
  const total = 40 * 1024 * 1024;
  let written = 0;
  const upstream = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`);
      const chunk = Buffer.alloc(64 * 1024);
      const push = (): void => {
        while (written < total) {
          written += chunk.length;
          if (!socket.write(chunk)) {
            socket.once('drain', push);
            return;
          }
        }
      };
      push();
    });
  });
  const port = await listen(upstream);
  t.after(() => upstream.close());
  const proxy = await proxyFor(t, { clusters: { a: [port] } });
  const socket = connect(proxy.port, '127.0.0.1');
  socket.pause();
  socket.write(get('/'));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const held = written;
  assert.ok(held < total / 2, `the upstream could write ${held} bytes`);
  let received = 0;
  for await (const chunk of socket) {
    received += (chunk as Buffer).length;
    if (received >= total) break;
  }
  assert.ok(received >= total);
});

test('a slow upstream does not make the proxy hold the request', async (t) => {
  const sockets: Socket[] = [];
  const upstream = createServer({ pauseOnConnect: true }, (socket) => sockets.push(socket));
  const port = await listen(upstream);
  t.after(() => {
    upstream.close();
    for (const socket of sockets) socket.destroy();
  });
  const proxy = await proxyFor(t, { clusters: { a: [port] } });
  const total = 40 * 1024 * 1024;
  const socket = connect(proxy.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${total}\r\n\r\n`);
  socket.write(Buffer.alloc(total));
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(socket.writableLength > total / 2, 'most of the body waits in the client');
  socket.destroy();
});

test('websockets are tunnels, other upgrades are refused', async (t) => {
  const upstream = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (head: Buffer) => {
      assert.match(head.toString(), /connection: Upgrade\r\n/);
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello',
      );
      socket.on('data', (frame: Buffer) => socket.write(frame.toString().toUpperCase()));
    });
  });
  const port = await listen(upstream);
  t.after(() => upstream.close());
  const infos: StreamInfo[] = [];
  const proxy = await proxyFor(t, {
    clusters: { a: [port] },
    hcm: { upgrade_configs: [{ upgrade_type: 'websocket' }] },
    accessLoggers: [{ log: (info) => void infos.push(info) }],
  });
  const socket = connect(proxy.port, '127.0.0.1');
  socket.setEncoding('latin1');
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  socket.write(get('/ws', 'Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n'));
  while (!text.includes('hello')) await once(socket, 'data');
  assert.match(text, /^HTTP\/1\.1 101 Switching Protocols\r\n[^]*upgrade: websocket\r\n/);
  socket.write('ping');
  while (!text.includes('PING')) await once(socket, 'data');
  socket.destroy();
  while (infos.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(infos[0]?.responseCode, 101);
  assert.equal(infos[0]?.bytesReceived, 4);
  assert.equal(infos[0]?.bytesSent, 9);
  assert.match(
    await exchange(proxy.port, get('/', 'Connection: Upgrade\r\nUpgrade: other\r\n')),
    /^HTTP\/1\.1 403 Forbidden\r\n/,
  );
});

test('a draining listener says so with the next answer: idle connections may carry a request by now', async (t) => {
  const proxy = await proxyFor(t);
  const idle = connect(proxy.port, '127.0.0.1').setEncoding('latin1');
  idle.write(get('/'));
  await once(idle, 'data');
  const closed = once(idle, 'end');
  proxy.drain();
  idle.write(get('/'));
  const [text] = (await once(idle, 'data')) as [string];
  assert.match(text, /^HTTP\/1\.1 200 [^]*\r\nconnection: close\r\n/);
  await closed;
});

test('new filters and routes apply to the next request of an open connection', async (t) => {
  const proxy = await proxyFor(t);
  const socket = connect(proxy.port, '127.0.0.1');
  socket.setEncoding('latin1');
  const ask = async (): Promise<string> => {
    socket.write(get('/'));
    const [text] = (await once(socket, 'data')) as [string];
    return text;
  };
  assert.match(await ask(), /^HTTP\/1\.1 200 /);
  proxy.update({
    routes: {
      name: 'r',
      virtual_hosts: [
        { name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 418 } }] },
      ],
    },
  });
  assert.match(await ask(), /^HTTP\/1\.1 418 /);
  socket.destroy();
});

test('timeouts: idle connection, idle stream, request, duration', async (t) => {
  const silent = createServer((socket) => {
    socket.on('error', () => {});
    socket.resume();
  });
  const port = await listen(silent);
  t.after(() => silent.close());
  const ask = async (hcm: ProxyOptions['hcm'], bytes: string): Promise<string> => {
    const proxy = await proxyFor(t, { clusters: { a: [port] }, hcm: hcm ?? {} });
    return exchange(proxy.port, bytes);
  };
  const incomplete = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab';
  const [idle, stream, streamRequest, request, duration, headers] = await Promise.all([
    ask({ common_http_protocol_options: { idle_timeout: '0.1s' } }, ''),
    ask({ stream_idle_timeout: '0.1s' }, get('/')),
    ask({ stream_idle_timeout: '0.1s' }, incomplete),
    ask({ request_timeout: '0.1s' }, incomplete),
    ask({ common_http_protocol_options: { max_stream_duration: '0.1s' } }, get('/')),
    ask({ request_headers_timeout: '0.1s' }, 'GET / HT'),
  ]);
  assert.equal(idle, '');
  assert.match(stream, /^HTTP\/1\.1 504 [^]*\r\n\r\nstream timeout$/);
  assert.match(streamRequest, /^HTTP\/1\.1 408 [^]*\r\n\r\nstream timeout$/);
  assert.match(request, /^HTTP\/1\.1 408 [^]*\r\n\r\nrequest timeout$/);
  assert.match(duration, /^HTTP\/1\.1 504 [^]*\r\n\r\ndownstream duration timeout$/);
  assert.match(headers, /^HTTP\/1\.1 408 [^]*\r\nconnection: close\r\n\r\nrequest header timeout$/);
});

test('a client that leaves ends its request everywhere', async (t) => {
  const upstream = createServer((socket) => {
    socket.on('error', () => {});
    socket.resume();
  });
  const port = await listen(upstream);
  t.after(() => upstream.close());
  const infos: StreamInfo[] = [];
  const proxy = await proxyFor(t, {
    clusters: { a: [port] },
    accessLoggers: [{ log: (info) => void infos.push(info) }],
  });
  const accepted = once(upstream, 'connection') as Promise<[Socket]>;
  const socket = connect(proxy.port, '127.0.0.1');
  socket.write(get('/'));
  const [upstreamSocket] = await accepted;
  const ended = once(upstreamSocket, 'close');
  await once(upstreamSocket, 'data').catch(() => {});
  socket.destroy();
  await ended;
  assert.equal(infos[0]?.responseCode, 0);
  assert.equal(infos[0]?.responseCodeDetails, 'downstream_remote_disconnect');
});

/** A filter made of hooks, for the chain's rules. */
function hookFilter(
  name: string,
  make: (callbacks: import('../../../http/filter.ts').FilterCallbacks) => HttpFilter,
): HttpFilterExtension {
  return { name, typeUrls: [`test/${name}`], create: () => ({ createFilter: make }) };
}

function filterJson(name: string, more: object = {}): never {
  return { name, ...more } as never;
}

const router = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
};

test('filters run in order in, in reverse out, and may stop both ways', async (t) => {
  const order: string[] = [];
  const stopping = (name: string): HttpFilterExtension =>
    hookFilter(name, (callbacks) => ({
      decodeHeaders: (headers) => {
        order.push(`${name} in`);
        headers.add('x-order', name);
        setTimeout(() => callbacks.continueDecoding(), 2);
        return FilterStatus.stopIteration;
      },
      encodeHeaders: (headers) => {
        order.push(`${name} out`);
        headers.add('x-order', name);
        setTimeout(() => callbacks.continueEncoding(), 2);
        return FilterStatus.stopIteration;
      },
      onStreamComplete: () => void order.push(`${name} complete`),
      onDestroy: () => void order.push(`${name} destroy`),
    }));
  const proxy = await proxyFor(t, {
    filters: [stopping('one'), stopping('two')],
    hcm: { http_filters: [filterJson('one'), filterJson('two'), router] },
  });
  const response = await exchange(proxy.port, 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello');
  assert.match(response, /x-order: two\r\nx-order: one\r\n/);
  assert.match(response, /x-order: one\r\nx-order: two\r\n[^]*hello$/);
  assert.deepEqual(order, [
    'one in',
    'two in',
    'two out',
    'one out',
    'one complete',
    'two complete',
    'one destroy',
    'two destroy',
  ]);
});

test('a filter that buffers sees the whole body; past the bound the request is refused', async (t) => {
  const seen: string[] = [];
  const proxy = await proxyFor(t, {
    filters: [
      hookFilter('buffer', (callbacks) => ({
        decodeHeaders: (_headers, endStream) =>
          endStream ? FilterStatus.continue : FilterStatus.stopIteration,
        decodeData: (data, endStream) => {
          if (!endStream) return FilterStatus.stopIteration;
          seen.push((callbacks.decodingBuffer()?.toString() ?? '') + data.toString());
          return FilterStatus.continue;
        },
      })),
    ],
    hcm: { http_filters: [filterJson('buffer'), router] },
  });
  const socket = connect(proxy.port, '127.0.0.1');
  socket.setEncoding('latin1');
  socket.write('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nab');
  for (const part of ['cd', 'ef', 'gh']) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    socket.write(part);
  }
  const [text] = (await once(socket, 'data')) as [string];
  socket.destroy();
  assert.ok(text.endsWith('abcdefgh'));
  assert.deepEqual(seen, ['abcdefgh']);
  const large = await exchange(
    proxy.port,
    `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n${'x'.repeat(2_000_000)}`,
  );
  assert.match(large, /^HTTP\/1\.1 413 Payload Too Large\r\n[^]*connection: close/);
});

test('a filter that only waits holds the body back without refusing it', async (t) => {
  const upstream = createHttpServer((request, response) => request.pipe(response));
  const port = await listen(upstream);
  t.after(() => upstream.close());
  const proxy = await proxyFor(t, {
    clusters: { a: [port] },
    filters: [
      hookFilter('wait', (callbacks) => ({
        decodeHeaders: () => {
          setTimeout(() => callbacks.continueDecoding(), 50);
          return FilterStatus.stopIteration;
        },
      })),
    ],
    hcm: { http_filters: [filterJson('wait'), router] },
  });
  const body = Buffer.alloc(6_000_000, 'xyz');
  const request = httpRequest({ port: proxy.port, host: '127.0.0.1', method: 'POST', agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
  let length = 0;
  for await (const part of response) length += (part as Buffer).length;
  assert.equal(length, body.length);
});

test('a local reply passes the filters on its way out; a second one changes nothing', async (t) => {
  const proxy = await proxyFor(t, {
    filters: [
      hookFilter('tag', () => ({
        encodeHeaders: (headers) => {
          headers.add('x-tag', '1');
          return FilterStatus.continue;
        },
      })),
      hookFilter('deny', (callbacks) => ({
        decodeHeaders: () => {
          const reply = { status: 403, body: 'no', details: 'denied', flags: 0 };
          callbacks.sendLocalReply(reply);
          callbacks.sendLocalReply({ ...reply, status: 500 });
          return FilterStatus.stopIteration;
        },
      })),
    ],
    hcm: { http_filters: [filterJson('tag'), filterJson('deny'), router] },
  });
  const response = await exchange(proxy.port, get('/') + get('/'));
  assert.equal(
    response.match(
      /HTTP\/1\.1 403 Forbidden\r\ncontent-length: 2\r\ncontent-type: text\/plain\r\nx-tag: 1\r\n/g,
    )?.length,
    2,
  );
  const grpc = await exchange(proxy.port, get('/', 'content-type: application/grpc\r\n'));
  assert.match(
    grpc,
    /^HTTP\/1\.1 200 OK\r\ncontent-type: application\/grpc\r\ngrpc-status: 7\r\ngrpc-message: no\r\n/,
  );
});

test('a filter that is off by default runs only where a route turns it on', async (t) => {
  const tag = hookFilter('tag', () => ({
    encodeHeaders: (headers) => {
      headers.add('x-tag', '1');
      return FilterStatus.continue;
    },
  }));
  const on = { '@type': 'type.googleapis.com/envoy.config.route.v3.FilterConfig', disabled: false };
  const proxy = await proxyFor(t, {
    filters: [tag],
    hcm: { http_filters: [filterJson('tag', { disabled: true }), router] },
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            { match: { prefix: '/on' }, route: { cluster: 'a' }, typed_per_filter_config: { tag: on } },
            { match: { prefix: '/' }, route: { cluster: 'a' } },
          ],
        },
      ],
    },
  });
  assert.ok(!(await exchange(proxy.port, get('/'))).includes('x-tag'));
  assert.ok((await exchange(proxy.port, get('/on'))).includes('x-tag'));
  assert.ok(!(await exchange(proxy.port, get('/'))).includes('x-tag'));
});

test('configuration that cannot work is refused by name', async () => {
  const build = (hcm: ProxyOptions['hcm']): Promise<unknown> =>
    startProxy({ hcm: hcm ?? {} }).then((proxy) => proxy.close());
  await assert.rejects(build({ http_filters: [] }), /terminal filter/);
  await assert.rejects(build({ http_filters: [filterJson('nobody'), router] }), /http_filters\[0\] 'nobody'/);
  await assert.rejects(build({ http_filters: [router, router] }), /after the terminal filter/);
  await assert.rejects(
    startProxy({
      routes: {
        name: 'r',
        virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: {}, route: { cluster: 'a' } }] }],
      },
    }),
    /virtual_hosts\[0\] 'v': routes\[0\] ''/,
  );
  await build({
    http_filters: [filterJson('nobody', { is_optional: true }), router],
    route_config: catchAllRoutes,
  });
});
