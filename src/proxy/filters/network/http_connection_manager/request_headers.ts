/**
 * What a connection manager does to the headers of each request before filters see them (envoy ConnectionManagerUtility):
 * hop-by-hop headers go, forwarding headers and the request id come, what only insiders may say is taken out. On the hot
 * path: `HeaderMap.seen` lets it skip what did not come.
 */
import type { LocalReply } from '../../../http/filter.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import { localReplies } from '../../../http/local_reply.ts';
import { isPlainPath, normalizePath } from '../../../http/path_normalization.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { stripPort } from '../../../router/virtual_host_match.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { HcmConfig } from './config.ts';
import { forwardClientCert } from './forwarded_client_cert.ts';
import { addressFromForwardedFor, isLoopback, localNodeIp } from './forwarded_for.ts';
import { setRequestId } from './request_id.ts';
import { decideTracing } from './trace_sampling.ts';

/** Bytes that may stand in an authority (RFC 3986 3.2). */
const authorityByte = new Uint8Array(256);
for (const c of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@[]%")
  authorityByte[c.charCodeAt(0)] = 1;

let lastAuthority = '';

function isAuthority(text: string): boolean {
  if (text === lastAuthority) return true;
  for (let i = 0; i < text.length; i++) if (authorityByte[text.charCodeAt(i)] !== 1) return false;
  lastAuthority = text;
  return true;
}

const hopFlags =
  HeaderFlag.connection |
  HeaderFlag.hopByHop |
  HeaderFlag.te |
  HeaderFlag.upgrade |
  HeaderFlag.transferEncoding;

/** Checks and normalizes authority and path; gives the reply that refuses the request, or undefined. */
export function checkRequest(
  headers: RequestHeaderMap,
  config: HcmConfig,
  connection: ConnectionInfo,
): LocalReply | undefined {
  if (headers.authority === '') {
    if ((headers.seen & HeaderFlag.host) === 0) return localReplies.missingHost;
  } else if (!isAuthority(headers.authority)) return localReplies.invalidAuthority;
  const { path } = headers;
  if (headers.method === 'CONNECT') return undefined;
  if (path.charCodeAt(0) !== 47) return localReplies.absolutePathRejected;
  if (!isPlainPath(path) && (config.changesPath || path.includes('#'))) {
    if (path.includes('#') && config.rejectsFragments()) return localReplies.pathNormalizationFailed;
    const result = normalizePath(path, config.path);
    if (result.kind === 'reject') return localReplies.pathNormalizationFailed;
    if (result.kind === 'redirect') {
      return {
        status: 307,
        body: '',
        details: 'path_normalization_failed',
        flags: 0,
        headers: [['location', result.path]],
      };
    }
    headers.path = result.path;
  }
  if (config.stripPort !== 'no' || config.stripTrailingDot) normalizeHost(headers, config, connection);
  return undefined;
}

function normalizeHost(headers: RequestHeaderMap, config: HcmConfig, connection: ConnectionInfo): void {
  const host = headers.authority;
  let bare = stripPort(host);
  let port = host.slice(bare.length);
  if (
    config.stripPort === 'any' ||
    (config.stripPort === 'matching' && port === `:${connection.localAddress.port}`)
  )
    port = '';
  if (config.stripTrailingDot && bare.endsWith('.')) bare = bare.slice(0, -1);
  headers.authority = bare + port;
}

/** Removes what is meant for one hop (RFC 9110 7.6.1). Upgrades keep what they need. */
function removeHopByHop(headers: RequestHeaderMap): void {
  const { seen } = headers;
  if ((seen & HeaderFlag.connection) !== 0) {
    if (headers.protocol === '') headers.remove('connection');
    else headers.set('connection', 'Upgrade');
  }
  if ((seen & HeaderFlag.hopByHop) !== 0) {
    headers.remove('keep-alive');
    headers.remove('proxy-connection');
    headers.remove('http2-settings');
  }
  if ((seen & HeaderFlag.te) !== 0) {
    const trailers = headers
      .get('te')
      ?.split(',')
      .some((part) => part.trim().toLowerCase() === 'trailers');
    if (trailers === true) headers.set('te', 'trailers');
    else headers.remove('te');
  }
}

/** Headers by which only requests from inside may steer the router. */
const internalOnly: readonly string[] = [
  'x-envoy-retriable-status-codes',
  'x-envoy-retriable-header-names',
  'x-envoy-retry-on',
  'x-envoy-retry-grpc-on',
  'x-envoy-max-retries',
  'x-envoy-upstream-alt-stat-name',
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-force-trace',
  'x-envoy-ip-tags',
  'x-envoy-original-url',
  'x-envoy-hedge-on-per-try-timeout',
];
const edgeOnly: readonly string[] = [
  'x-envoy-decorator-operation',
  'x-envoy-downstream-service-cluster',
  'x-envoy-downstream-service-node',
  'x-envoy-original-path',
];

/**
 * Adds and removes headers; writes request id and client address to `info`.
 * @param clientCert element for x-forwarded-client-cert of this connection; undefined without a client certificate.
 * @param internalOnlyHeaders of the route configuration.
 */
export function mutateRequestHeaders(
  headers: RequestHeaderMap,
  config: HcmConfig,
  connection: ConnectionInfo,
  info: StreamInfo,
  clientCert: string | undefined,
  internalOnlyHeaders: readonly string[],
): void {
  if ((headers.seen & hopFlags) !== 0) removeHopByHop(headers);
  const scheme = connection.tls === undefined ? 'http' : 'https';
  let client = connection.remoteAddress;
  let single = false;
  if (config.useRemoteAddress) {
    single = (headers.seen & HeaderFlag.forwardedFor) === 0;
    if (config.trustedHops > 0 && !single) {
      const found = addressFromForwardedFor(headers.get('x-forwarded-for') ?? '', config.trustedHops - 1);
      if (found !== undefined) client = { ip: found.ip, port: 0 };
    }
    if (!config.skipXffAppend) appendForwardedFor(headers, connection);
    if (config.trustedHops === 0 || (headers.seen & HeaderFlag.forwardedProto) === 0)
      setForwardedProto(headers, scheme);
  } else {
    if ((headers.seen & HeaderFlag.forwardedFor) !== 0) {
      const found = addressFromForwardedFor(headers.get('x-forwarded-for') ?? '', config.trustedHops);
      if (found !== undefined) {
        client = { ip: found.ip, port: 0 };
        ({ single } = found);
      }
    }
    if ((headers.seen & HeaderFlag.forwardedProto) === 0) setForwardedProto(headers, scheme);
  }
  if (config.appendForwardedPort && (config.trustedHops === 0 || !headers.has('x-forwarded-port')))
    headers.set('x-forwarded-port', String(connection.localAddress.port));
  if (config.scheme !== '') {
    headers.scheme = config.scheme;
    setForwardedProto(headers, config.scheme);
  } else if (headers.scheme === '') headers.scheme = forwardedScheme(headers, scheme);
  info.remoteAddress = client;
  const internal = single && config.internal !== undefined && config.internal(client);
  const edge = !internal && config.useRemoteAddress;
  if (internal) headers.set('x-envoy-internal', 'true');
  else {
    if ((headers.seen & HeaderFlag.envoy) !== 0) {
      headers.remove('x-envoy-internal');
      for (const name of internalOnly) headers.remove(name);
      if (edge) for (const name of edgeOnly) headers.remove(name);
    }
    for (const name of internalOnlyHeaders) headers.remove(name);
  }
  if (config.userAgent !== undefined) addUserAgent(headers, config.userAgent);
  if (edge) headers.set('x-envoy-external-address', client.ip);
  info.requestId = setRequestId(headers, edge, config.requestId);
  if (config.tracing !== undefined) decideTracing(headers, info, config.tracing, config.random);
  if (config.via !== '') headers.set('via', appended(headers.get('via'), config.via));
  forwardClientCert(headers, config.clientCert.mode, clientCert);
}

/** Tells the upstream who calls (add_user_agent). */
function addUserAgent(headers: RequestHeaderMap, { cluster, node }: { cluster: string; node: string }): void {
  headers.set('x-envoy-downstream-service-cluster', cluster);
  if ((headers.seen & HeaderFlag.userAgent) === 0) headers.set('user-agent', cluster);
  if (node !== '') headers.set('x-envoy-downstream-service-node', node);
}

/** `old, next`, as `via` lists are written. */
export function appended(old: string | undefined, next: string): string {
  return old === undefined || old === '' ? next : `${old}, ${next}`;
}

function appendForwardedFor(headers: RequestHeaderMap, connection: ConnectionInfo): void {
  const { ip, port } = connection.remoteAddress;
  if (port < 0) return;
  const text = isLoopback(ip) ? localNodeIp() : ip;
  if ((headers.seen & HeaderFlag.forwardedFor) === 0)
    headers.addFlagged('x-forwarded-for', text, HeaderFlag.forwardedFor);
  else {
    const old = headers.get('x-forwarded-for');
    headers.set('x-forwarded-for', old === undefined || old === '' ? text : `${old},${text}`);
  }
}

function setForwardedProto(headers: RequestHeaderMap, scheme: string): void {
  if ((headers.seen & HeaderFlag.forwardedProto) === 0)
    headers.addFlagged('x-forwarded-proto', scheme, HeaderFlag.forwardedProto);
  else headers.set('x-forwarded-proto', scheme);
}

function forwardedScheme(headers: RequestHeaderMap, own: string): string {
  const value = headers.getFirst('x-forwarded-proto');
  return value === 'http' || value === 'https' ? value : own;
}
