/** Clusters of a service: one per port, and one more per port and subset. */
import { create } from '@bufbuild/protobuf';
import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_DnsLookupFamily,
  ClusterSchema,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { FilterSchema } from '#api/gen/envoy/config/cluster/v3/filter_pb.ts';
import { buildClusterName } from '#api/cluster_name.ts';
import { networkFilter } from '#api/well_known.ts';
import type { Subset } from '#config/kinds/destination_rule/types.ts';
import { effectivePolicy, type MergedRule } from '../../model/destination_rule_index.ts';
import { allEndpoints, endpointsOf, serviceAccounts } from '../../model/endpoint_index.ts';
import { selectorMatches } from '../../model/labels.ts';
import { configPath } from '../../model/names.ts';
import type { PushContext } from '../../model/push_context.ts';
import type { OutboundView } from '../../model/proxy_view.ts';
import type { Endpoint, Service, ServicePort } from '../../model/service.ts';
import { buildLoadAssignment } from '../endpoint/load_assignment.ts';
import { metadataExchangeConfig } from '../listener/private_filters.ts';
import { adsSource, durationOf } from '../wire.ts';
import { istioMetadata } from './fixed_clusters.ts';
import { applyLoadBalancer, dnsRefreshRate } from './load_balancer.ts';
import { alwaysHttp2, protocolOptions, withProtocolOptions } from './protocol_options.ts';
import { applyTrafficPolicy } from './traffic_policy.ts';
import { applyUpstreamTls } from './upstream_tls.ts';

/** How hosts of a service are found by this proxy. Without capture there is no original destination to go by. */
export function discoveryType(service: Service, view: OutboundView): Cluster_DiscoveryType {
  switch (service.resolution) {
    case 'eds':
      return Cluster_DiscoveryType.EDS;
    case 'passthrough':
      return view.interceptionMode === 'NONE' || view.type === 'router'
        ? Cluster_DiscoveryType.EDS
        : Cluster_DiscoveryType.ORIGINAL_DST;
    case 'dns':
      return Cluster_DiscoveryType.STRICT_DNS;
    case 'dns_round_robin':
      return Cluster_DiscoveryType.LOGICAL_DNS;
  }
}

function subsetEndpoints(endpoints: readonly Endpoint[], subset: Subset | undefined): readonly Endpoint[] {
  if (subset === undefined) return endpoints;
  return endpoints.filter((endpoint) => selectorMatches(subset.labels, endpoint.labels));
}

function emptyCluster(
  push: PushContext,
  view: OutboundView,
  service: Service,
  port: ServicePort,
  subset: Subset | undefined,
): Cluster {
  const name = buildClusterName({
    direction: 'outbound',
    port: port.port,
    subset: subset?.name ?? '',
    host: service.hostname,
  });
  const type = discoveryType(service, view);
  const cluster = create(ClusterSchema, { name, clusterDiscoveryType: { case: 'type', value: type } });
  switch (type) {
    case Cluster_DiscoveryType.EDS:
      cluster.edsClusterConfig = {
        $typeName: 'envoy.config.cluster.v3.Cluster.EdsClusterConfig',
        edsConfig: adsSource(),
        serviceName: name,
      };
      break;
    case Cluster_DiscoveryType.ORIGINAL_DST:
      cluster.lbPolicy = 6;
      break;
    default:
      cluster.dnsLookupFamily = Cluster_DnsLookupFamily.V4_ONLY;
      cluster.dnsRefreshRate = dnsRefreshRate(push.mesh);
      cluster.respectDnsTtl = true;
      cluster.loadAssignment = buildLoadAssignment(
        name,
        subsetEndpoints(endpointsOf(push.endpoints, service, port), subset),
        undefined,
      );
  }
  return cluster;
}

function buildCluster(
  push: PushContext,
  view: OutboundView,
  service: Service,
  port: ServicePort,
  rule: MergedRule | undefined,
  subset: Subset | undefined,
): Cluster {
  const { mesh } = push;
  const policy = effectivePolicy(rule, subset, port.port);
  const cluster = emptyCluster(push, view, service, port, subset);
  applyTrafficPolicy(cluster, policy, mesh);
  applyLoadBalancer(cluster, policy, mesh, service, view.selfDiscovery);
  const meshUpgrades = mesh.config.h2UpgradePolicy === 'UPGRADE';
  withProtocolOptions(cluster, protocolOptions(port.protocol, policy.connectionPool, meshUpgrades));
  const endpoints = allEndpoints(push.endpoints, service).get(port.name) ?? [];
  applyUpstreamTls(cluster, {
    mesh,
    service,
    port,
    http2: alwaysHttp2(port.protocol, policy.connectionPool, meshUpgrades),
    subset: subset?.name ?? '',
    settings: policy.tls,
    serviceAccounts: serviceAccounts(push.endpoints, service),
    metadataExchange: view.extensions.tcpMetadataExchange,
    allEndpointsMutual: endpoints.length > 0 && endpoints.every(({ tlsMode }) => tlsMode === 'istio'),
  });
  if (view.extensions.tcpMetadataExchange) {
    cluster.filters.push(
      create(FilterSchema, { name: networkFilter.metadataExchange, typedConfig: metadataExchangeConfig() }),
    );
  }
  const from = rule?.from;
  cluster.metadata = istioMetadata({
    ...(from === undefined
      ? {}
      : { config: configPath(from.apiVersion, from.kind, from.metadata.namespace, from.metadata.name) }),
    default_original_port: port.port,
    services: [{ host: service.hostname, name: service.name, namespace: service.namespace }],
    ...(subset?.name === undefined ? {} : { subset: subset.name }),
  });
  cluster.connectTimeout ??= durationOf(mesh.connectTimeoutMs);
  return cluster;
}

/** All clusters of a service. */
export function serviceClusters(
  push: PushContext,
  view: OutboundView,
  service: Service,
  rule: MergedRule | undefined,
): readonly Cluster[] {
  const clusters: Cluster[] = [];
  for (const port of service.ports) {
    if (port.protocol === 'UDP') continue;
    clusters.push(buildCluster(push, view, service, port, rule, undefined));
    for (const subset of rule?.subsets ?? []) {
      clusters.push(buildCluster(push, view, service, port, rule, subset));
    }
  }
  return clusters;
}
