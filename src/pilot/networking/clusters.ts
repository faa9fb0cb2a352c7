/** CDS: the clusters of a proxy. */
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { isIPv6 } from 'node:net';
import { inboundPorts } from '../model/inbound_port.ts';
import type { Proxy } from '../model/proxy.ts';
import { outboundView, type OutboundView } from '../model/proxy_view.ts';
import { memoize, type PushContext } from '../model/push_context.ts';
import { blackHoleCluster, inboundPassthroughCluster, passthroughCluster } from './cluster/fixed_clusters.ts';
import { inboundCluster } from './cluster/inbound_cluster.ts';
import { serviceClusters } from './cluster/outbound_cluster.ts';

/** Clusters of all services that the view sees. Views with equal rules share the messages. */
function outboundClusters(push: PushContext, view: OutboundView): readonly Cluster[] {
  return memoize(push, `clusters ${view.key}`, () =>
    view.scope.services.flatMap((service) => {
      const rule = view.scope.destinationRule(service, view.labels);
      const ruleName = rule === undefined ? '' : `${rule.from.metadata.namespace}/${rule.from.metadata.name}`;
      const { tcpMetadataExchange } = view.extensions;
      // Everything that serviceClusters reads of the view stands in this key.
      const traits = `${view.type} ${view.interceptionMode} ${tcpMetadataExchange} ${view.selfDiscovery}`;
      return memoize(push, `clusters ${service.hostname} ${ruleName} ${traits}`, () =>
        serviceClusters(push, view, service, rule),
      );
    }),
  );
}

/** All clusters of a proxy. Messages are shared between calls and proxies: do not change them. */
export function buildClusters(proxy: Proxy, push: PushContext): Cluster[] {
  const view = outboundView(push, proxy);
  const clusters = [...outboundClusters(push, view)];
  clusters.push(memoize(push, 'BlackHoleCluster', () => blackHoleCluster(push.mesh)));
  clusters.push(memoize(push, 'PassthroughCluster', () => passthroughCluster(push.mesh)));
  if (proxy.type === 'router') return clusters;
  const ipv6 = isIPv6(proxy.ipAddresses[0] ?? '');
  if (proxy.interceptionMode !== 'NONE') {
    clusters.push(
      memoize(push, `InboundPassthroughCluster ${ipv6}`, () => inboundPassthroughCluster(push.mesh, ipv6)),
    );
  }
  const pool = view.scope.sidecar?.spec.inboundConnectionPool;
  for (const port of inboundPorts(push, proxy)) {
    clusters.push(inboundCluster(port, push.mesh, port.connectionPool ?? pool, ipv6));
  }
  return clusters;
}
