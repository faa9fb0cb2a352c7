import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type JsonObject } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { FactoryContext } from '../../../factory_context.ts';
import type { FilterCallbacks } from '../../../http/filter.ts';
import { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { StreamInfo } from '../../../stream_info/stream_info.ts';
import { peerMetadata, peerMetadataType } from './config.ts';
import { decodePeer, encodePeer, peerFromEndpoint, peerFromMetadata } from './peer.ts';
import { PeerCache } from './peer_cache.ts';

const productpage: JsonObject = {
  NAME: 'productpage-v1-5f7d-abcde',
  NAMESPACE: 'default',
  OWNER: 'kubernetes://apis/apps/v1/namespaces/default/deployments/productpage-v1',
  WORKLOAD_NAME: 'productpage-v1',
  CLUSTER_ID: 'Kubernetes',
  MESH_ID: 'cluster.local',
  LABELS: {
    app: 'productpage',
    version: 'v1',
    'pod-template-hash': '5f7d',
    'service.istio.io/canonical-name': 'productpage',
    'service.istio.io/canonical-revision': 'v1',
  },
};
const peer = {
  name: 'productpage-v1-5f7d-abcde',
  namespace: 'default',
  cluster: 'Kubernetes',
  workload: 'productpage-v1',
  service: 'productpage',
  revision: 'v1',
  app: 'productpage',
  version: 'v1',
  type: 'deployment',
  identity: '',
};

test('a header says what metadata says, in one form', () => {
  const header = encodePeer(productpage);
  assert.deepEqual(decodePeer(header), peer);
  const shuffled = Object.fromEntries(Object.entries(productpage).toReversed());
  assert.equal(encodePeer(shuffled), header);
  const bytes = Buffer.from(header, 'base64').toString('latin1');
  const keys = ['CLUSTER_ID', 'LABELS', 'NAME', 'NAMESPACE', 'OWNER', 'WORKLOAD_NAME'];
  const places = keys.map((key) => bytes.indexOf(`${String.fromCharCode(key.length)}${key}`));
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  );
  assert.ok(places[0] !== -1 && !bytes.includes('pod-template-hash') && !bytes.includes('MESH_ID'));
  assert.ok(
    Buffer.from(encodePeer(productpage, ['pod-template-hash']), 'base64').includes('pod-template-hash'),
  );
});

test('names of services fall back', () => {
  const { service, revision } = peerFromMetadata({ WORKLOAD_NAME: 'w', LABELS: {} });
  assert.deepEqual([service, revision], ['w', 'latest']);
  assert.equal(peerFromMetadata({ LABELS: { app: 'a' } }).service, 'a');
  assert.equal(peerFromEndpoint('w;ns;svc;v2;c1')?.revision, 'v2');
  assert.equal(peerFromEndpoint(''), undefined);
});

test('what is no metadata is nothing', () => {
  for (const header of ['', '%%%', 'AAAA', 'CgEK', Buffer.from('hello world').toString('base64')])
    assert.equal(decodePeer(header)?.workload ?? '', '', header);
  assert.equal(new PeerCache().find('A'.repeat(20_000)), undefined);
});

test('the cache keeps one object a value and stays bounded', () => {
  const cache = new PeerCache();
  const header = encodePeer(productpage);
  const first = cache.find(header);
  for (let i = 0; i < 2000; i++) {
    cache.find(encodePeer({ WORKLOAD_NAME: `w${i}` }));
    assert.equal(cache.find(header), first);
  }
  assert.ok(cache.size <= 1024);
});

const inbound = {
  downstream_discovery: [{ istio_headers: {} }, { workload_discovery: {} }],
  downstream_propagation: [{ istio_headers: {} }],
};
const outbound = {
  upstream_discovery: [{ istio_headers: {} }, { workload_discovery: {} }],
  upstream_propagation: [{ istio_headers: {} }],
};

function run(struct: JsonObject, cluster: { name: string; istio?: Record<string, unknown> } = { name: 'c' }) {
  const context = {
    node: create(NodeSchema, { id: 'sidecar~10.0.0.1~me~domain', metadata: { WORKLOAD_NAME: 'me' } }),
    clusterManager: {
      get: (name: string) =>
        name === cluster.name ? { metadata: cluster.istio && { istio: cluster.istio } } : undefined,
    },
  } as unknown as FactoryContext;
  const factory = peerMetadata.create(
    { typeUrl: peerMetadataType, value: new Uint8Array(), struct },
    context,
  );
  const connection = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 80 }, { ip: '10.0.0.2', port: 1 });
  const streamInfo = new StreamInfo(connection, 'HTTP/1.1');
  const route = { name: '', clusterName: cluster.name, metadata: undefined, perFilterConfig() {} };
  const callbacks = { streamInfo, route: () => route } as unknown as FilterCallbacks;
  return { filter: factory.createFilter(callbacks), streamInfo };
}

test('the server learns the client, answers it, and hides both from the application', () => {
  const { filter, streamInfo } = run(inbound);
  const request = new RequestHeaderMap(
    ['x-envoy-peer-metadata', 'a', 'x-envoy-peer-metadata-id'],
    [encodePeer(productpage), 'b', 'id'],
  );
  filter.decodeHeaders?.(request, true);
  assert.deepEqual(request.names, ['a']);
  assert.deepEqual(streamInfo.filterState?.get('downstream_peer'), peer);
  const response = new ResponseHeaderMap();
  filter.encodeHeaders?.(response, true);
  assert.equal(response.get('x-envoy-peer-metadata-id'), 'sidecar~10.0.0.1~me~domain');
  assert.equal(decodePeer(response.get('x-envoy-peer-metadata') ?? '')?.workload, 'me');
});

test('a client outside the mesh hears nothing', () => {
  const { filter, streamInfo } = run(inbound);
  filter.decodeHeaders?.(new RequestHeaderMap(['a'], ['b']), true);
  const response = new ResponseHeaderMap();
  filter.encodeHeaders?.(response, true);
  assert.deepEqual([response.size, streamInfo.filterState], [0, undefined]);
});

test('the client tells who it is and learns the server', () => {
  const { filter, streamInfo } = run(outbound);
  const request = new RequestHeaderMap(['x-envoy-peer-metadata'], ['forged']);
  filter.decodeHeaders?.(request, true);
  assert.equal(decodePeer(request.get('x-envoy-peer-metadata') ?? '')?.workload, 'me');
  assert.equal(request.get('x-envoy-peer-metadata-id'), 'sidecar~10.0.0.1~me~domain');
  const response = new ResponseHeaderMap(
    ['x-envoy-peer-metadata-id', 'x-envoy-peer-metadata'],
    ['id', encodePeer(productpage)],
  );
  filter.encodeHeaders?.(response, true);
  assert.equal(response.size, 0);
  assert.deepEqual(streamInfo.filterState?.get('upstream_peer'), peer);
});

test('some servers are told nothing', () => {
  const skipping = { upstream_propagation: [{ istio_headers: { skip_external_clusters: true } }] };
  const cases: [string, JsonObject, { name: string; istio?: Record<string, unknown> }, boolean][] = [
    ['disable_mx', outbound, { name: 'c', istio: { disable_mx: true } }, false],
    ['external, by default', outbound, { name: 'c', istio: { external: true } }, true],
    ['external', skipping, { name: 'c', istio: { external: true } }, false],
    ['pass-through', skipping, { name: 'PassthroughCluster' }, false],
    ['mesh', skipping, { name: 'c', istio: {} }, true],
  ];
  for (const [name, struct, cluster, told] of cases) {
    const request = new RequestHeaderMap();
    run(struct, cluster).filter.decodeHeaders?.(request, true);
    assert.equal(request.has('x-envoy-peer-metadata'), told, name);
  }
});

test('configuration in JSON names, and what is no list', () => {
  const { filter } = run({ upstreamPropagation: [{ istioHeaders: {} }] });
  const request = new RequestHeaderMap();
  filter.decodeHeaders?.(request, true);
  assert.equal(request.size, 2);
  assert.throws(() => run({ upstream_discovery: 'x' }), /upstream_discovery: expected a list/);
});
