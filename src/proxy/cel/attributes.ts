/** What CEL expressions can ask of a request or a connection (Envoy docs: "Attributes"). Absent ones are errors, as in Envoy. */
import { httpToGrpcStatus } from '../http/grpc.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../http/header_map.ts';
import type { Address } from '../network/address.ts';
import type { TlsInfo } from '../network/connection.ts';
import { ResponseFlag } from '../stream_info/response_flags.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';

/** What an expression is asked about; a response is not there before it has come. */
export interface CelSubject {
  readonly info: StreamInfo;
  readonly request: RequestHeaderMap | undefined;
  readonly response: ResponseHeaderMap | undefined;
  readonly trailers: HeaderMap | undefined;
}

/** Attributes below one name; a value that is undefined is taken for one that is absent. */
type Attributes = Record<string, unknown>;

function present(values: Attributes): Attributes {
  const out = Object.create(null) as Attributes;
  for (const key in values) if (values[key] !== undefined && values[key] !== '') out[key] = values[key];
  return out;
}

function headerMap(headers: HeaderMap | undefined): Attributes {
  const out = Object.create(null) as Attributes;
  if (headers === undefined) return out;
  for (const name of headers.names) out[name] ??= headers.get(name);
  for (const name of [':method', ':path', ':scheme', ':authority', ':status']) {
    const value = headers.get(name);
    if (value !== undefined) out[name] = value;
  }
  return out;
}

function addressText(address: Address | undefined): string | undefined {
  if (address === undefined) return undefined;
  if (address.port < 0) return address.ip;
  return address.ip.includes(':') ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
}

const portOf = (address: Address | undefined): bigint | undefined =>
  address === undefined || address.port < 0 ? undefined : BigInt(address.port);

function metadataOf(map: ReadonlyMap<string, unknown> | undefined): Attributes {
  return Object.assign(Object.create(null) as Attributes, Object.fromEntries(map ?? []));
}

const tlsAttributes = (tls: TlsInfo | undefined): Attributes => ({
  tls_version: tls?.version,
  subject_peer_certificate: tls?.peerSubject,
  subject_local_certificate: tls?.localSubject,
  uri_san_peer_certificate: tls?.peerUriSans[0],
  uri_san_local_certificate: tls?.localUriSans[0],
  dns_san_peer_certificate: tls?.peerDnsSans[0],
});

/** Builders by the first name of an expression. */
const builders: Readonly<Record<string, (entry: CelSubject) => unknown>> = {
  request({ info, request }) {
    const path = request?.path ?? '';
    const question = path.indexOf('?');
    return present({
      path,
      url_path: question < 0 ? path : path.slice(0, question),
      query: question < 0 ? '' : path.slice(question + 1),
      host: request?.authority,
      scheme: request?.scheme,
      method: request?.method,
      headers: headerMap(request),
      referer: request?.getFirst('referer'),
      useragent: request?.getFirst('user-agent'),
      time: new Date(info.startTimeMs),
      id: request?.getFirst('x-request-id'),
      protocol: info.protocol,
      size: BigInt(info.bytesReceived),
      total_size: BigInt(info.wireBytesReceived),
    });
  },
  response: (entry) =>
    present({
      code: entry.info.responseCode === 0 ? undefined : BigInt(entry.info.responseCode),
      code_details: entry.info.responseCodeDetails,
      flags: BigInt(entry.info.responseFlags & (ResponseFlag.downstreamRemoteReset - 1)),
      grpc_status: grpcStatus(entry),
      headers: headerMap(entry.response),
      trailers: headerMap(entry.trailers),
      size: BigInt(entry.info.bytesSent),
      total_size: BigInt(entry.info.wireBytesSent),
    }),
  connection({ info: { connection, connectionTerminationDetails } }) {
    const { tls } = connection;
    return present({
      id: BigInt(connection.id),
      mtls: tls?.peerCertificateValidated ?? false,
      requested_server_name: connection.requestedServerName,
      termination_details: connectionTerminationDetails,
      transport_failure_reason: connection.transportFailureReason,
      ...tlsAttributes(tls),
    });
  },
  source: ({ info }) =>
    present({ address: addressText(info.remoteAddress), port: portOf(info.remoteAddress) }),
  destination: ({ info: { connection } }) =>
    present({ address: addressText(connection.localAddress), port: portOf(connection.localAddress) }),
  upstream: ({ info: { upstream, attemptCount } }) =>
    present({
      address: addressText(upstream?.hostAddress),
      port: portOf(upstream?.hostAddress),
      local_address: addressText(upstream?.localAddress),
      transport_failure_reason: upstream?.transportFailureReason,
      request_attempt_count: BigInt(attemptCount),
      ...tlsAttributes(upstream?.tls),
    }),
  xds: ({ info }) =>
    present({
      cluster_name: info.clusterName,
      route_name: info.routeName,
      virtual_host_name: info.virtualHostName,
      filter_chain_name: info.connection.filterChainName,
    }),
  metadata: ({ info }) => ({ filter_metadata: metadataOf(info.dynamicMetadata) }),
  filter_state: ({ info }) => metadataOf(info.filterState),
};

/** The status of the call; without one, what the HTTP status stands for; undefined before there is either. */
function grpcStatus({ info, response, trailers }: CelSubject): bigint | undefined {
  const text = trailers?.getFirst('grpc-status') ?? response?.getFirst('grpc-status');
  if (text !== undefined && /^\d{1,10}$/.test(text)) return BigInt(text);
  return info.responseCode === 0 ? undefined : BigInt(httpToGrpcStatus(info.responseCode));
}

/** First names that expressions may begin with. */
export const celRoots: ReadonlySet<string> = new Set(Object.keys(builders));

/** The attributes below the given names. */
export function celContext(entry: CelSubject, roots: readonly string[]): Record<string, unknown> {
  const context: Record<string, unknown> = {};
  for (const root of roots) context[root] = builders[root]?.(entry);
  return context;
}
