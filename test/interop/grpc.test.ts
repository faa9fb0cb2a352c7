/**
 * gRPC through our data plane, plain and through a pair with mutual TLS, spoken by `@grpc/grpc-js` on both ends: the four
 * kinds of calls, deadlines, cancellation, statuses, retries, large messages, a slow reader, gRPC-Web.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { after, before, describe, test } from 'node:test';
import {
  type Client,
  credentials,
  type Deadline,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type ServiceDefinition,
  type ServiceError,
  status,
  type MethodDefinition,
} from '@grpc/grpc-js';
import { type GrpcPair, startGrpcPair } from './grpc_pair.ts';

const maxBytes = 64 * 1024 * 1024;

function method(
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): MethodDefinition<Buffer, Buffer> {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

const methods = {
  unary: method('Unary', false, false),
  fail: method('Fail', false, false),
  never: method('Never', false, false),
  flaky: method('Flaky', false, false),
  collect: method('Collect', true, false),
  repeat: method('Repeat', false, true),
  chat: method('Chat', true, true),
  count: method('Count', false, true),
} satisfies ServiceDefinition;

const EchoClient = makeGenericClientConstructor(methods, 'test.Echo');

/** What the server saw, for the tests to ask. */
class State {
  cancelled = 0;
  deadlineMs = NaN;
  flaky = 0;
  written = 0;
}

function startServer(state: State): Server {
  const server = new Server({
    'grpc.max_receive_message_length': maxBytes,
    'grpc.max_send_message_length': maxBytes,
  });
  type Unary = ServerUnaryCall<Buffer, Buffer>;
  type Reply = sendUnaryData<Buffer>;
  server.addService(methods, {
    unary(call: Unary, reply: Reply) {
      state.deadlineMs = Number(call.getDeadline()) - Date.now();
      const trailers = new Metadata();
      trailers.set('x-trailer', 'end');
      call.sendMetadata(new Metadata());
      reply(null, call.request, trailers);
    },
    fail(call: Unary, reply: Reply) {
      const details = call.request.toString();
      reply({ code: status.FAILED_PRECONDITION, details, metadata: new Metadata() });
    },
    never(call: Unary) {
      call.on('cancelled', () => state.cancelled++);
    },
    flaky(call: Unary, reply: Reply) {
      // Trailers only, as servers refuse.
      if (state.flaky++ === 0) reply({ code: status.UNAVAILABLE, details: 'not yet' });
      else reply(null, call.request);
    },
    collect(call: ServerReadableStream<Buffer, Buffer>, reply: Reply) {
      let bytes = 0;
      call.on('data', (data: Buffer) => (bytes += data.length));
      call.on('end', () => reply(null, Buffer.from(String(bytes))));
    },
    repeat(call: ServerWritableStream<Buffer, Buffer>) {
      for (let i = 0; i < 100; i++) call.write(Buffer.from(`${call.request.toString()}${i}`));
      call.end();
    },
    chat(call: ServerDuplexStream<Buffer, Buffer>) {
      call.on('data', (data: Buffer) => call.write(data));
      call.on('end', () => call.end());
      call.on('cancelled', () => state.cancelled++);
    },
    count(call: ServerWritableStream<Buffer, Buffer>) {
      // Writes as long as it is let.
      const message = Buffer.alloc(64 * 1024, 'x');
      const total = Number(call.request.toString());
      const more = (): void => {
        while (state.written < total) {
          state.written++;
          if (!call.write(message)) return void call.once('drain', more);
        }
        call.end();
      };
      more();
    },
  });
  return server;
}

type UnaryCallback = (error: ServiceError | null, reply: Buffer) => void;

interface Result {
  readonly error: ServiceError | undefined;
  readonly reply: Buffer | undefined;
  readonly trailers: Metadata | undefined;
}

function unary(
  client: Client,
  name: keyof typeof methods,
  message: Buffer | string,
  deadline?: Deadline,
): Promise<Result> {
  const { path, requestSerialize, responseDeserialize } = methods[name];
  return new Promise((resolve) => {
    let trailers: Metadata | undefined;
    const options = deadline === undefined ? {} : { deadline };
    const callback: UnaryCallback = (error, reply) =>
      setImmediate(() => resolve({ error: error ?? undefined, reply, trailers }));
    client
      .makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        Buffer.from(message),
        new Metadata(),
        options,
        callback as never,
      )
      .on('status', ({ metadata }) => (trailers = metadata));
  });
}

for (const way of ['plain', 'mesh'] as const) {
  describe(`grpc-js, ${way}`, () => {
    const state = new State();
    const server = startServer(state);
    let pair: GrpcPair;
    let client: Client;

    before(async () => {
      const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
          error === null ? resolve(bound) : reject(error),
        ),
      );
      pair = await startGrpcPair(port);
      client = new EchoClient(`127.0.0.1:${pair.ports[way]}`, credentials.createInsecure(), {
        'grpc.max_receive_message_length': maxBytes,
        'grpc.max_send_message_length': maxBytes,
      });
    });
    after(async () => {
      client.close();
      server.forceShutdown();
      await pair.stop();
    });

    test('unary: message, trailers', async () => {
      const { error, reply, trailers } = await unary(client, 'unary', 'hello');
      assert.equal(error, undefined);
      assert.equal(String(reply), 'hello');
      assert.deepEqual(trailers?.get('x-trailer'), ['end']);
    });

    test('statuses and messages pass, also without a message', async () => {
      const { error } = await unary(client, 'fail', 'größer, 100 %');
      assert.deepEqual([error?.code, error?.details], [status.FAILED_PRECONDITION, 'größer, 100 %']);
      const unknown = await new Promise<ServiceError | null>((resolve) =>
        client.makeUnaryRequest(
          '/test.Echo/Nothing',
          methods.unary.requestSerialize,
          methods.unary.responseDeserialize,
          Buffer.alloc(0),
          (error) => resolve(error),
        ),
      );
      assert.equal(unknown?.code, status.UNIMPLEMENTED);
    });

    test('a client stream', async () => {
      const reply = await new Promise<Buffer>((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = methods.collect;
        const call = client.makeClientStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          (error, value) => (error === null ? resolve(value as Buffer) : reject(error)),
        );
        for (let i = 0; i < 1000; i++) call.write(Buffer.alloc(1000));
        call.end();
      });
      assert.equal(reply.toString(), '1000000');
    });

    test('a server stream', async () => {
      const { path, requestSerialize, responseDeserialize } = methods.repeat;
      const call = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        Buffer.from('n'),
      );
      const got: string[] = [];
      call.on('data', (data: Buffer) => got.push(data.toString()));
      await once(call, 'end');
      assert.deepEqual(
        got,
        Array.from({ length: 100 }, (_, i) => `n${i}`),
      );
    });

    test('both sides stream, in turns', async () => {
      const { path, requestSerialize, responseDeserialize } = methods.chat;
      const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      for (let i = 0; i < 200; i++) {
        call.write(Buffer.from(`m${i}`));
        const [data] = (await once(call, 'data')) as [Buffer];
        assert.equal(data.toString(), `m${i}`);
      }
      call.end();
      const [end] = (await once(call, 'status')) as [{ code: number }];
      assert.equal(end.code, status.OK);
    });

    test('hundreds of calls at once share a connection', async () => {
      const results = await Promise.all(
        Array.from({ length: 300 }, (_, i) => unary(client, 'unary', `call ${i}`)),
      );
      results.forEach(({ reply }, i) => assert.equal(String(reply), `call ${i}`));
      assert.equal(await pair.stat('cluster.app.upstream_cx_active'), 1);
    });

    test('deadlines: the server is told, a late call ends', async () => {
      assert.equal((await unary(client, 'unary', 'x', Date.now() + 5000)).error, undefined);
      assert.ok(state.deadlineMs > 1000 && state.deadlineMs <= 5100, String(state.deadlineMs));
      const { error } = await unary(client, 'never', 'x', Date.now() + 150);
      assert.equal(error?.code, status.DEADLINE_EXCEEDED);
    });

    test('a cancelled call is cancelled at the server', async () => {
      const before = state.cancelled;
      const { path, requestSerialize, responseDeserialize } = methods.chat;
      const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      call.on('error', () => {});
      call.write(Buffer.from('x'));
      await once(call, 'data');
      call.cancel();
      for (let i = 0; state.cancelled === before && i < 200; i++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      assert.equal(state.cancelled, before + 1);
    });

    test('UNAVAILABLE without a message is retried', async () => {
      state.flaky = 0;
      const { error, reply } = await unary(client, 'flaky', 'again');
      assert.deepEqual([error, String(reply), state.flaky], [undefined, 'again', 2]);
    });

    test('messages of 10 MiB', async () => {
      const big = Buffer.alloc(10 * 1024 * 1024);
      for (let i = 0; i < big.length; i += 4) big.writeUInt32LE(i, i);
      const { error, reply } = await unary(client, 'unary', big);
      assert.equal(error, undefined);
      assert.ok(reply?.equals(big));
    });

    test('a slow reader stops the server; other calls go on', async () => {
      state.written = 0;
      const messageBytes = 64 * 1024;
      const total = 2000; // 125 MiB: two proxies may hold 16 MiB each (HTTP/2 windows), and sockets some more
      // grpc-js reads ahead whatever its user does: the stream of node:http2 does not.
      const session = connectHttp2(`http://127.0.0.1:${pair.ports[way]}`);
      const call = session.request({
        ':method': 'POST',
        ':path': methods.count.path,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const question = Buffer.from(String(total));
      const head = Buffer.alloc(5);
      head.writeUInt32BE(question.length, 1);
      call.end(Buffer.concat([head, question]));
      let last = -1;
      for (let still = 0; still < 5; still = state.written === last && last > 0 ? still + 1 : 0) {
        last = state.written;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.ok(last < total, 'the server was never stopped');
      assert.equal((await unary(client, 'unary', 'between')).error, undefined);
      let bytes = 0;
      let grpcStatus: unknown;
      call.on('trailers', (trailers) => (grpcStatus = trailers['grpc-status']));
      call.on('data', (data: Buffer) => (bytes += data.length));
      await once(call, 'end');
      assert.equal(bytes, total * (messageBytes + 5));
      assert.equal(grpcStatus, '0');
      session.close();
    });

    test('gRPC-Web over HTTP/1', async () => {
      const message = Buffer.from('web');
      const frame = Buffer.alloc(5 + message.length);
      frame.writeUInt32BE(message.length, 1);
      message.copy(frame, 5);
      const request = httpRequest({
        port: pair.ports[way],
        path: '/test.Echo/Unary',
        method: 'POST',
        agent: false,
        headers: { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' },
      });
      request.end(frame);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk as Buffer);
      const body = Buffer.concat(chunks);
      assert.equal(response.statusCode, 200);
      assert.equal(response.headers['content-type'], 'application/grpc-web+proto');
      assert.ok(body.subarray(0, frame.length).equals(frame));
      assert.equal(body[frame.length], 0x80);
      assert.match(body.subarray(frame.length + 5).toString(), /^grpc-status: ?0\r\n/m);
    });

    test('no server: UNAVAILABLE with the reason', async () => {
      server.forceShutdown();
      const { error } = await unary(client, 'unary', 'x');
      assert.equal(error?.code, status.UNAVAILABLE);
      assert.match(error?.details ?? '', /upstream connect error|connection/);
    });
  });
}
