/** What a rule does with a request: forward, redirect, or answer itself. */
import { create } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import {
  type RedirectAction,
  RedirectAction_RedirectResponseCode,
  RedirectActionSchema,
  type Route,
  type RouteAction,
  RouteActionSchema,
  RouteSchema,
  type RouteMatch,
  WeightedCluster_ClusterWeightSchema,
  RouteAction_RequestMirrorPolicySchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type {
  HTTPDirectResponse,
  HTTPRedirect,
  HTTPRoute,
  HTTPRouteDestination,
} from '#config/kinds/virtual_service/types.ts';
import { durationOf, parseDuration } from '../wire.ts';
import { type DestinationContext, resolveDestination } from './destination.ts';
import { hashPolicy } from './hash_policy.ts';
import { authorityOf, headerFields } from './header_operations.ts';
import { retryPolicy } from './retry_policy.ts';
import { fraction } from './route_filters.ts';

/** A limit for the whole request; grpc-timeout may ask for less. Zero is no limit. */
export function timeoutFields(timeout: Duration | undefined) {
  const limit = timeout ?? durationOf(0);
  return {
    timeout: limit,
    maxStreamDuration: { grpcTimeoutHeaderMax: limit },
  };
}

function setClusters(
  action: RouteAction,
  destinations: readonly HTTPRouteDestination[],
  context: DestinationContext,
): void {
  const weighted =
    destinations.length === 1 ? destinations : destinations.filter(({ weight }) => (weight ?? 0) > 0);
  const [first] = weighted;
  if (first?.destination === undefined) return;
  if (weighted.length === 1 && first.headers === undefined) {
    action.clusterSpecifier = {
      case: 'cluster',
      value: resolveDestination(first.destination, context).cluster,
    };
    return;
  }
  action.clusterSpecifier = {
    case: 'weightedClusters',
    value: {
      $typeName: 'envoy.config.route.v3.WeightedCluster',
      runtimeKeyPrefix: '',
      randomValueSpecifier: { case: undefined },
      clusters: weighted.flatMap(({ destination, weight, headers }) => {
        if (destination === undefined) return [];
        const authority = authorityOf(headers);
        return create(WeightedCluster_ClusterWeightSchema, {
          name: resolveDestination(destination, context).cluster,
          weight: weighted.length === 1 ? 100 : (weight ?? 0),
          ...headerFields(headers),
          ...(authority === undefined
            ? {}
            : { hostRewriteSpecifier: { case: 'hostRewriteLiteral', value: authority } }),
        });
      }),
    },
  };
}

/** Copies to other services; their Host header stays as it is. */
function mirrorPolicies(rule: HTTPRoute, context: DestinationContext) {
  const oldShare = rule.mirrorPercent === undefined ? undefined : { value: rule.mirrorPercent };
  const mirrors = [
    ...(rule.mirror === undefined
      ? []
      : [{ destination: rule.mirror, percentage: rule.mirrorPercentage ?? oldShare }]),
    ...(rule.mirrors ?? []),
  ];
  return mirrors.flatMap(({ destination, percentage }) =>
    destination === undefined
      ? []
      : create(RouteAction_RequestMirrorPolicySchema, {
          cluster: resolveDestination(destination, context).cluster,
          runtimeFraction: { defaultValue: fraction(percentage, 100) },
          disableShadowHostSuffixAppend: true,
        }),
  );
}

function applyRewrite(action: RouteAction, rule: HTTPRoute, match: RouteMatch): void {
  const { rewrite } = rule;
  const authority = rewrite?.authority ?? authorityOf(rule.headers);
  if (authority !== undefined) action.hostRewriteSpecifier = { case: 'hostRewriteLiteral', value: authority };
  const pattern = rewrite?.uriRegexRewrite?.match ?? '';
  const byRegex = (regex: string, substitution: string) => {
    action.regexRewrite = {
      $typeName: 'envoy.type.matcher.v3.RegexMatchAndSubstitute',
      pattern: { $typeName: 'envoy.type.matcher.v3.RegexMatcher', engineType: { case: undefined }, regex },
      substitution,
    };
  };
  if (pattern !== '') return byRegex(pattern, rewrite?.uriRegexRewrite?.rewrite ?? '');
  if (rewrite?.uri === undefined) return;
  if (match.pathSpecifier.case === 'safeRegex') byRegex(match.pathSpecifier.value.regex, rewrite.uri);
  else action.prefixRewrite = rewrite.uri;
}

/** Forwards to the destinations of a rule. */
export function forwardAction(rule: HTTPRoute, match: RouteMatch, context: DestinationContext): RouteAction {
  const action = create(RouteActionSchema, timeoutFields(parseDuration(rule.timeout)));
  const destinations = rule.route ?? [];
  setClusters(action, destinations, context);
  const hashes = destinations.flatMap(({ destination }) => {
    const hash = destination === undefined ? undefined : resolveDestination(destination, context).hash;
    return hashPolicy(hash) ?? [];
  });
  action.hashPolicy = hashes;
  action.retryPolicy = retryPolicy(
    rule.retries,
    context.push.mesh.config.defaultHttpRetryPolicy,
    hashes.length > 0,
  );
  action.requestMirrorPolicies = mirrorPolicies(rule, context);
  applyRewrite(action, rule, match);
  return action;
}

const redirectCodes: Readonly<Record<number, RedirectAction_RedirectResponseCode>> = {
  301: RedirectAction_RedirectResponseCode.MOVED_PERMANENTLY,
  302: RedirectAction_RedirectResponseCode.FOUND,
  303: RedirectAction_RedirectResponseCode.SEE_OTHER,
  307: RedirectAction_RedirectResponseCode.TEMPORARY_REDIRECT,
  308: RedirectAction_RedirectResponseCode.PERMANENT_REDIRECT,
};

/** Answers with a redirect. */
export function redirectAction(redirect: HTTPRedirect, listenPort: number): RedirectAction {
  const port =
    redirect.port ??
    (redirect.derivePort === 'FROM_PROTOCOL_DEFAULT'
      ? redirect.scheme === 'https'
        ? 443
        : 80
      : redirect.derivePort === 'FROM_REQUEST_PORT'
        ? listenPort
        : 0);
  return create(RedirectActionSchema, {
    hostRedirect: redirect.authority ?? '',
    portRedirect: port,
    responseCode: redirectCodes[redirect.redirectCode ?? 301] ?? redirectCodes[301] ?? 0,
    ...(redirect.scheme === undefined
      ? {}
      : { schemeRewriteSpecifier: { case: 'schemeRedirect', value: redirect.scheme } }),
    ...(redirect.prefixRewrite !== undefined
      ? { pathRewriteSpecifier: { case: 'prefixRewrite', value: redirect.prefixRewrite } }
      : redirect.uri !== undefined
        ? { pathRewriteSpecifier: { case: 'pathRedirect', value: redirect.uri } }
        : {}),
  });
}

/** Answers with a fixed response. */
export function directResponse(response: HTTPDirectResponse): Route['action'] {
  const { body, status } = response;
  const message = create(RouteSchema, {
    action: {
      case: 'directResponse',
      value: {
        status: status ?? 200,
        ...(body?.string !== undefined
          ? { body: { specifier: { case: 'inlineString', value: body.string } } }
          : body?.bytes !== undefined
            ? { body: { specifier: { case: 'inlineBytes', value: Buffer.from(body.bytes, 'base64') } } }
            : {}),
      },
    },
  });
  return message.action;
}
