import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type JsonObject } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { silentLogger } from '#base/log.ts';
import { type Labels, MetricsRegistry } from '#telemetry/metrics.ts';
import type { FactoryContext } from '../../../factory_context.ts';
import type { FilterCallbacks, HttpFilterFactory } from '../../../http/filter.ts';
import { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import type { TlsInfo } from '../../../network/connection.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import { newUpstreamInfo, StreamInfo } from '../../../stream_info/stream_info.ts';
import type { MetadataMap } from '../../../upstream/upstream.ts';
import { encodePeer } from '../peer_metadata/peer.ts';
import { workerPeers } from '../peer_metadata/peer_cache.ts';
import { httpIstioStats } from './config.ts';

const reviews = create(NodeSchema, {
  id: 'reviews',
  metadata: {
    NAME: 'reviews-v1-abc',
    NAMESPACE: 'default',
    WORKLOAD_NAME: 'reviews-v1',
    CLUSTER_ID: 'Kubernetes',
    LABELS: {
      app: 'reviews',
      version: 'v1',
      'service.istio.io/canonical-name': 'reviews',
      'service.istio.io/canonical-revision': 'v1',
    },
  },
});
const productpage: JsonObject = {
  NAME: 'productpage-v1-abc',
  NAMESPACE: 'shop',
  WORKLOAD_NAME: 'productpage-v1',
  CLUSTER_ID: 'Kubernetes',
  LABELS: { app: 'productpage', version: 'v1' },
};
const services = (host: string): MetadataMap => ({
  istio: { services: [{ host, name: host.split('.')[0], namespace: 'default' }] },
});
const reviewsCluster = services('reviews.default.svc.cluster.local');

function tls(peer: string, own: string): TlsInfo {
  return {
    version: 'TLSv1.3',
    cipher: 'TLS_AES_128_GCM_SHA256',
    peerCertificateValidated: true,
    peerUriSans: [peer],
    peerDnsSans: [],
    peerSubject: '',
    localUriSans: [own],
    localSubject: '',
    peerCertificateDer: undefined,
  };
}

interface Call {
  readonly authority?: string;
  readonly grpc?: boolean;
  readonly response?: ResponseHeaderMap;
  readonly trailers?: HeaderMap;
  readonly prepare?: (info: StreamInfo) => void;
  readonly route?: { readonly name: string; readonly clusterName: string };
}

class Bed {
  readonly metrics = new MetricsRegistry();
  readonly factory: HttpFilterFactory;

  constructor(direction: 'inbound' | 'outbound', struct: JsonObject = {}) {
    const context = {
      node: reviews,
      metrics: this.metrics,
      direction,
      log: silentLogger,
      clusterManager: {
        get: (name: string) => (name === 'denied' ? { metadata: reviewsCluster } : undefined),
      },
    } as unknown as FactoryContext;
    this.factory = httpIstioStats.create({ typeUrl: '', value: new Uint8Array(), struct }, context);
  }

  call({ authority = 'reviews:9080', grpc = false, response, trailers, prepare, route }: Call): void {
    const connection = new AcceptedConnectionInfo(
      { ip: '10.0.0.1', port: 9080 },
      { ip: '10.0.0.2', port: 1 },
    );
    const info = new StreamInfo(connection, 'HTTP/1.1');
    info.responseCode = 200;
    info.wireBytesReceived = 300;
    info.wireBytesSent = 1200;
    info.end = info.start + 7.9;
    const request = new RequestHeaderMap();
    request.authority = authority;
    if (grpc) request.add('content-type', 'application/grpc+proto');
    prepare?.(info);
    const callbacks = {
      streamInfo: info,
      route: () => route && { ...route, metadata: undefined, perFilterConfig() {} },
      requestHeaders: () => request,
      responseHeaders: () => response,
    } as unknown as FilterCallbacks;
    const filter = this.factory.createFilter(callbacks);
    if (trailers !== undefined) filter.encodeTrailers?.(trailers);
    filter.onStreamComplete?.();
  }

  series(name: string): { labels: Labels; value: number; buckets?: readonly number[] }[] {
    return [...(this.metrics.snapshot().find((family) => family.name === name)?.series ?? [])];
  }

  labels(name = 'istio_requests_total'): Labels {
    const all = this.series(name);
    assert.equal(all.length, 1, `series of ${name}`);
    return all[0]?.labels ?? {};
  }
}

function towards(metadata: MetadataMap | undefined, clusterName = 'outbound|9080||reviews') {
  return (info: StreamInfo): void => {
    info.clusterName = clusterName;
    info.clusterMetadata = metadata;
  };
}

test('the server reports all labels in order', () => {
  const bed = new Bed('inbound', { disable_host_header_fallback: true });
  bed.call({
    prepare(info) {
      towards(reviewsCluster)(info);
      info.connection.tls = tls(
        'spiffe://cluster.local/ns/default/sa/bookinfo-productpage',
        'spiffe://cluster.local/ns/default/sa/bookinfo-reviews',
      );
      info.setFilterState('downstream_peer', workerPeers.find(encodePeer(productpage)));
    },
  });
  assert.deepEqual(Object.entries(bed.labels()), [
    ['reporter', 'destination'],
    ['source_workload', 'productpage-v1'],
    ['source_canonical_service', 'productpage'],
    ['source_canonical_revision', 'v1'],
    ['source_workload_namespace', 'default'],
    ['source_principal', 'spiffe://cluster.local/ns/default/sa/bookinfo-productpage'],
    ['source_app', 'productpage'],
    ['source_version', 'v1'],
    ['source_cluster', 'Kubernetes'],
    ['destination_workload', 'reviews-v1'],
    ['destination_workload_namespace', 'default'],
    ['destination_principal', 'spiffe://cluster.local/ns/default/sa/bookinfo-reviews'],
    ['destination_app', 'reviews'],
    ['destination_version', 'v1'],
    ['destination_service', 'reviews.default.svc.cluster.local'],
    ['destination_canonical_service', 'reviews'],
    ['destination_canonical_revision', 'v1'],
    ['destination_service_name', 'reviews'],
    ['destination_service_namespace', 'default'],
    ['destination_cluster', 'Kubernetes'],
    ['request_protocol', 'http'],
    ['response_code', '200'],
    ['grpc_response_status', ''],
    ['response_flags', '-'],
    ['connection_security_policy', 'mutual_tls'],
  ]);
  const [duration] = bed.series('istio_request_duration_milliseconds');
  assert.equal(duration?.value, 7);
  assert.equal(bed.series('istio_request_bytes')[0]?.value, 300);
  assert.equal(bed.series('istio_response_bytes')[0]?.value, 1200);
});

test('a server without anything told reports what it knows', () => {
  const bed = new Bed('inbound', { disable_host_header_fallback: true });
  bed.call({});
  const labels = bed.labels();
  const expected: Labels = {
    source_workload: 'unknown',
    source_canonical_revision: 'latest',
    source_principal: 'unknown',
    destination_workload: 'reviews-v1',
    destination_service: 'reviews',
    destination_service_name: 'reviews',
    destination_service_namespace: 'default',
    destination_principal: 'unknown',
    connection_security_policy: 'none',
  };
  for (const name in expected) assert.equal(labels[name], expected[name], name);
});

test('the client reports the server by header, else by its endpoint', () => {
  const endpoint: MetadataMap = { istio: { workload: 'reviews-v2;default;reviews;v2;c2' } };
  const outbound = (info: StreamInfo): void => {
    towards(reviewsCluster)(info);
    info.upstream = newUpstreamInfo();
    info.upstream.hostMetadata = endpoint;
    info.upstream.tls = tls('spiffe://td/ns/other/sa/reviews', 'spiffe://td/ns/default/sa/me');
  };
  const byEndpoint = new Bed('outbound');
  byEndpoint.call({ prepare: outbound });
  const byHeader = new Bed('outbound');
  byHeader.call({
    prepare(info) {
      outbound(info);
      info.setFilterState('upstream_peer', workerPeers.find(encodePeer(productpage)));
    },
  });
  const expected: [Bed, Labels][] = [
    [
      byEndpoint,
      {
        reporter: 'source',
        source_workload: 'reviews-v1',
        source_principal: 'spiffe://td/ns/default/sa/me',
        destination_workload: 'reviews-v2',
        destination_workload_namespace: 'other',
        destination_canonical_revision: 'v2',
        destination_app: 'unknown',
        destination_cluster: 'c2',
        destination_principal: 'spiffe://td/ns/other/sa/reviews',
        destination_service: 'reviews.default.svc.cluster.local',
        destination_service_namespace: 'default',
        connection_security_policy: 'unknown',
      },
    ],
    [byHeader, { destination_workload: 'productpage-v1', destination_app: 'productpage' }],
  ];
  for (const [bed, wanted] of expected) {
    const labels = bed.labels();
    for (const name in wanted) assert.equal(labels[name], wanted[name], name);
  }
});

test('services outside the mesh', () => {
  const cases: [string, Call, [string, string]][] = [
    [
      'pass-through',
      { authority: 'example.com', prepare: towards(undefined, 'PassthroughCluster') },
      ['example.com', 'PassthroughCluster'],
    ],
    [
      'blocked',
      { authority: 'example.com', route: { name: 'block_all', clusterName: '' } },
      ['example.com', 'BlackHoleCluster'],
    ],
    ['no service in the metadata', { authority: 'a.b', prepare: towards({}) }, ['a.b', 'a.b']],
    ['no host', { authority: '', prepare: towards({}) }, ['unknown', 'unknown']],
    [
      'service without name',
      { prepare: towards({ istio: { services: [{ host: 'x.ns.svc' }] } }) },
      ['x.ns.svc', 'x'],
    ],
    [
      'answered before a cluster was chosen',
      { route: { name: 'default', clusterName: 'denied' } },
      ['reviews.default.svc.cluster.local', 'reviews'],
    ],
  ];
  for (const [name, call, expected] of cases) {
    const bed = new Bed('outbound');
    bed.call(call);
    const labels = bed.labels();
    assert.deepEqual([labels['destination_service'], labels['destination_service_name']], expected, name);
  }
});

test('many hosts do not make many series', () => {
  const bed = new Bed('outbound');
  for (let i = 0; i < 3000; i++) bed.call({ authority: `host-${i}`, prepare: towards({}) });
  const series = bed.series('istio_requests_total');
  assert.ok(series.length <= 1025);
  assert.equal(
    series.reduce((sum, { value }) => sum + value, 0),
    3000,
  );
});

test('gRPC: status, messages', () => {
  const response = new ResponseHeaderMap();
  response.status = 200;
  const cases: [string, Call, string][] = [
    ['trailers', { response, trailers: new HeaderMap(['grpc-status'], ['5']) }, '5'],
    ['headers only', { response: new ResponseHeaderMap(['grpc-status'], ['0']) }, '0'],
    ['no status', { response }, '2'],
    ['by HTTP status', { prepare: (info) => void (info.responseCode = 503) }, '14'],
    ['beyond what gRPC knows', { response, trailers: new HeaderMap(['grpc-status'], ['77']) }, '2'],
  ];
  for (const [name, call, status] of cases) {
    const bed = new Bed('inbound');
    bed.call({
      ...call,
      grpc: true,
      prepare(info) {
        call.prepare?.(info);
        info.setFilterState('envoy.filters.http.grpc_stats', {
          requestMessageCount: 3,
          responseMessageCount: 1,
        });
      },
    });
    const labels = bed.labels();
    assert.deepEqual([labels['request_protocol'], labels['grpc_response_status']], ['grpc', status], name);
    assert.equal(bed.series('istio_request_messages_total')[0]?.value, 3, name);
    assert.equal(bed.series('istio_response_messages_total')[0]?.value, 1, name);
  }
});

test('requests alike share series, others do not', () => {
  const bed = new Bed('inbound');
  const peer = workerPeers.find(encodePeer(productpage));
  const variants: ((info: StreamInfo) => void)[] = [
    () => {},
    (info) => void (info.responseCode = 404),
    (info) => void (info.responseFlags = ResponseFlag.noRouteFound),
    (info) => void (info.responseFlags = ResponseFlag.downstreamRemoteReset),
    (info) => info.setFilterState('downstream_peer', peer),
    (info) => void (info.connection.tls = tls('spiffe://a/ns/x/sa/y', '')),
    (info) => void (info.connection.tls = tls('spiffe://a/ns/x/sa/z', '')),
    (info) => void (info.connection.tls = tls('spiffe://a/ns/x/sa/z', 'spiffe://a/ns/x/sa/me')),
  ];
  for (let round = 0; round < 3; round++)
    for (const variant of variants)
      bed.call({
        prepare(info) {
          towards(reviewsCluster)(info);
          variant(info);
        },
      });
  const series = bed.series('istio_requests_total');
  assert.deepEqual(
    series.map(({ value }) => value),
    variants.map(() => 3),
  );
  const flags = series.map(({ labels }) => labels['response_flags']);
  assert.deepEqual(flags.slice(0, 4), ['-', '-', 'NR', 'DR']);
});

test('switched off metrics and removed labels', () => {
  const bed = new Bed('inbound', {
    metrics: [
      { name: 'request_bytes', drop: true },
      { name: 'requests_total', tags_to_remove: ['source_principal'], dimensions: { mesh: "'m1'" } },
    ],
  });
  bed.call({});
  assert.equal(bed.series('istio_request_bytes').length, 0);
  const labels = bed.labels();
  assert.equal('source_principal' in labels, false);
  assert.equal(labels['mesh'], 'm1');
  assert.equal('source_principal' in bed.labels('istio_response_bytes'), true);
});
