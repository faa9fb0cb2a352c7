/** `Route.action` compiled: forwarding, redirects, direct responses. */
import {
  RouteAction_ClusterNotFoundResponseCode as NotFoundCode,
  type RetryPolicy as RetryPolicyProto,
  type Route,
  type RouteAction,
  RouteActionSchema,
  type RouteAction_RequestMirrorPolicy,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { create } from '@bufbuild/protobuf';
import type { SubstitutionFormatString } from '#api/gen/envoy/config/core/v3/substitution_format_string_pb.ts';
import type { HeaderMutation } from '#api/gen/envoy/config/common/mutation_rules/v3/mutation_rules_pb.ts';
import { RoutingPriority } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { compileHeaderFormat, type HeaderFormatContext } from '../http/header_formatter.ts';
import { compileHeaderRules, type HeaderRules } from '../http/header_rules.ts';
import type { ReplyBodyFormat } from '../http/local_reply.ts';
import { compileSubstitution } from '../http/regex.ts';
import { readDataSource } from '../network/data_source.ts';
import { durationMs } from '../network/duration.ts';
import type { RuntimeValues } from '../network/runtime.ts';
import { compileShare } from '../network/runtime_fraction.ts';
import { compileHashPolicies } from './hash_policy.ts';
import { compileInternalRedirects } from './internal_redirect_policy.ts';
import { compileRedirect } from './redirect.ts';
import { compileRetryPolicy } from './retry_policy.ts';
import type {
  ForwardAction,
  HostRewrite,
  MirrorPolicy,
  PathRewrite,
  RouteActionEntry,
} from './route_entry.ts';
import type { PrefixRewrite } from './route_match.ts';
import { refuseFields } from '../network/refused_fields.ts';

/** Response time limit of a route that names none (Envoy's default). */
const defaultTimeoutMs = 15_000;

/** What a level above the route gives when the route has none of its own. */
export interface InheritedPolicies {
  readonly retryPolicy: RetryPolicyProto | undefined;
  readonly mirrors: readonly RouteAction_RequestMirrorPolicy[];
  readonly maxDirectResponseBytes: number;
  /** Reads `DataSource.filename`; undefined refuses files. */
  readonly readFile: ((path: string) => string) | undefined;
  /** Undefined leaves formats out. */
  readonly replyBody: ((format: SubstitutionFormatString) => ReplyBodyFormat) | undefined;
  /** Undefined leaves shares and weights as the configuration has them. */
  readonly runtime: RuntimeValues | undefined;
}

function compileMutation({ action }: HeaderMutation): HeaderRules {
  const rules =
    action.case === 'remove'
      ? compileHeaderRules([], [action.value])
      : action.case === 'append'
        ? compileHeaderRules([action.value], [])
        : undefined;
  if (rules === undefined) throw new Error('request_headers_mutations: only remove and append are supported');
  return rules;
}

function compileMirror(
  policy: RouteAction_RequestMirrorPolicy,
  runtime: RuntimeValues | undefined,
): MirrorPolicy {
  refuseFields(policy, 'request_mirror_policies: ');
  return {
    cluster: policy.cluster,
    clusterHeader: policy.clusterHeader.toLowerCase(),
    fraction: compileShare(policy.runtimeFraction, 1, runtime),
    appendSuffix: !policy.disableShadowHostSuffixAppend,
    hostRewrite: policy.hostRewriteLiteral,
    rules: policy.requestHeadersMutations.map(compileMutation),
  };
}

function asFunction(text: string): (context: HeaderFormatContext) => string {
  const format = compileHeaderFormat(text);
  return typeof format === 'string' ? () => format : format;
}

function compileHostRewrite(action: RouteAction): HostRewrite {
  const { hostRewriteSpecifier: specifier } = action;
  switch (specifier.case) {
    case 'hostRewriteLiteral':
      return { kind: 'literal', host: specifier.value };
    case 'autoHostRewrite':
      return specifier.value.value ? { kind: 'auto' } : { kind: 'none' };
    case 'hostRewriteHeader':
      return { kind: 'header', name: specifier.value.toLowerCase() };
    case 'hostRewritePathRegex':
      return { kind: 'path', rewrite: compileSubstitution(specifier.value) };
    case 'hostRewrite':
      return { kind: 'format', format: asFunction(specifier.value) };
    default:
      return { kind: 'none' };
  }
}

function compilePathRewrite(action: RouteAction, replace: PrefixRewrite): PathRewrite {
  if (action.pathRewritePolicy !== undefined)
    throw new Error(`path_rewrite_policy ${action.pathRewritePolicy.name} is not supported`);
  if (action.prefixRewrite !== '') return { kind: 'prefix', replacement: action.prefixRewrite, replace };
  if (action.regexRewrite !== undefined)
    return { kind: 'regex', rewrite: compileSubstitution(action.regexRewrite) };
  if (action.pathRewrite !== '') return { kind: 'format', format: asFunction(action.pathRewrite) };
  return { kind: 'none' };
}

const notFoundStatus: Readonly<Record<number, number>> = {
  [NotFoundCode.SERVICE_UNAVAILABLE]: 503,
  [NotFoundCode.NOT_FOUND]: 404,
  [NotFoundCode.INTERNAL_SERVER_ERROR]: 500,
};

function connectOf(action: RouteAction): ForwardAction['connect'] {
  const config = action.upgradeConfigs.find((upgrade) => upgrade.connectConfig !== undefined)?.connectConfig;
  if (config === undefined) return undefined;
  if (config.proxyProtocolConfig !== undefined)
    throw new Error('upgrade_configs.connect_config.proxy_protocol_config is not supported');
  return { allowPost: config.allowPost };
}

export function compileForward(
  action: RouteAction,
  replacePrefix: PrefixRewrite,
  inherited: InheritedPolicies,
): ForwardAction {
  refuseFields(action);
  const retryPolicy = action.retryPolicy ?? inherited.retryPolicy;
  const mirrors = action.requestMirrorPolicies.length > 0 ? action.requestMirrorPolicies : inherited.mirrors;
  const { maxStreamDuration } = action;
  const headerMax = durationMs(maxStreamDuration?.grpcTimeoutHeaderMax);
  const upgrades = action.upgradeConfigs.map(
    (upgrade) => [upgrade.upgradeType.toLowerCase(), upgrade.enabled ?? true] as const,
  );
  return {
    kind: 'forward',
    clusterNotFoundStatus: notFoundStatus[action.clusterNotFoundResponseCode] ?? 503,
    timeoutMs: durationMs(action.timeout) ?? defaultTimeoutMs,
    idleTimeoutMs: durationMs(action.idleTimeout),
    maxStreamDurationMs: durationMs(maxStreamDuration?.maxStreamDuration),
    grpcTimeoutMaxMs: headerMax ?? durationMs(action.maxGrpcTimeout),
    grpcTimeoutOffsetMs:
      durationMs(maxStreamDuration?.grpcTimeoutHeaderOffset ?? action.grpcTimeoutOffset) ?? 0,
    grpcLimitsStream: headerMax !== undefined,
    hostRewrite: compileHostRewrite(action),
    appendForwardedHost: action.appendXForwardedHost,
    pathRewrite: compilePathRewrite(action, replacePrefix),
    retryPolicy: retryPolicy === undefined ? undefined : compileRetryPolicy(retryPolicy),
    priority: action.priority === RoutingPriority.HIGH ? 'high' : 'default',
    hashPolicy: compileHashPolicies(action.hashPolicy),
    metadataMatch: action.metadataMatch?.filterMetadata['envoy.lb'],
    mirrors: mirrors.map((policy) => compileMirror(policy, inherited.runtime)),
    upgrades: upgrades.length === 0 ? undefined : new Map(upgrades),
    connect: connectOf(action),
    redirects: compileInternalRedirects(action.internalRedirectPolicy),
  };
}

function refuseFiles(): string {
  throw new Error('files are not read here');
}

/** The action of a route; throws Error for what is malformed or not supported. */
export function compileAction(
  route: Route,
  replacePrefix: PrefixRewrite,
  inherited: InheritedPolicies,
): RouteActionEntry {
  const { action } = route;
  switch (action.case) {
    case 'route':
      return compileForward(action.value, replacePrefix, inherited);
    case 'redirect':
      return compileRedirect(action.value, replacePrefix);
    case 'directResponse': {
      const body = readDataSource(action.value.body, inherited.readFile ?? refuseFiles);
      if (Buffer.byteLength(body) > inherited.maxDirectResponseBytes)
        throw new Error(`response body is longer than ${inherited.maxDirectResponseBytes} bytes`);
      const { bodyFormat } = action.value;
      const format = bodyFormat === undefined ? undefined : inherited.replyBody?.(bodyFormat);
      return { kind: 'direct', status: action.value.status, body, format };
    }
    case 'nonForwardingAction':
    case 'filterAction':
      // For filters that answer; the router finds no cluster.
      return compileForward(create(RouteActionSchema), replacePrefix, inherited);
    default:
      throw new Error('route without an action');
  }
}
