/** TLS and TCP rules of VirtualServices: which chain takes a connection, and where it goes. */
import type {
  L4MatchAttributes,
  RouteDestination,
  TLSMatchAttributes,
} from '#config/kinds/virtual_service/types.ts';
import { effectivePolicy } from '../../model/destination_rule_index.ts';
import { isTls } from '../../model/protocol.ts';
import type { Service, ServicePort } from '../../model/service.ts';
import type { RoutingRule } from '../../model/virtual_service_index.ts';
import { resolveDestination } from '../route/destination.ts';
import { type RouteContext, sourceApplies } from '../route/http_route.ts';
import type { WeightedTarget } from './tcp_filters.ts';

/** Where connections of one chain go. */
export interface L4Chain {
  readonly serverNames: readonly string[];
  readonly subnets: readonly string[];
  readonly targets: readonly WeightedTarget[];
  readonly statPrefix: string;
}

function targetsOf(
  routes: readonly RouteDestination[],
  rule: RoutingRule,
  context: RouteContext,
): WeightedTarget[] {
  const destinations = { ...context, namespace: rule.metadata.namespace };
  const used = routes.length === 1 ? routes : routes.filter(({ weight }) => (weight ?? 0) > 0);
  return used.flatMap(({ destination, weight }) =>
    destination === undefined
      ? []
      : { cluster: resolveDestination(destination, destinations).cluster, weight: weight ?? 1 },
  );
}

function chain(
  match:
    | { readonly sniHosts?: readonly string[]; readonly destinationSubnets?: readonly string[] }
    | undefined,
  routes: readonly RouteDestination[] | undefined,
  rule: RoutingRule,
  context: RouteContext,
): L4Chain | undefined {
  const targets = targetsOf(routes ?? [], rule, context);
  const [first] = targets;
  if (first === undefined) return undefined;
  return {
    serverNames: (match?.sniHosts ?? []).filter((name) => name !== '*'),
    subnets: match?.destinationSubnets ?? [],
    targets,
    statPrefix: targets.length === 1 ? first.cluster : `${rule.metadata.name}.${rule.metadata.namespace}`,
  };
}

/** The chains that a VirtualService gives for a port; empty when it says nothing about it. */
export function l4Chains(rule: RoutingRule, port: ServicePort, context: RouteContext): L4Chain[] {
  const out: (L4Chain | undefined)[] = [];
  const applies = (match: TLSMatchAttributes | L4MatchAttributes | undefined) =>
    sourceApplies(match, rule, context);
  if (isTls(port.protocol)) {
    for (const tls of rule.spec.tls ?? []) {
      for (const match of tls.match ?? []) {
        if (applies(match)) out.push(chain(match, tls.route, rule, context));
      }
    }
  }
  for (const tcp of rule.spec.tcp ?? []) {
    for (const match of tcp.match === undefined || tcp.match.length === 0 ? [undefined] : tcp.match) {
      if (applies(match)) out.push(chain(match, tcp.route, rule, context));
    }
  }
  return out.filter((entry) => entry !== undefined);
}

/** The chain of a port that no rule is for. TLS without an address of its own is known by its server name. */
export function defaultL4Chain(
  service: Service,
  port: ServicePort,
  context: RouteContext,
  shared: boolean,
): L4Chain {
  const { cluster } = resolveDestination(
    { host: service.hostname, port: { number: port.port } },
    { ...context, namespace: service.namespace },
  );
  return {
    serverNames: shared && isTls(port.protocol) ? [service.hostname] : [],
    subnets: [],
    targets: [{ cluster, weight: 1 }],
    statPrefix: cluster,
  };
}

/** Limits of TCP towards a service. */
export function tcpPolicy(service: Service, port: ServicePort, context: RouteContext) {
  const rule = context.view.scope.destinationRule(service, context.view.labels);
  const policy = effectivePolicy(rule, undefined, port.port);
  return {
    settings: policy.connectionPool?.tcp,
    hashSourceIp: policy.loadBalancer?.consistentHash?.useSourceIp === true,
  };
}
