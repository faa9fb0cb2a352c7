/** The whole way of a request with HTTP/2 on either side, against node:http2. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { JsonValue } from '@bufbuild/protobuf';
import { formatResponseFlags } from '../../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { listen, type ProxyOptions, startProxy, type TestProxy } from './testing.ts';

const toHttp2: Record<string, JsonValue> = { http2_protocol_options: { allow_connect: true } };
const sameAsClient: Record<string, JsonValue> = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
      use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} },
    },
  },
};

interface Backend {
  readonly port: number;
  readonly sessions: ServerHttp2Session[];
}

async function http2Backend(
  t: TestContext,
  handler: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  settings: object = { enableConnectProtocol: true },
): Promise<Backend> {
  const server: Http2Server = createServer({ settings });
  const sessions: ServerHttp2Session[] = [];
  server.on('session', (session) => sessions.push(session));
  server.on('sessionError', () => {});
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    handler(stream as ServerHttp2Stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sessions };
}

/** Answers with what came: method, path, body, trailers. */
function echo(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  let body = '';
  let trailers: IncomingHttpHeaders = {};
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => (body += chunk));
  stream.on('trailers', (got) => (trailers = got));
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'x-path': headers[':path'] ?? '' }, { waitForTrailers: true });
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'x-body': body, 'x-trailer': String(trailers['x-up'] ?? '') }),
    );
    stream.end(`${headers[':method']} ${headers[':authority']} ${body.length}`);
  });
}

interface Proxy {
  readonly proxy: TestProxy;
  readonly infos: StreamInfo[];
  readonly session: ClientHttp2Session;
}

async function proxyFor(t: TestContext, options: ProxyOptions): Promise<Proxy> {
  const infos: StreamInfo[] = [];
  const proxy = await startProxy({ accessLoggers: [{ log: (info) => void infos.push(info) }], ...options });
  const session = connect(`http://127.0.0.1:${proxy.port}`);
  session.on('error', () => {});
  t.after(() => {
    session.destroy();
    proxy.close();
  });
  return { proxy, infos, session };
}

interface Answer {
  readonly headers: IncomingHttpHeaders & { ':status'?: number };
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  let body = '';
  let trailers: IncomingHttpHeaders = {};
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => (body += chunk));
  stream.on('trailers', (got: IncomingHttpHeaders) => (trailers = got));
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  if (!stream.closed) await once(stream, 'close');
  return { headers, body, trailers };
}

const ask = (session: ClientHttp2Session, headers: object = {}): Promise<Answer> =>
  answerOf(session.request({ ':path': '/', ...headers }));

test('HTTP/2 to HTTP/2: bodies and trailers both ways, one connection for all streams', async (t) => {
  const backend = await http2Backend(t, echo);
  const { session, infos } = await proxyFor(t, {
    clusters: { a: [backend.port] },
    clusterOptions: { a: toHttp2 },
  });
  const request = session.request({ ':path': '/p', ':method': 'POST' }, { endStream: false });
  const answered = answerOf(request);
  request.write('hel');
  request.end('lo');
  const first = await answered;
  assert.equal(first.headers[':status'], 200);
  assert.equal(first.headers['x-path'], '/p');
  assert.equal(first.body, `POST 127.0.0.1:${session.socket.remotePort} 5`);
  assert.equal(first.trailers['x-body'], 'hello');
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(session, { ':path': `/${i}` })));
  assert.deepEqual(
    many.map(({ headers }) => headers['x-path']),
    many.map((_, i) => `/${i}`),
  );
  assert.equal(backend.sessions.length, 1);
  const info = infos[0] as StreamInfo;
  assert.equal(info.protocol, 'HTTP/2');
  assert.equal(info.upstream?.protocol, 'HTTP/2');
  assert.ok(info.wireBytesReceived > 5 && info.wireBytesReceived < 500, String(info.wireBytesReceived));
  assert.ok(info.wireBytesSent > 5 && info.wireBytesSent < 500, String(info.wireBytesSent));
});

test('request trailers reach an HTTP/2 upstream', async (t) => {
  const backend = await http2Backend(t, echo);
  const { session } = await proxyFor(t, { clusters: { a: [backend.port] }, clusterOptions: { a: toHttp2 } });
  const request = session.request({ ':path': '/', ':method': 'POST' }, { waitForTrailers: true } as object);
  request.on('wantTrailers', () => request.sendTrailers({ 'x-up': 'yes' }));
  const answered = answerOf(request);
  request.end('x');
  assert.equal((await answered).trailers['x-trailer'], 'yes');
});

test('the version of the client decides where the cluster says so', async (t) => {
  const backend = await http2Backend(t, echo);
  const { session, infos } = await proxyFor(t, {
    clusters: { a: [backend.port] },
    clusterOptions: { a: sameAsClient },
  });
  assert.equal((await ask(session)).headers[':status'], 200);
  assert.equal(infos[0]?.upstream?.protocol, 'HTTP/2');
});

test('HTTP/2 to HTTP/1: HEAD, 204, 304, bodies without length', async (t) => {
  const server = createHttpServer((request, response) => {
    const status = Number(request.url?.slice(1));
    response.statusCode = status || 200;
    if (request.url === '/chunks') {
      response.write('a');
      response.end('b');
    } else if (request.method === 'HEAD') response.setHeader('content-length', '7').end();
    else response.end();
  });
  const port = await listen(server);
  t.after(() => server.close());
  const { session, infos } = await proxyFor(t, { clusters: { a: [port] } });
  const head = await ask(session, { ':method': 'HEAD' });
  assert.deepEqual([head.headers[':status'], head.headers['content-length'], head.body], [200, '7', '']);
  assert.equal((await ask(session, { ':path': '/204' })).headers[':status'], 204);
  assert.equal((await ask(session, { ':path': '/304' })).headers[':status'], 304);
  const chunks = await ask(session, { ':path': '/chunks' });
  assert.deepEqual([chunks.body, chunks.headers['transfer-encoding']], ['ab', undefined]);
  assert.equal(infos[0]?.upstream?.protocol, 'HTTP/1.1');
  server.closeAllConnections();
});

test('HTTP/1 to HTTP/2: keep-alive and trailers', async (t) => {
  const backend = await http2Backend(t, echo);
  const { proxy } = await proxyFor(t, {
    hcm: { http_protocol_options: { enable_trailers: true } },
    clusters: { a: [backend.port] },
    clusterOptions: { a: toHttp2 },
  });
  const socket = connectTcp(proxy.port, '127.0.0.1').setEncoding('latin1');
  t.after(() => socket.destroy());
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  socket.write(
    'POST /q HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-up: 1\r\n\r\n',
  );
  while (!text.includes('x-trailer')) await once(socket, 'data');
  assert.match(
    text,
    /^HTTP\/1\.1 200 OK\r\n[^]*x-path: \/q\r\n[^]*\r\n\r\n8\r\nPOST h 3\r\n0\r\n[^]*x-body: abc\r\nx-trailer: 1\r\n/,
  );
  text = '';
  socket.write('GET /r HTTP/1.1\r\nhost: h\r\n\r\n');
  while (!text.includes('x-body')) await once(socket, 'data');
  assert.match(text, /x-path: \/r/);
  assert.equal(backend.sessions.length, 1);
});

test('a stream that the server refuses is retried when the policy says so', async (t) => {
  let refusals = 1;
  const backend = await http2Backend(t, (stream, headers) => {
    if (refusals-- > 0) stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else echo(stream, headers);
  });
  const { session, infos } = await proxyFor(t, {
    clusters: { a: [backend.port] },
    clusterOptions: { a: toHttp2 },
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              match: { prefix: '/' },
              route: { cluster: 'a', retry_policy: { retry_on: 'refused-stream', num_retries: 1 } },
            },
          ],
        },
      ],
    },
  });
  assert.equal((await ask(session)).headers[':status'], 200);
  assert.equal(infos[0]?.attemptCount, 2);
});

test('GOAWAY: streams in flight finish, the next takes a new connection', async (t) => {
  const held: ServerHttp2Stream[] = [];
  const backend = await http2Backend(t, (stream, headers) => {
    if (headers[':path'] === '/hold') held.push(stream);
    else echo(stream, headers);
  });
  const { session } = await proxyFor(t, { clusters: { a: [backend.port] }, clusterOptions: { a: toHttp2 } });
  const slow = ask(session, { ':path': '/hold' });
  while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  backend.sessions[0]?.goaway();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await ask(session)).headers[':status'], 200);
  assert.equal(backend.sessions.length, 2);
  held[0]?.respond({ ':status': 200 }, { endStream: true });
  assert.equal((await slow).headers[':status'], 200);
});

test('streams past the limit of the server wait, then take another connection', async (t) => {
  const backend = await http2Backend(t, echo, { maxConcurrentStreams: 2 });
  const { session } = await proxyFor(t, { clusters: { a: [backend.port] }, clusterOptions: { a: toHttp2 } });
  assert.equal((await ask(session)).headers[':status'], 200);
  const many = await Promise.all(Array.from({ length: 20 }, () => ask(session)));
  assert.ok(many.every(({ headers }) => headers[':status'] === 200));
  assert.ok(backend.sessions.length > 1 && backend.sessions.length <= 10, String(backend.sessions.length));
});

test('a client that resets its stream resets the upstream; others go on', async (t) => {
  let closed: Promise<unknown> | undefined;
  const backend = await http2Backend(t, (stream, headers) => {
    if (headers[':path'] === '/hold') closed = once(stream, 'close');
    else echo(stream, headers);
  });
  const { session, infos } = await proxyFor(t, {
    clusters: { a: [backend.port] },
    clusterOptions: { a: toHttp2 },
  });
  const slow = session.request({ ':path': '/hold' });
  slow.on('error', () => {});
  while (closed === undefined) await new Promise((resolve) => setTimeout(resolve, 2));
  slow.close(constants.NGHTTP2_CANCEL);
  await closed;
  assert.equal((await ask(session)).headers[':status'], 200);
  assert.equal(formatResponseFlags(infos[0]?.responseFlags ?? 0), 'DR');
  assert.equal(infos[0]?.responseCodeDetails, 'http2.remote_reset');
  assert.equal(backend.sessions.length, 1);
});

test('an answer before the end of the request ends the stream, not the connection', async (t) => {
  const backend = await http2Backend(t, (stream) => stream.respond({ ':status': 403 }, { endStream: true }));
  const { session } = await proxyFor(t, { clusters: { a: [backend.port] }, clusterOptions: { a: toHttp2 } });
  for (let i = 0; i < 3; i++) {
    const request = session.request({ ':path': '/', ':method': 'POST' });
    request.on('error', () => {});
    request.write('part');
    const [headers] = (await once(request, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
    assert.equal(headers[':status'], 403);
    request.resume();
    await once(request, 'close');
    assert.equal(request.rstCode, constants.NGHTTP2_NO_ERROR);
  }
  assert.equal(backend.sessions.length, 1);
});

test('backpressure: a slow reader stops the upstream, not the other streams', async (t) => {
  const total = 24 * 1024 * 1024;
  let sent = 0;
  const backend = await http2Backend(t, (stream, headers) => {
    if (headers[':path'] !== '/big') return void echo(stream, headers);
    // With trailers: node:http2 may end a long body without END_STREAM, by RST_STREAM alone.
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-done': '1' }));
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const more = (): void => {
      while (sent < total) {
        sent += chunk.length;
        if (!stream.write(chunk)) return void stream.once('drain', more);
      }
      stream.end();
    };
    more();
  });
  const small = { http2_protocol_options: { initial_stream_window_size: 65_536 } };
  const { session } = await proxyFor(t, { clusters: { a: [backend.port] }, clusterOptions: { a: small } });
  const big = session.request({ ':path': '/big' });
  await once(big, 'response');
  big.pause();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal((await ask(session)).headers[':status'], 200);
  assert.ok(sent < total / 4, `sent ${sent} bytes to a client that does not read`);
  let received = 0;
  big.on('data', (chunk: Buffer) => (received += chunk.length));
  big.resume();
  await once(big, 'end');
  assert.equal(received, total);
});

test('max_requests_per_connection and drain say so with GOAWAY; open streams finish', async (t) => {
  const held: ServerHttp2Stream[] = [];
  const backend = await http2Backend(t, (stream, headers) => {
    if (headers[':path'] === '/hold') held.push(stream);
    else echo(stream, headers);
  });
  const { session, proxy } = await proxyFor(t, {
    hcm: { drain_timeout: '0.02s' },
    clusters: { a: [backend.port] },
    clusterOptions: { a: toHttp2 },
  });
  const slow = ask(session, { ':path': '/hold' });
  while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const goaway = once(session, 'goaway');
  proxy.drain();
  await goaway;
  held[0]?.respond({ ':status': 200 }, { endStream: true });
  assert.equal((await slow).headers[':status'], 200);
  await once(session, 'close');
  const limited = await proxyFor(t, {
    hcm: { drain_timeout: '0.02s', common_http_protocol_options: { max_requests_per_connection: 1 } },
    clusters: { a: [backend.port] },
    clusterOptions: { a: toHttp2 },
  });
  const told = once(limited.session, 'goaway');
  assert.equal((await ask(limited.session)).headers[':status'], 200);
  await told;
});

const websocketHcm: Record<string, JsonValue> = {
  upgrade_configs: [{ upgrade_type: 'websocket' }, { upgrade_type: 'CONNECT' }],
  http2_protocol_options: { allow_connect: true },
};

test('websockets: HTTP/2 to HTTP/1', async (t) => {
  const server = createHttpServer();
  server.on('upgrade', (request, socket) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nx-method: ${request.method}\r\n\r\n`,
    );
    socket.pipe(socket);
  });
  const port = await listen(server);
  t.after(() => server.close());
  const { session } = await proxyFor(t, { hcm: websocketHcm, clusters: { a: [port] } });
  await once(session, 'remoteSettings');
  const tunnel = session.request({
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':path': '/ws',
    ':scheme': 'http',
    ':authority': 'h',
  });
  const [headers] = (await once(tunnel, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  assert.deepEqual(
    [headers[':status'], headers['upgrade'], headers['connection'], headers['x-method']],
    [200, undefined, undefined, 'GET'],
  );
  tunnel.write('ping');
  const [data] = (await once(tunnel, 'data')) as [Buffer];
  assert.equal(data.toString(), 'ping');
  tunnel.close();
});

test('websockets: HTTP/1 to HTTP/2', async (t) => {
  let seen: IncomingHttpHeaders = {};
  const backend = await http2Backend(t, (stream, headers) => {
    seen = headers;
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  });
  const { proxy } = await proxyFor(t, {
    hcm: websocketHcm,
    clusters: { a: [backend.port] },
    clusterOptions: { a: toHttp2 },
  });
  const socket = connectTcp(proxy.port, '127.0.0.1').setEncoding('latin1');
  t.after(() => socket.destroy());
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  socket.write('GET /ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
  while (!text.includes('\r\n\r\n')) await once(socket, 'data');
  assert.match(text, /^HTTP\/1\.1 101 [^]*\r\nupgrade: websocket\r\n[^]*connection: upgrade\r\n/i);
  text = '';
  socket.write('ping');
  while (!text.includes('ping')) await once(socket, 'data');
  assert.deepEqual(
    [seen[':method'], seen[':protocol'], seen[':path'], seen['upgrade'], seen['connection']],
    ['CONNECT', 'websocket', '/ws', undefined, undefined],
  );
});

test('CONNECT that ends here: HTTP/2 and HTTP/1 clients, bytes to a TCP server', async (t) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  const port = await listen(server);
  t.after(() => server.close());
  const { session, proxy } = await proxyFor(t, {
    hcm: websocketHcm,
    clusters: { a: [port] },
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              match: { connect_matcher: {} },
              route: { cluster: 'a', upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }] },
            },
          ],
        },
      ],
    },
  });
  const tunnel = session.request({ ':method': 'CONNECT', ':authority': 'h:1' });
  const [headers] = (await once(tunnel, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  assert.equal(headers[':status'], 200);
  tunnel.write('one');
  const [data] = (await once(tunnel, 'data')) as [Buffer];
  assert.equal(data.toString(), 'one');
  tunnel.end();
  await once(tunnel, 'close');
  const socket = connectTcp(proxy.port, '127.0.0.1').setEncoding('latin1');
  t.after(() => socket.destroy());
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  socket.write('CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n');
  while (!text.includes('\r\n\r\n')) await once(socket, 'data');
  assert.match(text, /^HTTP\/1\.1 200 /);
  text = '';
  socket.write('two');
  while (!text.includes('two')) await once(socket, 'data');
});
