/**
 * Cost per request of Istio's metrics, of RBAC and of a peer's header. Run: node bench/micro/istio_stats.ts
 */
import { create } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { RBACSchema } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { silentLogger } from '#base/log.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { FactoryContext } from '#proxy/factory_context.ts';
import type { FilterCallbacks } from '#proxy/http/filter.ts';
import { RequestHeaderMap } from '#proxy/http/header_map.ts';
import { AcceptedConnectionInfo } from '#proxy/network/connection_info.ts';
import { StreamInfo } from '#proxy/stream_info/stream_info.ts';
import { httpIstioStats } from '#proxy/filters/http/istio_stats/config.ts';
import { encodePeer, type WorkloadPeer } from '#proxy/filters/http/peer_metadata/peer.ts';
import { PeerCache } from '#proxy/filters/http/peer_metadata/peer_cache.ts';
import { RbacEngine } from '#proxy/filters/rbac/engine.ts';

const rounds = 1_000_000;

function measure(name: string, run: (i: number) => void): void {
  for (let i = 0; i < rounds; i++) run(i);
  const start = process.hrtime.bigint();
  for (let i = 0; i < rounds; i++) run(i);
  const ns = Number(process.hrtime.bigint() - start) / rounds;
  process.stdout.write(`${name.padEnd(44)} ${ns.toFixed(0)} ns\n`);
}

const workload = (i: number) => ({
  NAME: `productpage-v${i}-abc`,
  NAMESPACE: 'default',
  WORKLOAD_NAME: `productpage-v${i}`,
  CLUSTER_ID: 'Kubernetes',
  OWNER: 'kubernetes://apis/apps/v1/namespaces/default/deployments/productpage',
  LABELS: { app: 'productpage', version: `v${i}` },
});
const headers = Array.from({ length: 16 }, (_, i) => Buffer.from(encodePeer(workload(i)), 'latin1'));
const cache = new PeerCache();
const peers = headers.map((header) => cache.find(header.toString('latin1')) as WorkloadPeer);

const clusterMetadata = {
  istio: { services: [{ host: 'reviews.default.svc.cluster.local', name: 'reviews', namespace: 'default' }] },
};
const context = {
  node: create(NodeSchema, { id: 'reviews', metadata: workload(1) }),
  metrics: new MetricsRegistry(),
  direction: 'inbound',
  log: silentLogger,
} as unknown as FactoryContext;
const factory = httpIstioStats.create({ typeUrl: '', value: new Uint8Array(), struct: {} }, context);
const connection = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 9080 }, { ip: '10.0.0.2', port: 1 });
const request = new RequestHeaderMap(['accept', 'user-agent', 'x-request-id'], ['*/*', 'curl', 'abc']);
request.method = 'GET';
request.path = '/reviews/0';
request.authority = 'reviews:9080';
request.seen = 0;

function finished(peer: WorkloadPeer): FilterCallbacks {
  const info = new StreamInfo(connection, 'HTTP/1.1');
  info.responseCode = 200;
  info.clusterName = 'inbound|9080||';
  info.clusterMetadata = clusterMetadata;
  info.bytesSent = 1200;
  info.end = info.start + 3;
  info.setFilterState('downstream_peer', peer);
  return {
    streamInfo: info,
    requestHeaders: () => request,
    responseHeaders: () => undefined,
  } as unknown as FilterCallbacks;
}
const calls = peers.map(finished);

measure('istio.stats, one caller', () =>
  factory.createFilter(calls[0] as FilterCallbacks).onStreamComplete?.(),
);
measure('istio.stats, 16 callers in turn', (i) =>
  factory.createFilter(calls[i & 15] as FilterCallbacks).onStreamComplete?.(),
);
measure('peer header off the wire, one caller', () => cache.find((headers[0] as Buffer).toString('latin1')));
measure('peer header off the wire, 16 callers in turn', (i) =>
  cache.find((headers[i & 15] as Buffer).toString('latin1')),
);

connection.tls = {
  version: 'TLSv1.3',
  cipher: '',
  peerCertificateValidated: true,
  peerUriSans: ['spiffe://cluster.local/ns/default/sa/productpage'],
  peerDnsSans: [],
  peerSubject: '',
  localUriSans: [],
  localSubject: '',
  peerCertificateDer: undefined,
};
const engine = new RbacEngine(
  create(RBACSchema, {
    policies: {
      'ns[default]-policy[viewer]-rule[0]': {
        permissions: [
          {
            rule: {
              case: 'andRules',
              value: {
                rules: [
                  {
                    rule: {
                      case: 'header',
                      value: {
                        name: ':method',
                        headerMatchSpecifier: {
                          case: 'stringMatch',
                          value: { matchPattern: { case: 'exact', value: 'GET' } },
                        },
                      },
                    },
                  },
                  {
                    rule: {
                      case: 'urlPath',
                      value: {
                        rule: {
                          case: 'path',
                          value: { matchPattern: { case: 'prefix', value: '/reviews' } },
                        },
                      },
                    },
                  },
                ],
              },
            },
          },
        ],
        principals: [
          {
            identifier: {
              case: 'authenticated',
              value: {
                principalName: {
                  matchPattern: { case: 'safeRegex', value: { regex: '.*/ns/default/.*' } },
                },
              },
            },
          },
        ],
      },
    },
  }),
  'rules',
);
const subject = {
  connection,
  headers: request,
  path: request.path,
  streamInfo: (calls[0] as FilterCallbacks).streamInfo,
  callbacks: undefined,
};
let matched = 0;
measure('RBAC: method, path, namespace by regex', () => {
  matched += engine.find(subject) + 1;
});
if (matched !== 2 * rounds) throw new Error('RBAC did not match');
