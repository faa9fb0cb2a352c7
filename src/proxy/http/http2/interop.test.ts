/** Both sides against other implementations: node:http2 and @grpc/grpc-js, over real sockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import {
  Client,
  credentials,
  Metadata,
  type sendUnaryData,
  Server as GrpcServer,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { ClientConnectionCallbacks, RequestDecoder, ResetReason, ResponseEncoder } from '../codec.ts';
import { HeaderMap, type RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { SocketIo } from '../socket_io.ts';
import { Http2ClientConnection } from './client_connection.ts';
import { defaultHttp2Options, type Http2Options } from './options.ts';
import { Http2ServerConnection } from './server_connection.ts';
import { requestHeaders } from './testing.ts';

const nobody = { onData() {}, onEnd() {}, onClose() {}, onDrain() {} };

/** One exchange through a plain proxy of the two sides: what comes in on one goes out on the other. */
class Relay implements RequestDecoder {
  readonly #down: ResponseEncoder;
  readonly #up: () => Http2ClientConnection;
  #request: ReturnType<Http2ClientConnection['newStream']> | undefined = undefined;
  #done = false;

  constructor(down: ResponseEncoder, up: () => Http2ClientConnection) {
    this.#down = down;
    this.#up = up;
  }

  decodeHeaders(headers: RequestHeaderMap, endStream: boolean): void {
    const down = this.#down;
    const request = this.#up().newStream({
      decode1xxHeaders: (response) => down.encode1xxHeaders(response),
      decodeHeaders: (response, end) => {
        this.#done ||= end;
        down.encodeHeaders(response, end);
      },
      decodeData: (data, end) => {
        this.#done ||= end;
        down.encodeData(data, end);
      },
      decodeTrailers: (trailers) => {
        this.#done = true;
        down.encodeTrailers(trailers);
      },
      onResetStream: (reason: ResetReason) => {
        this.#done = true;
        down.reset(reason);
      },
      onAboveWriteBufferHighWatermark: () => down.readDisable(true),
      onBelowWriteBufferLowWatermark: () => down.readDisable(false),
    });
    this.#request = request;
    request.encodeHeaders(headers, endStream);
  }

  decodeData(data: Buffer, endStream: boolean): void {
    if (!this.#done) this.#request?.encodeData(data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    if (!this.#done) this.#request?.encodeTrailers(trailers);
  }

  onResetStream(reason: ResetReason): void {
    if (!this.#done) this.#request?.reset(reason);
    this.#done = true;
  }

  onAboveWriteBufferHighWatermark(): void {
    this.#request?.readDisable(true);
  }

  onBelowWriteBufferLowWatermark(): void {
    this.#request?.readDisable(false);
  }
}

async function listen(t: TestContext, onSocket: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ noDelay: true }, onSocket);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

const pool: ClientConnectionCallbacks = { onStreamEnd() {}, onGoAway() {}, onClose() {} };

/** A proxy of both codecs in front of `port`, with one upstream connection. */
async function proxy(t: TestContext, port: number, options: Partial<Http2Options> = {}): Promise<number> {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  await once(socket, 'connect');
  t.after(() => socket.destroy());
  const made = { ...defaultHttp2Options, ...options };
  const up = new Http2ClientConnection(socket, pool, made);
  return listen(t, (down) => {
    const codec = new Http2ServerConnection(
      new SocketIo(down, nobody),
      { newStream: (encoder) => new Relay(encoder, () => up), onProtocolError() {}, onClose() {} },
      made,
    );
    void codec;
  });
}

/** A node:http2 server that sends the body back, in front of nothing. */
async function echoServer(t: TestContext): Promise<number> {
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    stream.additionalHeaders({ ':status': 103, link: 'x' });
    stream.respond(
      { ':status': 200, 'x-path': headers[':path'], 'x-cookie': headers.cookie ?? '' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-trailer': 'yes' }));
    stream.pipe(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

interface Exchange {
  readonly status: unknown;
  readonly headers: http2.IncomingHttpHeaders;
  readonly informational: readonly unknown[];
  readonly body: Buffer;
  readonly trailers: http2.IncomingHttpHeaders;
}

function exchange(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body: Buffer,
): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers);
    const parts: Buffer[] = [];
    const informational: unknown[] = [];
    let got: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    let trailers: http2.IncomingHttpHeaders = {};
    stream.on('headers', (info) => informational.push(info[':status']));
    stream.on('response', (response) => (got = response));
    stream.on('trailers', (fields) => (trailers = fields));
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('error', reject);
    stream.on('end', () =>
      resolve({ status: got[':status'], headers: got, informational, body: Buffer.concat(parts), trailers }),
    );
    stream.end(body);
  });
}

test('node:http2 on both ends: bodies of many sizes at once, 1xx, trailers, cookies, long headers', async (t) => {
  const port = await proxy(t, await echoServer(t));
  const session = http2.connect(`http://127.0.0.1:${port}`, { maxHeaderListPairs: 200 });
  t.after(() => session.destroy());
  const sizes = [0, 1, 9, 8191, 8192, 8193, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000, 2_000_000];
  const all = await Promise.all(
    sizes.map((size, i) =>
      exchange(
        session,
        { ':method': 'POST', ':path': `/${size}`, cookie: ['a=1', 'b=2'], 'x-long': 'y'.repeat(i * 3000) },
        Buffer.alloc(size, i + 1),
      ),
    ),
  );
  for (const [i, size] of sizes.entries()) {
    const { status: code, headers, body, trailers, informational } = all[i]!;
    assert.deepEqual([code, headers['x-path'], headers['x-cookie']], [200, `/${size}`, 'a=1; b=2']);
    assert.deepEqual(informational, [103]);
    assert.ok(body.equals(Buffer.alloc(size, i + 1)), `body of ${size}`);
    assert.equal(trailers['x-trailer'], 'yes');
  }
});

test('small windows and slow readers: every byte arrives, none out of turn', async (t) => {
  const port = await proxy(t, await echoServer(t), {
    initialStreamWindowSize: 65_535,
    initialConnectionWindowSize: 65_535,
    streamHighWatermark: 10_000,
    highWatermark: 20_000,
  });
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 3000 } });
  t.after(() => session.destroy());
  const body = Buffer.from(Array.from({ length: 400_000 }, (_, i) => i % 251));
  const all = await Promise.all(
    [1, 2, 3].map((i) => exchange(session, { ':method': 'POST', ':path': `/${i}` }, body)),
  );
  for (const { body: got } of all) assert.ok(got.equals(body));
});

test('a node client that gives up resets the stream upstream', async (t) => {
  const port = await proxy(t, await echoServer(t));
  const session = http2.connect(`http://127.0.0.1:${port}`);
  t.after(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': '/' });
  stream.on('error', () => {});
  await once(stream, 'response');
  stream.close(http2.constants.NGHTTP2_CANCEL);
  await once(stream, 'close');
  const next = await exchange(session, { ':method': 'POST', ':path': '/next' }, Buffer.from('x'));
  assert.equal(next.body.toString(), 'x');
});

test('our client against a node server that closes gracefully', async (t) => {
  const server = http2.createServer();
  server.on('stream', (stream: http2.ServerHttp2Stream) =>
    stream.respond({ ':status': 204 }, { endStream: true }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const opened = once(server, 'session') as Promise<[http2.ServerHttp2Session]>;
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => {
    socket.destroy();
    server.close();
  });
  await once(socket, 'connect');
  const events: string[] = [];
  const up = new Http2ClientConnection(
    socket,
    {
      onStreamEnd: () => events.push('end'),
      onGoAway: () => events.push('goaway'),
      onClose: () => events.push('close'),
    },
    defaultHttp2Options,
  );
  const code = await new Promise<number>((resolve) => {
    const encoder = up.newStream({
      decode1xxHeaders() {},
      decodeHeaders: (response: ResponseHeaderMap) => resolve(response.status),
      decodeData() {},
      decodeTrailers() {},
      onResetStream() {},
      onAboveWriteBufferHighWatermark() {},
      onBelowWriteBufferLowWatermark() {},
    });
    encoder.encodeHeaders(requestHeaders(), true);
  });
  assert.equal(code, 204);
  const [session] = await opened;
  session.close();
  await once(socket, 'close');
  assert.deepEqual(events, ['end', 'goaway', 'close']);
});

// === gRPC ===

const bytes = (value: Buffer): Buffer => value;
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const service: ServiceDefinition = {
  unary: method('/t.T/Unary', false, false),
  fail: method('/t.T/Fail', false, false),
  down: method('/t.T/Down', false, true),
  up: method('/t.T/Up', true, false),
  both: method('/t.T/Both', true, true),
};

const implementation: UntypedServiceImplementation = {
  unary(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
    const trailers = new Metadata();
    trailers.set('bye', 'now');
    callback(null, call.request, trailers);
  },
  fail(_call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
    callback({ code: status.FAILED_PRECONDITION, details: 'not now \u00fc' });
  },
  down(call: ServerWritableStream<Buffer, Buffer>) {
    for (let i = 0; i < 50; i++) call.write(Buffer.alloc(10_000, i));
    call.end();
  },
  up(call: ServerReadableStream<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
    let total = 0;
    call.on('data', (part: Buffer) => (total += part.length));
    call.on('end', () => callback(null, Buffer.from(String(total))));
  },
  both(call: ServerDuplexStream<Buffer, Buffer>) {
    call.on('data', (part: Buffer) => call.write(part));
    call.on('end', () => call.end());
  },
};

test('@grpc/grpc-js on both ends: all four kinds of call, statuses, deadlines, cancellation', async (t) => {
  const server = new GrpcServer();
  server.addService(service, implementation);
  const upstream = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
  const port = await proxy(t, upstream);
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(() => {
    client.close();
    server.forceShutdown();
  });
  const unary = (
    path: string,
    message: Buffer,
    deadlineMs = 20_000,
  ): Promise<{ code: number; value?: Buffer; details?: string }> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(
        path,
        bytes,
        bytes,
        message,
        new Metadata(),
        { deadline: Date.now() + deadlineMs },
        (error, value) =>
          resolve(
            error === null
              ? { code: 0, value: value as Buffer }
              : { code: error.code, details: error.details },
          ),
      );
    });
  const large = Buffer.alloc(1_000_000, 7);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) => unary('/t.T/Unary', Buffer.from(`m${i}`))),
  );
  assert.deepEqual(
    answers.map(({ value }) => value?.toString()),
    Array.from({ length: 40 }, (_, i) => `m${i}`),
  );
  assert.ok((await unary('/t.T/Unary', large)).value?.equals(large));
  assert.deepEqual(await unary('/t.T/Fail', large), {
    code: status.FAILED_PRECONDITION,
    details: 'not now \u00fc',
  });
  assert.equal((await unary('/t.T/None', large)).code, status.UNIMPLEMENTED);

  let down = 0;
  const streamed = client.makeServerStreamRequest('/t.T/Down', bytes, bytes, Buffer.from('x'));
  for await (const part of streamed as AsyncIterable<Buffer>) down += part.length;
  assert.equal(down, 500_000);

  const up = await new Promise<string>((resolve, reject) => {
    const call = client.makeClientStreamRequest('/t.T/Up', bytes, bytes, (error, value) =>
      error === null ? resolve((value as Buffer).toString()) : reject(error),
    );
    for (let i = 0; i < 50; i++) call.write(Buffer.alloc(10_000));
    call.end();
  });
  assert.equal(up, '500000');

  const both = client.makeBidiStreamRequest('/t.T/Both', bytes, bytes);
  const echoed: number[] = [];
  both.on('data', (part: Buffer) => {
    echoed.push(part.length);
    if (echoed.length < 20) both.write(Buffer.alloc(echoed.length * 100));
    else both.end();
  });
  both.write(Buffer.alloc(1));
  await once(both, 'end');
  assert.equal(echoed.length, 20);

  const cancelled = client.makeBidiStreamRequest('/t.T/Both', bytes, bytes);
  const ended = once(cancelled, 'error') as Promise<[{ code: number }]>;
  cancelled.on('data', () => cancelled.cancel());
  cancelled.write(Buffer.from('x'));
  assert.equal((await ended)[0].code, status.CANCELLED);
  assert.equal((await unary('/t.T/Unary', Buffer.from('after'))).value?.toString(), 'after');
});
