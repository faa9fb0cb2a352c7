/** Route configurations of sidecars: `9080` for a port, `host:port` for a service whose protocol is sniffed, `http_proxy`. */
import { create } from '@bufbuild/protobuf';
import {
  type RouteConfiguration,
  RouteConfigurationSchema,
} from '#api/gen/envoy/config/route/v3/route_pb.ts';
import {
  type Route,
  RouteSchema,
  type VirtualHost,
  VirtualHostSchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { fixedCluster, virtualHostName } from '#api/well_known.ts';
import { compareSpecificity, hostWithin } from '../../model/hosts.ts';
import { httpProxyRoute } from '../../model/names.ts';
import { isHttp, type Protocol } from '../../model/protocol.ts';
import type { OutboundView } from '../../model/proxy_view.ts';
import type { EgressListener } from '../../model/proxy_scope.ts';
import { memoize, type PushContext } from '../../model/push_context.ts';
import { type Service, servicePort } from '../../model/service.ts';
import { meshGateway, type RoutingRule } from '../../model/virtual_service_index.ts';
import { resolveDestination } from './destination.ts';
import { serviceDomains, withPort } from './domains.ts';
import { timeoutFields } from './http_action.ts';
import { defaultRoute, httpRoutes } from './http_route.ts';

/** Longest body of a direct response that Istio allows, in bytes. */
const maxDirectResponseBytes = 1024 * 1024;

const meshGateways: ReadonlySet<string> = new Set([meshGateway]);

/** Finds the rule for a host: an exact name first, then the longest wildcard; of equals, the oldest. */
export interface RuleFinder {
  find(hostname: string): RoutingRule | undefined;
  /** Hosts of rules, each with the rule that holds for it. */
  readonly hosts: ReadonlyMap<string, RoutingRule>;
}

/** Indexes rules by host. Rules without HTTP part are for other listeners. */
export function ruleFinder(rules: readonly RoutingRule[]): RuleFinder {
  const hosts = new Map<string, RoutingRule>();
  for (const rule of rules) {
    if ((rule.spec.http ?? []).length === 0) continue;
    for (const host of rule.hosts) if (!hosts.has(host)) hosts.set(host, rule);
  }
  const wildcards = [...hosts.keys()].filter((host) => host.startsWith('*')).sort(compareSpecificity);
  return {
    hosts,
    find(hostname) {
      const exact = hosts.get(hostname);
      if (exact !== undefined) return exact;
      const wildcard = wildcards.find((host) => hostWithin(hostname, host));
      return wildcard === undefined ? undefined : hosts.get(wildcard);
    },
  };
}

/** Domains must be unique in a route configuration; the first virtual host that asks for one has it. */
class DomainSet {
  readonly #taken = new Set<string>();

  take(domains: readonly string[]): string[] {
    const free: string[] = [];
    for (const domain of domains) {
      const key = domain.toLowerCase();
      if (this.#taken.has(key)) continue;
      this.#taken.add(key);
      free.push(domain);
    }
    return free;
  }
}

function virtualHost(name: string, domains: string[], routes: Route[]): VirtualHost {
  return create(VirtualHostSchema, { name, domains, routes, includeRequestAttemptCount: true });
}

/** Hosts that nobody knows: passed on, sent to the egress proxy, or answered with 502. */
function catchAllHost(push: PushContext, view: OutboundView): VirtualHost {
  const match = { pathSpecifier: { case: 'prefix' as const, value: '/' } };
  if (!view.scope.allowAnyOutbound) {
    return virtualHost(
      virtualHostName.blockAll,
      ['*'],
      [
        create(RouteSchema, {
          name: virtualHostName.blockAll,
          match,
          action: { case: 'directResponse', value: { status: 502 } },
        }),
      ],
    );
  }
  const proxy = view.scope.sidecar?.spec.outboundTrafficPolicy?.egressProxy;
  const cluster =
    proxy === undefined
      ? fixedCluster.passthrough
      : resolveDestination(proxy, { push, view, namespace: view.namespace, listenPort: 0 }).cluster;
  return virtualHost(
    virtualHostName.allowAny,
    ['*'],
    [
      create(RouteSchema, {
        name: virtualHostName.allowAny,
        match,
        action: {
          case: 'route',
          value: { clusterSpecifier: { case: 'cluster', value: cluster }, ...timeoutFields(undefined) },
        },
      }),
    ],
  );
}

/** Whether requests to a port of this protocol go through a route configuration. */
export function isRouted(protocol: Protocol): boolean {
  return isHttp(protocol) || protocol === 'Auto';
}

function serviceHost(
  push: PushContext,
  view: OutboundView,
  service: Service,
  port: number,
  rule: RoutingRule | undefined,
  domains: string[],
): VirtualHost {
  const routes =
    rule === undefined
      ? [defaultRoute(service, port, push, view)]
      : httpRoutes(rule, { push, view, listenPort: port, gateways: meshGateways });
  return virtualHost(`${service.hostname}:${port}`, domains, routes);
}

/** Virtual hosts of services and rules on one port. */
function portHosts(
  push: PushContext,
  view: OutboundView,
  listeners: readonly EgressListener[],
  port: number,
  taken: DomainSet,
  finish: (domains: readonly string[]) => readonly string[],
): VirtualHost[] {
  const hosts: VirtualHost[] = [];
  for (const listener of listeners) {
    const finder = memoize(push, `rules ${view.key} ${view.scope.egress.indexOf(listener)}`, () =>
      ruleFinder(listener.virtualServices),
    );
    for (const service of listener.services) {
      const found = servicePort(service, port);
      if (found === undefined || !isRouted(found.protocol)) continue;
      const domains = taken.take(finish(serviceDomains(service, view.namespace, push.mesh)));
      if (domains.length === 0) continue;
      hosts.push(serviceHost(push, view, service, port, finder.find(service.hostname), domains));
    }
    // Rules for hosts outside the registry are for the port of HTTP.
    if (port !== 80) continue;
    for (const [host, rule] of finder.hosts) {
      const known = host.startsWith('*')
        ? listener.services.some((service) => hostWithin(service.hostname, host))
        : view.scope.byHostname.has(host);
      const domains = known ? [] : taken.take(finish([host]));
      if (domains.length === 0) continue;
      const routes = httpRoutes(rule, { push, view, listenPort: port, gateways: meshGateways });
      hosts.push(virtualHost(`${host}:${port}`, domains, routes));
    }
  }
  return hosts;
}

function configuration(name: string, virtualHosts: VirtualHost[], ignorePort: boolean): RouteConfiguration {
  return create(RouteConfigurationSchema, {
    name,
    virtualHosts,
    validateClusters: false,
    maxDirectResponseBodySizeBytes: maxDirectResponseBytes,
    ignorePortInHostMatching: ignorePort,
  });
}

/** Egress listeners that a port belongs to: those for this port, else those for every port. */
function listenersFor(view: OutboundView, port: number): readonly EgressListener[] {
  const own = view.scope.egress.filter(({ config }) => config?.port?.number === port);
  return own.length > 0 ? own : view.scope.egress.filter(({ config }) => config?.port === undefined);
}

function portRoute(push: PushContext, view: OutboundView, name: string, port: number): RouteConfiguration {
  const hosts = portHosts(push, view, listenersFor(view, port), port, new DomainSet(), (domains) => domains);
  return configuration(name, [...hosts, catchAllHost(push, view)], true);
}

/** For a service with an address of its own and a sniffed protocol: whatever the Host header says, it is this service. */
function sniffedRoute(
  push: PushContext,
  view: OutboundView,
  name: string,
  hostname: string,
  port: number,
): RouteConfiguration | undefined {
  const service = view.scope.byHostname.get(hostname);
  if (service === undefined || servicePort(service, port) === undefined) return undefined;
  const rules = listenersFor(view, port).flatMap(({ virtualServices }) => virtualServices);
  const finder = memoize(push, `all rules ${view.key} ${port}`, () => ruleFinder(rules));
  const host = serviceHost(push, view, service, port, finder.find(hostname), ['*']);
  return configuration(name, [host], true);
}

/** For callers that name the service in an absolute request target: all services on all their HTTP ports. */
function proxyRoute(push: PushContext, view: OutboundView): RouteConfiguration {
  const ports = new Set(
    view.scope.services.flatMap((service) =>
      service.ports.filter(({ protocol }) => isRouted(protocol)).map(({ port }) => port),
    ),
  );
  const taken = new DomainSet();
  const hosts = [...ports.add(80)]
    .sort((a, b) => a - b)
    .flatMap((port) =>
      portHosts(push, view, listenersFor(view, port), port, taken, (domains) => withPort(domains, port)),
    );
  return configuration(httpProxyRoute, [...hosts, catchAllHost(push, view)], false);
}

/** A route configuration of a sidecar by name; undefined for names that stand for nothing. */
export function sidecarRoute(
  push: PushContext,
  view: OutboundView,
  name: string,
): RouteConfiguration | undefined {
  return memoize(push, `route ${name} ${view.key}`, () => {
    if (name === httpProxyRoute) return proxyRoute(push, view);
    if (/^\d{1,5}$/.test(name)) return portRoute(push, view, name, Number(name));
    const colon = name.lastIndexOf(':');
    const port = Number(name.slice(colon + 1));
    return colon > 0 && Number.isInteger(port)
      ? sniffedRoute(push, view, name, name.slice(0, colon), port)
      : undefined;
  });
}
