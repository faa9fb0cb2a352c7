import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { GrpcServiceSchema } from '#api/gen/envoy/config/core/v3/grpc_service_pb.ts';
import {
  RateLimitRequestSchema,
  type RateLimitResponse,
  RateLimitResponse_Code,
  RateLimitResponseSchema,
  RateLimitService,
} from '#api/gen/envoy/service/ratelimit/v3/rls_pb.ts';
import { roundRobin } from '../../load_balancing_policies/round_robin/round_robin.ts';
import type { LiveClusterManager } from '../cluster_manager.ts';
import { frameMessage, GrpcCall, readGrpcService, unframeMessage } from './grpc_call.ts';
import { managerWith } from './testing.ts';

type Answer = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body: Buffer) => void;

async function serviceOf(t: TestContext, answer: Answer): Promise<LiveClusterManager> {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
    stream.on('end', () => answer(stream, headers, Buffer.concat(chunks)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return managerWith(t, roundRobin, [`127.0.0.1:${port}`], { http2ProtocolOptions: {} });
}

const target = readGrpcService(
  create(GrpcServiceSchema, {
    targetSpecifier: { case: 'envoyGrpc', value: { clusterName: 'c' } },
    timeout: { seconds: 1n, nanos: 0 },
    initialMetadata: [{ key: 'X-Token', value: 'abc' }],
  }),
  20,
);

function ask(manager: LiveClusterManager, timeoutMs = 1000): Promise<RateLimitResponse | [number, string]> {
  return new Promise((resolve) => {
    new GrpcCall(
      { ...target, timeoutMs },
      RateLimitService.method.shouldRateLimit,
      { domain: 'd', hitsAddend: 3 },
      { onResponse: resolve, onFailure: (status, message) => resolve([status, message]) },
    ).start(manager);
  });
}

function answerWith(stream: ServerHttp2Stream, body: Buffer, trailers: Record<string, string>): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end(body);
}

const over = frameMessage(
  toBinary(
    RateLimitResponseSchema,
    create(RateLimitResponseSchema, { overallCode: RateLimitResponse_Code.OVER_LIMIT }),
  ),
);

test('a call and its answer', async (t) => {
  let seen: IncomingHttpHeaders = {};
  const manager = await serviceOf(t, (stream, headers, body) => {
    seen = headers;
    const request = fromBinary(RateLimitRequestSchema, unframeMessage(body) ?? Buffer.alloc(0));
    assert.deepEqual([request.domain, request.hitsAddend], ['d', 3]);
    answerWith(stream, over, { 'grpc-status': '0' });
  });
  const answer = await ask(manager);
  assert.ok(!Array.isArray(answer));
  assert.equal(answer.overallCode, RateLimitResponse_Code.OVER_LIMIT);
  assert.equal(seen[':path'], '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit');
  assert.equal(seen[':authority'], 'c');
  assert.equal(seen['content-type'], 'application/grpc');
  assert.equal(seen['te'], 'trailers');
  assert.equal(seen['grpc-timeout'], '1000m');
  assert.equal(seen['x-token'], 'abc');
});

test('statuses that are no answer', async (t) => {
  const cases: [string, Answer, [number, string | RegExp]][] = [
    [
      'an error with trailers',
      (stream) => answerWith(stream, Buffer.alloc(0), { 'grpc-status': '7', 'grpc-message': 'not%20you' }),
      [7, 'not you'],
    ],
    [
      'an error in the headers',
      (stream) =>
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '12' },
          { endStream: true },
        ),
      [12, ''],
    ],
    ['HTTP alone', (stream) => stream.respond({ ':status': 503 }, { endStream: true }), [14, /503/]],
    [
      'a message that is cut',
      (stream) => answerWith(stream, over.subarray(0, 6), { 'grpc-status': '0' }),
      [13, /malformed/],
    ],
    [
      'two messages',
      (stream) => answerWith(stream, Buffer.concat([over, over]), { 'grpc-status': '0' }),
      [13, /malformed/],
    ],
    ['a reset', (stream) => stream.close(2), [14, /reset/]],
  ];
  for (const [name, answer, [status, message]] of cases) {
    const got = await ask(await serviceOf(t, answer));
    assert.ok(Array.isArray(got), name);
    assert.equal(got[0], status, name);
    if (typeof message === 'string') assert.equal(got[1], message, name);
    else assert.match(got[1], message, name);
  }
  const late = await ask(await serviceOf(t, () => {}), 20);
  assert.deepEqual(late, [4, 'timeout']);
});

test('services that cannot be called are refused', () => {
  const cases: [object, RegExp][] = [
    [{}, /envoy_grpc is missing/],
    [{ targetSpecifier: { case: 'envoyGrpc', value: {} } }, /cluster_name is missing/],
    [
      { targetSpecifier: { case: 'envoyGrpc', value: { clusterName: 'c', retryPolicy: {} } } },
      /retry_policy is not implemented/,
    ],
  ];
  for (const [init, error] of cases)
    assert.throws(() => readGrpcService(create(GrpcServiceSchema, init as never), 20), error);
  const plain = create(GrpcServiceSchema, {
    targetSpecifier: { case: 'envoyGrpc', value: { clusterName: 'c', authority: 'name' } },
  });
  assert.deepEqual(readGrpcService(plain, 20), {
    clusterName: 'c',
    authority: 'name',
    timeoutMs: 20,
    metadata: [],
    maxResponseBytes: 4 * 1024 * 1024,
  });
});
