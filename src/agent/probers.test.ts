import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttp } from 'node:http';
import { type ServerHttp2Stream, createServer as createHttp2 } from 'node:http2';
import { type AddressInfo, type Server, createServer as createTcp } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from '#api/gen/grpc/health/v1/health_pb.ts';
import { type AppProber, probe } from './probers.ts';

/** Loopback, and the address by which others reach this machine: a pod's is of the second kind. */
const addresses = [
  '127.0.0.1',
  ...Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address)
    .slice(0, 1),
];

const serving = toBinary(
  HealthCheckResponseSchema,
  create(HealthCheckResponseSchema, { status: HealthCheckResponse_ServingStatus.SERVING }),
);

function grpcServer(): Server {
  const server = createHttp2();
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.resume();
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(serving.length, 1);
    stream.end(Buffer.concat([head, serving]));
  });
  return server;
}

type Kind = (port: number) => Pick<AppProber, 'http' | 'tcp' | 'grpc'>;
const kinds: readonly (readonly [name: string, server: () => Server, prober: Kind])[] = [
  [
    'HTTP',
    () => createHttp((_, response) => response.end()),
    (port) => ({ http: { path: '/', port, scheme: 'HTTP', headers: [] } }),
  ],
  ['TCP', () => createTcp((socket) => socket.resume()), (port) => ({ tcp: { port } })],
  ['gRPC', grpcServer, (port) => ({ grpc: { port, service: '' } })],
];

for (const [name, makeServer, kind] of kinds)
  test(`${name} probes come from the address that capture lets pass`, async () => {
    for (const address of addresses) {
      const server = makeServer();
      const sources: (string | undefined)[] = [];
      server.on('connection', (socket) => sources.push(socket.remoteAddress));
      server.listen(0, address);
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const result = await probe({ ...kind(port), address, timeoutMs: 5_000 }, {});
      assert.deepEqual(result, { status: 200 }, address);
      assert.deepEqual(sources, ['127.0.0.6'], address);
      server.close();
      await once(server, 'close');
    }
  });
