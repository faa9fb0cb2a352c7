/** Asks an authorization service by HTTP: the request's own head goes to it, its status is the answer. */
import type {
  ExtAuthz,
  HttpService,
} from '#api/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { RequestHeaderMap, type ResponseHeaderMap } from '../../../http/header_map.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { durationMs } from '../../../network/duration.ts';
import { HttpCall } from '../../../upstream/async_client/http_call.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { compileNames, type NamePredicate } from './settings.ts';
import {
  type Check,
  type CheckBody,
  failed,
  noResponseChanges,
  type OnVerdict,
  type Pair,
  partialBodyHeader,
  type Verdict,
} from './verdict.ts';

/** `HttpService`, compiled. */
export interface HttpAuthorizer {
  readonly clusterName: string;
  readonly timeoutMs: number;
  readonly pathPrefix: string;
  readonly pathOverride: string;
  /** Request headers that go along besides the standing ones. */
  readonly allowed: NamePredicate | undefined;
  readonly disallowed: NamePredicate | undefined;
  readonly added: readonly Pair[];
  readonly toUpstream: NamePredicate | undefined;
  readonly toUpstreamAppended: NamePredicate | undefined;
  readonly toClientOnDeny: NamePredicate | undefined;
  readonly toClientOnAllow: NamePredicate | undefined;
  readonly toMetadata: NamePredicate | undefined;
}

/** @throws Error that names the field which cannot be run. */
export function compileHttpService(service: HttpService, filter: ExtAuthz): HttpAuthorizer {
  const { serverUri, pathPrefix, pathOverride, authorizationRequest, authorizationResponse } = service;
  if (serverUri?.httpUpstreamType.case !== 'cluster')
    throw new Error('http_service.server_uri.cluster is missing');
  if (service.retryPolicy !== undefined) throw new Error('http_service.retry_policy is not implemented');
  if (pathPrefix !== '' && !pathPrefix.startsWith('/'))
    throw new Error('http_service.path_prefix must begin with /');
  if (pathOverride !== '' && !pathOverride.startsWith('/'))
    throw new Error('http_service.path_override must begin with /');
  if (pathPrefix !== '' && pathOverride !== '')
    throw new Error('http_service: path_prefix and path_override exclude each other');
  return {
    clusterName: serverUri.httpUpstreamType.value,
    timeoutMs: durationMs(serverUri.timeout) ?? 0,
    pathPrefix,
    pathOverride,
    allowed: compileNames(filter.allowedHeaders ?? authorizationRequest?.allowedHeaders),
    disallowed: compileNames(filter.disallowedHeaders),
    added: (authorizationRequest?.headersToAdd ?? []).map(
      ({ key, value }) => [key.toLowerCase(), value] as const,
    ),
    toUpstream: compileNames(authorizationResponse?.allowedUpstreamHeaders),
    toUpstreamAppended: compileNames(authorizationResponse?.allowedUpstreamHeadersToAppend),
    toClientOnDeny: compileNames(authorizationResponse?.allowedClientHeaders),
    toClientOnAllow: compileNames(authorizationResponse?.allowedClientHeadersOnSuccess),
    toMetadata: compileNames(authorizationResponse?.dynamicMetadataFromHeaders),
  };
}

/** Headers that a refusal always takes along when a list says what else does. */
const alwaysToClient: ReadonlySet<string> = new Set(['www-authenticate', 'location']);

function checkHeaders(authorizer: HttpAuthorizer, request: RequestHeaderMap): RequestHeaderMap {
  const { allowed, disallowed, added, pathPrefix, pathOverride } = authorizer;
  const headers = new RequestHeaderMap();
  headers.method = request.method;
  headers.scheme = request.scheme;
  headers.authority = request.authority;
  headers.path = pathOverride === '' ? pathPrefix + request.path : pathOverride;
  const { names, values } = request;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (name !== 'authorization' && allowed?.(name) !== true) continue;
    if (disallowed?.(name) === true || unsent.has(name)) continue;
    headers.add(name, values[i] as string);
  }
  for (const [name, value] of added) headers.set(name, value);
  return headers;
}

/** Framing of the request that the call does not share. */
const unsent: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'expect',
  'te',
]);

function pick(headers: HeaderMap, wanted: NamePredicate | undefined): Pair[] {
  const found: Pair[] = [];
  if (wanted === undefined) return found;
  headers.names.forEach((name, i) => {
    if (wanted(name)) found.push([name, headers.values[i] as string]);
  });
  return found;
}

const noBytes = Buffer.alloc(0);

function readAnswer(authorizer: HttpAuthorizer, headers: ResponseHeaderMap, body: Buffer): Verdict {
  const { status } = headers;
  if (status >= 500) return failed;
  const toMetadata = pick(headers, authorizer.toMetadata);
  const metadata = toMetadata.length === 0 ? undefined : Object.fromEntries(toMetadata);
  if (status === 200) {
    const remove = headers
      .getAll('x-envoy-auth-headers-to-remove')
      .flatMap((value) => value.split(','))
      .map((name) => name.trim().toLowerCase())
      .filter((name) => name !== '');
    return {
      kind: 'allowed',
      set: pick(headers, authorizer.toUpstream),
      add: pick(headers, authorizer.toUpstreamAppended),
      append: [],
      remove,
      response: { ...noResponseChanges, add: pick(headers, authorizer.toClientOnAllow) },
      querySet: [],
      queryRemove: [],
      metadata,
    };
  }
  const wanted = authorizer.toClientOnDeny;
  const takes: NamePredicate =
    wanted === undefined ? () => true : (name) => alwaysToClient.has(name) || wanted(name);
  return {
    kind: 'denied',
    status,
    body: body.toString('utf8'),
    set: pick(headers, (name) => takes(name) && !unsent.has(name)),
    append: [],
    metadata,
  };
}

/** Asks; the answer may come inside the call. */
export function checkByHttp(
  authorizer: HttpAuthorizer,
  clusters: ClusterManager,
  request: RequestHeaderMap,
  body: CheckBody | undefined,
  downstream: ConnectionInfo,
  onVerdict: OnVerdict,
): Check {
  const { clusterName, timeoutMs } = authorizer;
  const headers = checkHeaders(authorizer, request);
  if (body !== undefined) headers.set(partialBodyHeader, String(body.partial));
  const call = new HttpCall(
    { clusterName, headers, body: body?.bytes ?? noBytes, timeoutMs, downstream },
    {
      onResponse: (response, answer) => onVerdict(readAnswer(authorizer, response, answer)),
      onFailure: () => onVerdict(failed),
    },
  );
  call.start(clusters);
  return call;
}
