/** Asks an authorization service by gRPC (envoy.service.auth.v3.Authorization). */
import type { ExtAuthz } from '#api/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts';
import type { GrpcService } from '#api/gen/envoy/config/core/v3/grpc_service_pb.ts';
import {
  type HeaderValueOption,
  HeaderValueOption_HeaderAppendAction as Action,
} from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  Authorization,
  type CheckResponse,
  type DeniedHttpResponse,
} from '#api/gen/envoy/service/auth/v3/external_auth_pb.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { GrpcCall, type GrpcTarget, readGrpcService } from '../../../upstream/async_client/grpc_call.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { buildCheckRequest, type CheckRequestSettings } from './check_request.ts';
import { compileNames } from './settings.ts';
import {
  type Check,
  type CheckBody,
  type Denied,
  failed,
  noResponseChanges,
  type OnVerdict,
  type Pair,
  type ResponseChanges,
  type Verdict,
} from './verdict.ts';

/** Envoy's timeout for services that name none. */
const defaultTimeoutMs = 200;

/** A gRPC service, compiled. */
export interface GrpcAuthorizer {
  readonly target: GrpcTarget;
  readonly request: CheckRequestSettings;
}

/** @throws Error that names the field which cannot be run. */
export function compileGrpcService(service: GrpcService, filter: ExtAuthz): GrpcAuthorizer {
  return {
    target: readGrpcService(service, defaultTimeoutMs),
    request: {
      allowed: compileNames(filter.allowedHeaders),
      disallowed: compileNames(filter.disallowedHeaders),
      metadataNamespaces: filter.metadataContextNamespaces,
      routeMetadataNamespaces: filter.routeMetadataContextNamespaces,
      includePeerCertificate: filter.includePeerCertificate,
      includeTlsSession: filter.includeTlsSession,
      encodeRawHeaders: filter.encodeRawHeaders,
    },
  };
}

function pairOf({ header }: HeaderValueOption): Pair {
  const raw = header?.rawValue;
  const value =
    raw !== undefined && raw.length > 0 ? Buffer.from(raw).toString('latin1') : (header?.value ?? '');
  return [(header?.key ?? '').toLowerCase(), value];
}

/** The deprecated `append` decides for requests and refusals: absent means replace. */
function split(options: readonly HeaderValueOption[]): { set: Pair[]; append: Pair[] } {
  const set: Pair[] = [];
  const append: Pair[] = [];
  for (const option of options) (option.append === true ? append : set).push(pairOf(option));
  return { set, append };
}

function responseChanges(options: readonly HeaderValueOption[]): ResponseChanges {
  if (options.length === 0) return noResponseChanges;
  const changes = {
    add: [] as Pair[],
    set: [] as Pair[],
    addIfAbsent: [] as Pair[],
    overwriteIfExists: [] as Pair[],
  };
  for (const option of options) {
    const pair = pairOf(option);
    if (option.append !== undefined) (option.append ? changes.add : changes.set).push(pair);
    else if (option.appendAction === Action.ADD_IF_ABSENT) changes.addIfAbsent.push(pair);
    else if (option.appendAction === Action.OVERWRITE_IF_EXISTS) changes.overwriteIfExists.push(pair);
    else if (option.appendAction === Action.OVERWRITE_IF_EXISTS_OR_ADD) changes.set.push(pair);
    else changes.add.push(pair);
  }
  return changes;
}

function denied(response: DeniedHttpResponse | undefined, metadata: Denied['metadata']): Denied {
  const { set, append } = split(response?.headers ?? []);
  return {
    kind: 'denied',
    status: response?.status?.code ?? 0,
    body: response?.body ?? '',
    set,
    append,
    metadata,
  };
}

function readAnswer(response: CheckResponse): Verdict {
  const { httpResponse } = response;
  const code = response.status?.code ?? 0;
  if (httpResponse.case === 'errorResponse')
    return { kind: 'failed', reply: denied(httpResponse.value, undefined) };
  if (code !== 0)
    return denied(
      httpResponse.case === 'deniedResponse' ? httpResponse.value : undefined,
      response.dynamicMetadata,
    );
  const ok = httpResponse.case === 'okResponse' ? httpResponse.value : undefined;
  const { set, append } = split(ok?.headers ?? []);
  return {
    kind: 'allowed',
    set,
    add: [],
    append,
    remove: (ok?.headersToRemove ?? []).map((name) => name.toLowerCase()),
    response: responseChanges(ok?.responseHeadersToAdd ?? []),
    querySet: (ok?.queryParametersToSet ?? []).map(({ key, value }) => [key, value] as const),
    queryRemove: ok?.queryParametersToRemove ?? [],
    metadata: response.dynamicMetadata ?? ok?.dynamicMetadata,
  };
}

/** Asks; the answer may come inside the call. */
export function checkByGrpc(
  authorizer: GrpcAuthorizer,
  clusters: ClusterManager,
  request: RequestHeaderMap,
  info: StreamInfo,
  route: RouteEntry | undefined,
  contextExtensions: Readonly<Record<string, string>>,
  body: CheckBody | undefined,
  onVerdict: OnVerdict,
): Check {
  const message = buildCheckRequest(authorizer.request, request, info, route, contextExtensions, body);
  const call = new GrpcCall(
    authorizer.target,
    Authorization.method.check,
    message,
    {
      onResponse: (response) => onVerdict(readAnswer(response)),
      onFailure: () => onVerdict(failed),
    },
    info.connection,
  );
  call.start(clusters);
  return call;
}
