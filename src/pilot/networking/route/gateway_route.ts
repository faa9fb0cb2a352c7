/** Route configurations of gateways: VirtualServices that are bound to them, by host. */
import { create } from '@bufbuild/protobuf';
import {
  type RouteConfiguration,
  RouteConfigurationSchema,
} from '#api/gen/envoy/config/route/v3/route_pb.ts';
import {
  type Route,
  type VirtualHost,
  VirtualHost_TlsRequirementType,
  VirtualHostSchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { visibleIn } from '../../model/config_object.ts';
import {
  type GatewayPort,
  type GatewayServer,
  gatewayPorts,
  gatewayRouteName,
  routesHttp,
  serverHosts,
} from '../../model/gateway_server.ts';
import { hostsOverlap, hostWithin } from '../../model/hosts.ts';
import type { Proxy } from '../../model/proxy.ts';
import { outboundView, type OutboundView } from '../../model/proxy_view.ts';
import { memoize, type PushContext } from '../../model/push_context.ts';
import type { RoutingRule } from '../../model/virtual_service_index.ts';
import { httpRoutes } from './http_route.ts';
import { isCatchAll } from './route_match.ts';

/** Longest body of a direct response that Istio allows, in bytes. */
const maxDirectResponseBytes = 1024 * 1024;

interface HostRoutes {
  readonly servicePort: number;
  readonly routes: Route[];
  readonly httpsRedirect: boolean;
}

/** VirtualServices of a server, oldest first, that its proxy may see. */
export function serverRules(
  push: PushContext,
  view: OutboundView,
  entry: GatewayServer,
): readonly RoutingRule[] {
  const defaults = push.mesh.config.defaultVirtualServiceExportTo ?? ['*'];
  return (push.virtualServices.byGateway.get(entry.gatewayName) ?? []).filter((rule) =>
    visibleIn(rule.spec.exportTo, defaults, rule.metadata.namespace, view.namespace),
  );
}

/** Hosts that a rule and a server have in common: of each pair the narrower. */
export function commonHosts(rule: RoutingRule, entry: GatewayServer): readonly string[] {
  const hosts = new Set<string>();
  for (const server of serverHosts(entry)) {
    if (server.namespace !== '*' && server.namespace !== rule.metadata.namespace) continue;
    for (const host of rule.hosts) {
      if (hostsOverlap(host, server.host)) hosts.add(hostWithin(host, server.host) ? host : server.host);
    }
  }
  return [...hosts];
}

function addServer(
  push: PushContext,
  view: OutboundView,
  entry: GatewayServer,
  hosts: Map<string, HostRoutes>,
): void {
  const httpsRedirect = entry.server.tls?.httpsRedirect === true;
  for (const rule of serverRules(push, view, entry)) {
    const common = commonHosts(rule, entry);
    if (common.length === 0) continue;
    const routes = httpRoutes(rule, {
      push,
      view,
      listenPort: entry.servicePort,
      gateways: new Set([entry.gatewayName]),
    });
    for (const host of common) {
      const present = hosts.get(host);
      if (present === undefined) {
        hosts.set(host, { servicePort: entry.servicePort, routes: [...routes], httpsRedirect });
      } else present.routes.push(...routes);
    }
  }
  if (!httpsRedirect) return;
  for (const { host } of serverHosts(entry)) {
    if (!hosts.has(host)) hosts.set(host, { servicePort: entry.servicePort, routes: [], httpsRedirect });
  }
}

/** Rules of several objects for one host are merged; those for everything go last, or they would hide the others. */
function inOrder(routes: readonly Route[]): Route[] {
  const rest = routes.filter((route) => !isCatchAll(route.match));
  return [...rest, ...routes.filter((route) => isCatchAll(route.match))];
}

function buildHosts(hosts: ReadonlyMap<string, HostRoutes>, port: number): VirtualHost[] {
  if (hosts.size === 0) return [create(VirtualHostSchema, { name: `blackhole:${port}`, domains: ['*'] })];
  return [...hosts].map(([host, { servicePort, routes, httpsRedirect }]) =>
    create(VirtualHostSchema, {
      name: `${host}:${servicePort}`,
      domains: [host],
      routes: inOrder(routes),
      includeRequestAttemptCount: true,
      requireTls: httpsRedirect ? VirtualHost_TlsRequirementType.ALL : VirtualHost_TlsRequirementType.NONE,
    }),
  );
}

/** Servers by the route configuration they ask for. */
function serversByRoute(
  push: PushContext,
  ports: readonly GatewayPort[],
): ReadonlyMap<string, { readonly port: number; readonly servers: GatewayServer[] }> {
  // The ports are one object for all proxies that have the same ones.
  const known = memoize(push, 'gateway routes', () => new WeakMap<readonly GatewayPort[], ServersByRoute>());
  const present = known.get(ports);
  if (present !== undefined) return present;
  const byRoute: ServersByRoute = new Map();
  for (const port of ports) {
    for (const entry of port.servers) {
      if (!routesHttp(entry)) continue;
      const name = gatewayRouteName(port, entry);
      const route = byRoute.get(name);
      if (route === undefined) byRoute.set(name, { port: port.port, servers: [entry] });
      else route.servers.push(entry);
    }
  }
  known.set(ports, byRoute);
  return byRoute;
}

type ServersByRoute = Map<string, { readonly port: number; readonly servers: GatewayServer[] }>;

/** A route configuration of a gateway by name; undefined for names that stand for nothing. */
export function gatewayRoute(push: PushContext, proxy: Proxy, name: string): RouteConfiguration | undefined {
  const view = outboundView(push, proxy);
  const route = serversByRoute(push, gatewayPorts(push, proxy)).get(name);
  if (route === undefined) return undefined;
  const hosts = new Map<string, HostRoutes>();
  for (const entry of route.servers) addServer(push, view, entry, hosts);
  return create(RouteConfigurationSchema, {
    name,
    virtualHosts: buildHosts(hosts, route.port),
    validateClusters: false,
    maxDirectResponseBodySizeBytes: maxDirectResponseBytes,
    ignorePortInHostMatching: true,
  });
}
