/** The HTTP rules of a VirtualService as Envoy's routes, for one kind of caller and one port. */
import { create } from '@bufbuild/protobuf';
import {
  type Route,
  type RouteMatch,
  RouteSchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { HTTPMatchRequest, HTTPRoute } from '#config/kinds/virtual_service/types.ts';
import { selectorMatches } from '../../model/labels.ts';
import { configPath } from '../../model/names.ts';
import type { OutboundView } from '../../model/proxy_view.ts';
import type { PushContext } from '../../model/push_context.ts';
import type { Service } from '../../model/service.ts';
import { meshGateway, resolveGateway, type RoutingRule } from '../../model/virtual_service_index.ts';
import { istioMetadata } from '../cluster/fixed_clusters.ts';
import type { DestinationContext } from './destination.ts';
import { directResponse, forwardAction, redirectAction, timeoutFields } from './http_action.ts';
import { headerFields } from './header_operations.ts';
import { hashPolicy } from './hash_policy.ts';
import { retryPolicy } from './retry_policy.ts';
import { routeFilters } from './route_filters.ts';
import { isCatchAll, routeMatch } from './route_match.ts';
import { buildClusterName } from '#api/cluster_name.ts';
import { effectivePolicy } from '../../model/destination_rule_index.ts';

/** What routes are built for. */
export interface RouteContext {
  readonly push: PushContext;
  readonly view: OutboundView;
  /** Port of the listener; for the explicit HTTP proxy, of the service asked for. */
  readonly listenPort: number;
  /** `mesh`, or the gateways that share the listener. */
  readonly gateways: ReadonlySet<string>;
}

/** Whether the conditions that are known before any request hold: who calls, through what, on which port. */
export function sourceApplies(
  match: Pick<HTTPMatchRequest, 'gateways' | 'port' | 'sourceLabels' | 'sourceNamespace'> | undefined,
  rule: RoutingRule,
  context: RouteContext,
): boolean {
  if (match === undefined) return true;
  const named = (match.gateways ?? []).map((name) => resolveGateway(name, rule.metadata.namespace));
  if (named.length > 0 && !named.some((name) => context.gateways.has(name))) return false;
  if (context.gateways.has(meshGateway) && !selectorMatches(match.sourceLabels, context.view.labels))
    return false;
  if (match.sourceNamespace !== undefined && match.sourceNamespace !== context.view.namespace) return false;
  return (match.port ?? 0) === 0 || match.port === context.listenPort;
}

/** `reviews.default.svc.cluster.local:9080/*`: how a span of the route is called. */
function operation(host: string, port: number, match: RouteMatch): string {
  const path = match.pathSpecifier;
  switch (path.case) {
    case 'path':
      return `${host}:${port}${path.value}`;
    case 'prefix':
      return `${host}:${port}${path.value}*`;
    case 'safeRegex':
      return `${host}:${port}${path.value.regex}`;
    default:
      return `${host}:${port}/*`;
  }
}

/** Host and port that a span is named after: those of the only cluster, else the name of the VirtualService. */
function operationOwner(route: Route, rule: RoutingRule, listenPort: number): [string, number] {
  if (route.action.case === 'route' && route.action.value.clusterSpecifier.case === 'cluster') {
    const [, port, , host] = route.action.value.clusterSpecifier.value.split('|');
    if (host !== undefined) return [host, Number(port)];
  }
  return [rule.metadata.name, listenPort];
}

function joinNames(rule: HTTPRoute, match: HTTPMatchRequest | undefined): string {
  return [rule.name ?? '', match?.name ?? ''].filter((name) => name !== '').join('.');
}

function buildRoute(
  rule: RoutingRule,
  http: HTTPRoute,
  match: HTTPMatchRequest | undefined,
  context: RouteContext,
): Route {
  const destinations: DestinationContext = { ...context, namespace: rule.metadata.namespace };
  const routeMatcher = routeMatch(match);
  const { metadata } = rule;
  const route = create(RouteSchema, {
    name: joinNames(http, match),
    match: routeMatcher,
    metadata: istioMetadata({
      config: configPath(rule.apiVersion, rule.kind, metadata.namespace, metadata.name),
    }),
    statPrefix: match?.statPrefix ?? '',
    ...headerFields(http.headers),
    typedPerFilterConfig: routeFilters(http.fault, http.corsPolicy),
  });
  if (http.redirect !== undefined) {
    route.action = { case: 'redirect', value: redirectAction(http.redirect, context.listenPort) };
  } else if (http.directResponse !== undefined) {
    route.action = directResponse(http.directResponse);
  } else {
    route.action = { case: 'route', value: forwardAction(http, routeMatcher, destinations) };
  }
  route.decorator = {
    $typeName: 'envoy.config.route.v3.Decorator',
    operation: operation(...operationOwner(route, rule, context.listenPort), routeMatcher),
  };
  return route;
}

/** Routes in the order of the rules; what stands after a rule for everything is never reached and left out. */
export function httpRoutes(rule: RoutingRule, context: RouteContext): Route[] {
  const routes: Route[] = [];
  for (const http of rule.spec.http ?? []) {
    if (http.delegate !== undefined) continue;
    for (const match of http.match === undefined || http.match.length === 0 ? [undefined] : http.match) {
      if (!sourceApplies(match, rule, context)) continue;
      const route = buildRoute(rule, http, match, context);
      routes.push(route);
      if (isCatchAll(route.match)) return routes;
    }
  }
  return routes;
}

/** The route to a service that no VirtualService is for. */
export function defaultRoute(service: Service, port: number, push: PushContext, view: OutboundView): Route {
  const rule = view.scope.destinationRule(service, view.labels);
  const hash = hashPolicy(effectivePolicy(rule, undefined, port).loadBalancer?.consistentHash);
  const retries = retryPolicy(undefined, push.mesh.config.defaultHttpRetryPolicy, hash !== undefined);
  return create(RouteSchema, {
    name: 'default',
    match: { pathSpecifier: { case: 'prefix', value: '/' } },
    action: {
      case: 'route',
      value: {
        clusterSpecifier: {
          case: 'cluster',
          value: buildClusterName({ direction: 'outbound', port, subset: '', host: service.hostname }),
        },
        ...timeoutFields(undefined),
        ...(retries === undefined ? {} : { retryPolicy: retries }),
        hashPolicy: hash === undefined ? [] : [hash],
      },
    },
    decorator: { operation: `${service.hostname}:${port}/*` },
  });
}
