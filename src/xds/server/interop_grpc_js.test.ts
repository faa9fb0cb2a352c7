/** The server against an independent gRPC client, which speaks both variants by hand. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type MessageInitShape, create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, Metadata, type StatusObject, credentials } from '@grpc/grpc-js';
import { type Cluster, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
} from '#api/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { GrpcError, grpcStatus } from '../grpc_status.ts';
import { adsPaths } from '../grpc_transport.ts';
import { typeUrls } from '../type_url.ts';
import { registerAds } from './discovery_services.ts';
import { encodeResource } from './encoded_resource.ts';
import { GrpcServer } from './grpc_server.ts';
import { XdsServer } from './server.ts';
import { type SnapshotClient, SnapshotSource } from './snapshot_source.ts';

const { cds } = typeUrls;
const node = create(NodeSchema, { id: 'independent' });

function cluster(name: string, altStatName = '') {
  return encodeResource(ClusterSchema, name, create(ClusterSchema, { name, altStatName }));
}

interface Stream<Init, Res> {
  send(request: Init): void;
  /** The next response; fails after 2 s. */
  next(): Promise<Res>;
  /** True when nothing comes for a while. */
  silent(): Promise<boolean>;
  readonly ended: Promise<StatusObject>;
}

function follow<Req, Init, Res>(
  call: ClientDuplexStream<Req, Res>,
  make: (init: Init) => Req,
): Stream<Init, Res> {
  const queue: Res[] = [];
  let wake: () => void = () => {};
  call.on('data', (response: Res) => {
    queue.push(response);
    wake();
  });
  call.on('error', () => {});
  const take = async (waitMs: number): Promise<Res | undefined> => {
    if (queue.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, waitMs);
      });
    }
    return queue.shift();
  };
  return {
    send: (init) => void call.write(make(init)),
    next: async () => (await take(2000)) ?? assert.fail('no response'),
    silent: async () => (await take(100)) === undefined,
    ended: new Promise((resolve) => call.once('status', resolve)),
  };
}

async function setUp(t: TestContext) {
  const source = new SnapshotSource();
  const server = new XdsServer<SnapshotClient, undefined>({ source });
  const grpc = new GrpcServer({ routes: (router) => registerAds(router, server) });
  const port = await grpc.listen({ host: '127.0.0.1', port: 0 });
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(() => {
    client.close();
    return grpc.close();
  });
  return {
    source,
    server,
    push: async () => {
      for (const one of server.clients) await server.push(one, undefined, undefined);
    },
    sotw: (metadata = new Metadata()) =>
      follow<DiscoveryRequest, MessageInitShape<typeof DiscoveryRequestSchema>, DiscoveryResponse>(
        client.makeBidiStreamRequest(
          adsPaths.sotw,
          (request: DiscoveryRequest) => Buffer.from(toBinary(DiscoveryRequestSchema, request)),
          (bytes) => fromBinary(DiscoveryResponseSchema, bytes),
          metadata,
        ),
        (init) => create(DiscoveryRequestSchema, { typeUrl: cds, ...init } as typeof init),
      ),
    delta: () =>
      follow<
        DeltaDiscoveryRequest,
        MessageInitShape<typeof DeltaDiscoveryRequestSchema>,
        DeltaDiscoveryResponse
      >(
        client.makeBidiStreamRequest(
          adsPaths.delta,
          (request: DeltaDiscoveryRequest) => Buffer.from(toBinary(DeltaDiscoveryRequestSchema, request)),
          (bytes) => fromBinary(DeltaDiscoveryResponseSchema, bytes),
        ),
        (init) => create(DeltaDiscoveryRequestSchema, { typeUrl: cds, ...init } as typeof init),
      ),
  };
}

function names(response: DiscoveryResponse): string[] {
  return response.resources
    .map((any): Cluster => fromBinary(ClusterSchema, any.value))
    .map(({ name }) => name);
}

test('SotW: ACK, NACK, stale nonces, changed names', async (t) => {
  const { source, server, sotw, push } = await setUp(t);
  source.set(cds, [cluster('a'), cluster('b'), cluster('c')]);
  const stream = sotw();
  stream.send({ node, resourceNames: ['a'] });
  const first = await stream.next();
  assert.deepEqual([names(first), first.typeUrl, first.controlPlane?.identifier], [['a'], cds, 'trysail']);

  stream.send({ resourceNames: ['a'], responseNonce: first.nonce, versionInfo: first.versionInfo });
  assert.ok(await stream.silent(), 'an ACK is not answered');

  stream.send({ resourceNames: ['a', 'b'], responseNonce: first.nonce, versionInfo: first.versionInfo });
  const second = await stream.next();
  assert.deepEqual(names(second), ['a', 'b']);
  assert.notEqual(second.nonce, first.nonce);

  stream.send({ resourceNames: ['a', 'b', 'c'], responseNonce: first.nonce, versionInfo: first.versionInfo });
  assert.ok(await stream.silent(), 'a stale nonce is not answered');

  const message = 'b: broken';
  stream.send({ resourceNames: ['a', 'b'], responseNonce: second.nonce, errorDetail: { message } });
  assert.ok(await stream.silent(), 'a NACK is not answered');
  const [one] = server.clients;
  assert.equal(server.status(one!)[0]!.nacked?.detail, message);

  source.set(cds, [cluster('a'), cluster('b', 'fixed'), cluster('c')]);
  await push();
  const third = await stream.next();
  stream.send({ resourceNames: ['*'], responseNonce: third.nonce, versionInfo: third.versionInfo });
  assert.deepEqual(names(await stream.next()), ['a', 'b', 'c'], 'an explicit wildcard');
});

test('SotW: an empty list is a wildcard only until a name was sent', async (t) => {
  const { source, sotw, push } = await setUp(t);
  source.set(cds, [cluster('a')]);
  const all = sotw();
  all.send({ node });
  const first = await all.next();
  assert.deepEqual(names(first), ['a']);
  all.send({ responseNonce: first.nonce, versionInfo: first.versionInfo });
  source.set(cds, [cluster('a'), cluster('b')]);
  await all.silent();
  await push();
  assert.deepEqual(names(await all.next()), ['a', 'b']);

  const named = sotw();
  named.send({ node, resourceNames: ['a'] });
  const response = await named.next();
  named.send({ responseNonce: response.nonce, versionInfo: response.versionInfo });
  source.set(cds, [cluster('a', 'new')]);
  assert.ok(await named.silent());
  await push();
  assert.ok(await named.silent(), 'nothing is subscribed any more');
});

test('delta: versions held, removal, wildcard and names together', async (t) => {
  const { source, delta, push } = await setUp(t);
  const a = cluster('a');
  source.set(cds, [a, cluster('b')]);
  const stream = delta();
  stream.send({ node, initialResourceVersions: { a: a.version, gone: '1' } });
  const first = await stream.next();
  assert.deepEqual([first.resources.map(({ name }) => name), first.removedResources], [['b'], ['gone']]);
  stream.send({ responseNonce: first.nonce });

  source.set(cds, [a, cluster('c')]);
  assert.ok(await stream.silent());
  await push();
  const second = await stream.next();
  assert.deepEqual([second.resources.map(({ name }) => name), second.removedResources], [['c'], ['b']]);

  stream.send({ responseNonce: second.nonce, resourceNamesSubscribe: ['a', 'ghost'] });
  const third = await stream.next();
  assert.deepEqual([third.resources.map(({ name }) => name), third.removedResources], [['a'], ['ghost']]);

  stream.send({ responseNonce: third.nonce, resourceNamesUnsubscribe: ['*'] });
  source.set(cds, [cluster('a', 'new'), cluster('c', 'new')]);
  assert.ok(await stream.silent());
  await push();
  assert.deepEqual(
    (await stream.next()).resources.map(({ name }) => name),
    ['a'],
    'only the name is left',
  );

  stream.send({ resourceNamesUnsubscribe: ['a'] });
  stream.send({ resourceNamesSubscribe: ['a'] });
  assert.deepEqual(
    (await stream.next()).resources.map(({ name }) => name),
    ['a'],
    'asked again, sent again',
  );
});

test('delta: a name covered by the wildcard is confirmed when it is unsubscribed', async (t) => {
  const { source, delta } = await setUp(t);
  source.set(cds, [cluster('a')]);
  const stream = delta();
  stream.send({ node, resourceNamesSubscribe: ['*', 'a'] });
  await stream.next();
  stream.send({ resourceNamesUnsubscribe: ['a'] });
  assert.deepEqual(
    (await stream.next()).resources.map(({ name }) => name),
    ['a'],
  );
});

test('metadata reaches the source, a refusal reaches the client', async (t) => {
  const { source, sotw } = await setUp(t);
  source.open = (_node, peer) => {
    throw new GrpcError(grpcStatus.unauthenticated, `no ${peer.metadata['authorization']}`);
  };
  const metadata = new Metadata();
  metadata.set('authorization', 'Bearer x');
  const stream = sotw(metadata);
  stream.send({ node });
  const { code, details } = await stream.ended;
  assert.deepEqual([code, details], [16, 'no Bearer x']);
});

test('a stream without node, and one without a type, is refused', async (t) => {
  const { sotw } = await setUp(t);
  const nameless = sotw();
  nameless.send({});
  assert.equal((await nameless.ended).code, 3);
  const typeless = sotw();
  typeless.send({ node, typeUrl: '' });
  assert.equal((await typeless.ended).code, 3);
});
