/** All that a proxy would be sent, following names from resource to resource as an xDS client does. */
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { ClusterLoadAssignment } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import type { Listener } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import type { Filter } from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import type { RouteConfiguration } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import {
  type HttpConnectionManager,
  HttpConnectionManagerSchema,
} from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import type { Proxy } from '../model/proxy.ts';
import type { PushContext } from '../model/push_context.ts';
import { buildClusters } from './clusters.ts';
import { buildEndpoints } from './endpoints.ts';
import { buildListeners } from './listeners.ts';
import { buildRoutes } from './routes.ts';

/** Resources by type. */
export interface ProxyResources {
  readonly listeners: readonly Listener[];
  readonly clusters: readonly Cluster[];
  readonly routes: readonly RouteConfiguration[];
  readonly endpoints: readonly ClusterLoadAssignment[];
}

/** The connection manager that a filter is; undefined for other filters. */
export function unpackConnectionManager(filter: Filter): HttpConnectionManager | undefined {
  return filter.configType.case === 'typedConfig'
    ? anyUnpack(filter.configType.value, HttpConnectionManagerSchema)
    : undefined;
}

/** Names of the route configurations that listeners ask for over RDS, without repetition. */
export function referencedRoutes(listeners: readonly Listener[]): string[] {
  const names = new Set<string>();
  for (const listener of listeners) {
    const chains = [
      ...listener.filterChains,
      ...(listener.defaultFilterChain === undefined ? [] : [listener.defaultFilterChain]),
    ];
    for (const filter of chains.flatMap((chain) => chain.filters)) {
      const manager = unpackConnectionManager(filter);
      if (manager?.routeSpecifier.case === 'rds') names.add(manager.routeSpecifier.value.routeConfigName);
    }
  }
  return [...names].sort();
}

/** Everything for a proxy. */
export function proxyResources(proxy: Proxy, push: PushContext): ProxyResources {
  const listeners = buildListeners(proxy, push);
  const clusters = buildClusters(proxy, push);
  const edsNames = clusters
    .filter((cluster) => cluster.edsClusterConfig !== undefined)
    .map((cluster) => cluster.edsClusterConfig?.serviceName ?? cluster.name);
  return {
    listeners,
    clusters,
    routes: buildRoutes(proxy, push, referencedRoutes(listeners)),
    endpoints: buildEndpoints(proxy, push, edsNames),
  };
}
