/**
 * AuthorizationPolicies with action CUSTOM: a service outside decides. For each provider a first filter marks the requests
 * that its policies choose, by trial rules that never deny, and a second one asks the provider about the marked ones.
 */
import { create } from '@bufbuild/protobuf';
import { ApiVersion } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { type GrpcService, GrpcServiceSchema } from '#api/gen/envoy/config/core/v3/grpc_service_pb.ts';
import { RBAC_Action } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import {
  ExtAuthzSchema as HttpExtAuthzSchema,
  type HttpService,
  HttpServiceSchema,
} from '#api/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts';
import { ExtAuthzSchema as NetworkExtAuthzSchema } from '#api/gen/envoy/extensions/filters/network/ext_authz/v3/ext_authz_pb.ts';
import type { ListStringMatcher } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import { ListStringMatcherSchema } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import { StatusCode } from '#api/gen/envoy/type/v3/http_status_pb.ts';
import { buildClusterName } from '#api/cluster_name.ts';
import { httpFilter, networkFilter } from '#api/well_known.ts';
import type {
  EnvoyExternalAuthorizationGrpcProvider,
  EnvoyExternalAuthorizationHttpProvider,
  ExtAuthzRequestBody,
  ExtensionProvider,
} from '#config/mesh_config/extension_provider.ts';
import type { Policy } from '../../model/authorization_policy_index.ts';
import { any, durationOf, parseDuration, prefixMatch } from '../wire.ts';
import { metadataMatcher, valueMatcher } from './matchers.ts';
import { type AuthorizationFilter, buildRbac, rbacFilter, tcpStatPrefix } from './rbac_filters.ts';
import type { AuthorizationProtocol } from './rule.ts';
import { ValueMatcherSchema } from '#api/gen/envoy/type/matcher/v3/value_pb.ts';

/** What custom authorization is made from. */
export interface CustomInput {
  readonly policies: readonly Policy[];
  readonly providers: readonly ExtensionProvider[];
  /** Whether a service is known under this host name, and in this namespace when one is given. */
  readonly hasService: (hostname: string, namespace: string | undefined) => boolean;
  readonly trustDomains: readonly string[];
  readonly protocol: AuthorizationProtocol;
}

const policyPrefix = 'istio-ext-authz';
const shadowStatPrefix = 'istio_ext_authz_';
const badSuffix = '-deny-due-to-bad-CUSTOM-action';
const defaultTimeoutMs = 600_000;

interface Target {
  readonly hostname: string;
  readonly port: number;
}

/** Reads `host` or `namespace/host`; undefined when there is no such service or port. */
function findTarget(
  provider: { readonly service?: string; readonly port?: number },
  input: CustomInput,
): Target | undefined {
  const { service = '', port = 0 } = provider;
  const slash = service.indexOf('/');
  const namespace = slash < 0 ? undefined : service.slice(0, slash);
  const hostname = service.slice(slash + 1);
  if (port < 1 || port > 65_535 || !input.hasService(hostname, namespace)) return undefined;
  return { hostname, port };
}

const knownStatus: ReadonlySet<number> = new Set(Object.values(StatusCode));

/** The status that stands for a failed authorizer; undefined when the text is none. */
function statusOnError(text: string | undefined): number | undefined {
  const code = text === undefined || text === '' ? 403 : Number(text);
  return knownStatus.has(code) && code > 0 ? code : undefined;
}

function headerPatterns(names: readonly string[] | undefined): ListStringMatcher | undefined {
  if (names === undefined || names.length === 0) return undefined;
  return create(ListStringMatcherSchema, {
    patterns: names.map((name) => {
      const matcher = valueMatcher(name);
      matcher.ignoreCase = true;
      return matcher;
    }),
  });
}

function requestBody(body: ExtAuthzRequestBody | undefined) {
  if (body === undefined) return {};
  return {
    withRequestBody: {
      maxRequestBytes: body.maxRequestBytes ?? 0,
      allowPartialMessage: body.allowPartialMessage ?? false,
      packAsBytes: body.packAsBytes ?? false,
    },
  };
}

/** Only requests that the provider's policies chose. */
function enabledFor(provider: string, rbacName: string) {
  const value = create(ValueMatcherSchema, {
    matchPattern: { case: 'stringMatch', value: prefixMatch(`${policyPrefix}-${provider}`) },
  });
  return metadataMatcher(rbacName, [`${shadowStatPrefix}shadow_effective_policy_id`], value);
}

function clusterOf(target: Target): string {
  return buildClusterName({ direction: 'outbound', port: target.port, subset: '', host: target.hostname });
}

function grpcService(provider: EnvoyExternalAuthorizationGrpcProvider, target: Target): GrpcService {
  return create(GrpcServiceSchema, {
    targetSpecifier: {
      case: 'envoyGrpc',
      value: { clusterName: clusterOf(target), authority: target.hostname },
    },
    timeout: parseDuration(provider.timeout) ?? durationOf(defaultTimeoutMs),
  });
}

function httpService(provider: EnvoyExternalAuthorizationHttpProvider, target: Target): HttpService {
  const upstream = headerPatterns(provider.headersToUpstreamOnAllow);
  const onDeny = headerPatterns(provider.headersToDownstreamOnDeny);
  const onAllow = headerPatterns(provider.headersToDownstreamOnAllow);
  const added = Object.entries(provider.includeAdditionalHeadersInCheck ?? {}).sort(([a], [b]) =>
    a < b ? -1 : 1,
  );
  return create(HttpServiceSchema, {
    serverUri: {
      uri: `http://${target.hostname}`,
      httpUpstreamType: { case: 'cluster', value: clusterOf(target) },
      timeout: parseDuration(provider.timeout) ?? durationOf(defaultTimeoutMs),
    },
    pathPrefix: provider.pathPrefix ?? '',
    ...(added.length === 0
      ? {}
      : { authorizationRequest: { headersToAdd: added.map(([key, value]) => ({ key, value })) } }),
    ...(upstream === undefined && onDeny === undefined && onAllow === undefined
      ? {}
      : {
          authorizationResponse: {
            ...(upstream === undefined ? {} : { allowedUpstreamHeaders: upstream }),
            ...(onDeny === undefined ? {} : { allowedClientHeaders: onDeny }),
            ...(onAllow === undefined ? {} : { allowedClientHeadersOnSuccess: onAllow }),
          },
        }),
  });
}

/** A filter that asks; `bad` when the provider cannot be asked; `none` when it does not speak of the protocol. */
type Asking = AuthorizationFilter | 'bad' | 'none';

function askHttp(name: string, provider: ExtensionProvider, input: CustomInput): Asking {
  const grpc = provider.envoyExtAuthzGrpc;
  const http = provider.envoyExtAuthzHttp;
  const settings = grpc ?? http;
  if (settings === undefined) return 'bad';
  const target = findTarget(settings, input);
  const status = statusOnError(settings.statusOnError);
  const pathPrefix = http?.pathPrefix ?? '';
  const badPath = pathPrefix !== '' && !pathPrefix.startsWith('/');
  if (target === undefined || status === undefined || badPath) return 'bad';
  const allowedHeaders = headerPatterns(http?.includeRequestHeadersInCheck ?? http?.includeHeadersInCheck);
  return {
    name: httpFilter.extAuthz,
    typedConfig: any(HttpExtAuthzSchema, {
      services:
        grpc !== undefined
          ? { case: 'grpcService', value: grpcService(grpc, target) }
          : { case: 'httpService', value: httpService(settings, target) },
      ...(allowedHeaders === undefined ? {} : { allowedHeaders }),
      transportApiVersion: ApiVersion.V3,
      failureModeAllow: settings.failOpen ?? false,
      clearRouteCache: settings.clearRouteCache ?? false,
      statusOnError: { code: status as StatusCode },
      filterEnabledMetadata: enabledFor(name, httpFilter.rbac),
      ...requestBody(settings.includeRequestBodyInCheck),
    }),
  };
}

function askTcp(name: string, provider: ExtensionProvider, input: CustomInput): Asking {
  const grpc = provider.envoyExtAuthzGrpc;
  if (grpc === undefined) return provider.envoyExtAuthzHttp === undefined ? 'bad' : 'none';
  const target = findTarget(grpc, input);
  if (target === undefined) return 'bad';
  return {
    name: networkFilter.extAuthz,
    typedConfig: any(NetworkExtAuthzSchema, {
      statPrefix: tcpStatPrefix,
      grpcService: grpcService(grpc, target),
      failureModeAllow: grpc.failOpen ?? false,
      transportApiVersion: ApiVersion.V3,
      filterEnabledMetadata: enabledFor(name, networkFilter.rbac),
    }),
  };
}

/**
 * The filters of all CUSTOM policies. A provider that does not exist or is badly set up denies what its policies choose: a
 * missing guard must not open the door.
 */
export function customFilters(input: CustomInput): AuthorizationFilter[] {
  const byProvider = new Map<string, Policy[]>();
  for (const policy of input.policies) {
    const name = policy.spec.provider?.name ?? '';
    byProvider.set(name, [...(byProvider.get(name) ?? []), policy]);
  }
  const filters: AuthorizationFilter[] = [];
  for (const [name, policies] of byProvider) {
    const provider = input.providers.find((candidate) => candidate.name === name);
    const ask = input.protocol === 'http' ? askHttp : askTcp;
    const asking = provider === undefined ? 'bad' : ask(name, provider, input);
    if (asking === 'none') continue;
    const rbac = buildRbac(policies, {
      action: RBAC_Action.DENY,
      prefix: `${policyPrefix}-${name}-`,
      suffix: asking === 'bad' ? badSuffix : '',
      trustDomains: input.trustDomains,
      protocol: input.protocol,
    });
    if (asking === 'bad') filters.push(rbacFilter(input.protocol, rbac, undefined, ''));
    else filters.push(rbacFilter(input.protocol, undefined, rbac, shadowStatPrefix), asking);
  }
  return filters;
}
