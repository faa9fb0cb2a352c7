/** A request or connection as `envoy.data.accesslog.v3` entries. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Address as AddressProto } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import { AddressSchema } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import { RequestMethod } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  type AccessLogCommon,
  AccessLogCommonSchema,
  AccessLogType,
  HTTPAccessLogEntry_HTTPVersion as HttpVersion,
  type HTTPAccessLogEntry,
  HTTPAccessLogEntrySchema,
  type ResponseFlags,
  ResponseFlagsSchema,
  ResponseFlags_Unauthorized_Reason as Reason,
  type TCPAccessLogEntry,
  TCPAccessLogEntrySchema,
} from '#api/gen/envoy/data/accesslog/v3/accesslog_pb.ts';
import type { HeaderMap } from '../../http/header_map.ts';
import type { Address } from '../../network/address.ts';
import { ResponseFlag } from '../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { LogEntry } from '../log_entry.ts';

function addressOf(address: Address | undefined): AddressProto | undefined {
  if (address === undefined) return undefined;
  if (address.port < 0)
    return create(AddressSchema, { address: { case: 'pipe', value: { path: address.ip } } });
  return create(AddressSchema, {
    address: {
      case: 'socketAddress',
      value: { address: address.ip, portSpecifier: { case: 'portValue', value: address.port } },
    },
  });
}

interface Span {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Milliseconds as seconds and nanoseconds, to the microsecond; undefined for a moment that did not come. */
function spanOf(ms: number): Span | undefined {
  if (Number.isNaN(ms)) return undefined;
  const micros = Math.max(0, Math.round(ms * 1000));
  return { seconds: BigInt(Math.floor(micros / 1e6)), nanos: (micros % 1e6) * 1000 };
}

type FlagName = Exclude<keyof ResponseFlags, '$typeName' | '$unknown' | 'unauthorizedDetails'>;

const flagNames: readonly (readonly [number, FlagName])[] = [
  [ResponseFlag.failedLocalHealthCheck, 'failedLocalHealthcheck'],
  [ResponseFlag.noHealthyUpstream, 'noHealthyUpstream'],
  [ResponseFlag.upstreamRequestTimeout, 'upstreamRequestTimeout'],
  [ResponseFlag.localReset, 'localReset'],
  [ResponseFlag.upstreamRemoteReset, 'upstreamRemoteReset'],
  [ResponseFlag.upstreamConnectionFailure, 'upstreamConnectionFailure'],
  [ResponseFlag.upstreamConnectionTermination, 'upstreamConnectionTermination'],
  [ResponseFlag.upstreamOverflow, 'upstreamOverflow'],
  [ResponseFlag.noRouteFound, 'noRouteFound'],
  [ResponseFlag.delayInjected, 'delayInjected'],
  [ResponseFlag.faultInjected, 'faultInjected'],
  [ResponseFlag.rateLimited, 'rateLimited'],
  [ResponseFlag.rateLimitServiceError, 'rateLimitServiceError'],
  [ResponseFlag.downstreamConnectionTermination, 'downstreamConnectionTermination'],
  [ResponseFlag.upstreamRetryLimitExceeded, 'upstreamRetryLimitExceeded'],
  [ResponseFlag.connectAttemptsExceeded, 'upstreamRetryLimitExceeded'],
  [ResponseFlag.streamIdleTimeout, 'streamIdleTimeout'],
  [ResponseFlag.invalidEnvoyRequestHeaders, 'invalidEnvoyRequestHeaders'],
  [ResponseFlag.downstreamProtocolError, 'downstreamProtocolError'],
  [ResponseFlag.upstreamMaxStreamDurationReached, 'upstreamMaxStreamDurationReached'],
  [ResponseFlag.responseFromCacheFilter, 'responseFromCacheFilter'],
  [ResponseFlag.noFilterConfigFound, 'noFilterConfigFound'],
  [ResponseFlag.durationTimeout, 'durationTimeout'],
  [ResponseFlag.upstreamProtocolError, 'upstreamProtocolError'],
  [ResponseFlag.noClusterFound, 'noClusterFound'],
  [ResponseFlag.overloadManager, 'overloadManager'],
  [ResponseFlag.dnsResolutionFailed, 'dnsResolutionFailure'],
  [ResponseFlag.downstreamRemoteReset, 'downstreamRemoteReset'],
];

function flagsOf(flags: number): ResponseFlags | undefined {
  if (flags === 0) return undefined;
  const message = create(ResponseFlagsSchema);
  for (const [bit, name] of flagNames) if ((flags & bit) !== 0) message[name] = true;
  if ((flags & ResponseFlag.unauthorizedExternalService) !== 0)
    message.unauthorizedDetails = { reason: Reason.EXTERNAL_SERVICE } as NonNullable<
      ResponseFlags['unauthorizedDetails']
    >;
  return message;
}

function commonOf(info: StreamInfo, type: AccessLogType): AccessLogCommon {
  const { connection, upstream, start } = info;
  const common: MessageInitShape<typeof AccessLogCommonSchema> = {
    downstreamRemoteAddress: addressOf(info.remoteAddress),
    downstreamLocalAddress: addressOf(connection.localAddress),
    downstreamDirectRemoteAddress: addressOf(connection.directRemoteAddress),
    startTime: spanOf(info.startTimeMs),
    duration: spanOf(info.end - start),
    timeToLastRxByte: spanOf(info.lastDownstreamByteReceived - start),
    timeToFirstDownstreamTxByte: spanOf(info.firstDownstreamByteSent - start),
    timeToLastDownstreamTxByte: spanOf(info.lastDownstreamByteSent - start),
    upstreamCluster: info.clusterStatName,
    responseFlags: flagsOf(info.responseFlags),
    routeName: info.routeName,
    upstreamRequestAttemptCount: info.attemptCount,
    connectionTerminationDetails: info.connectionTerminationDetails,
    streamId: info.requestId,
    downstreamTransportFailureReason: connection.transportFailureReason,
    downstreamWireBytesSent: BigInt(info.wireBytesSent),
    downstreamWireBytesReceived: BigInt(info.wireBytesReceived),
    accessLogType: type,
  };
  if (upstream !== undefined) {
    common.upstreamRemoteAddress = addressOf(upstream.hostAddress);
    common.upstreamLocalAddress = addressOf(upstream.localAddress);
    common.upstreamTransportFailureReason = upstream.transportFailureReason;
    common.timeToFirstUpstreamTxByte = spanOf(upstream.firstByteSentMs - start);
    common.timeToLastUpstreamTxByte = spanOf(upstream.lastByteSentMs - start);
    common.timeToFirstUpstreamRxByte = spanOf(upstream.firstByteReceivedMs - start);
    common.timeToLastUpstreamRxByte = spanOf(upstream.lastByteReceivedMs - start);
  }
  return create(AccessLogCommonSchema, common);
}

const versions: Readonly<Record<string, HttpVersion>> = {
  'HTTP/1.0': HttpVersion.HTTP10,
  'HTTP/1.1': HttpVersion.HTTP11,
  'HTTP/2': HttpVersion.HTTP2,
};

/** Text of a header, which stands as one character per byte. */
function text(value: string | undefined): string {
  return value === undefined ? '' : Buffer.from(value, 'latin1').toString('utf8');
}

/** Headers that the configuration names, where they are present. */
function chosen(headers: HeaderMap | undefined, names: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  if (headers === undefined) return found;
  for (const name of names) {
    const value = headers.get(name);
    if (value !== undefined) found[name] = text(value);
  }
  return found;
}

/** Names in lower case. */
export interface LoggedHeaders {
  readonly request: readonly string[];
  readonly response: readonly string[];
  readonly trailers: readonly string[];
}

export function httpEntry(entry: LogEntry, names: LoggedHeaders): HTTPAccessLogEntry {
  const { info, request, response, trailers } = entry;
  return create(HTTPAccessLogEntrySchema, {
    commonProperties: commonOf(info, AccessLogType.DownstreamEnd),
    protocolVersion: versions[info.protocol] ?? HttpVersion.PROTOCOL_UNSPECIFIED,
    request: {
      requestMethod: RequestMethod[(request?.method ?? '') as keyof typeof RequestMethod] ?? 0,
      scheme: request?.scheme ?? '',
      authority: text(request?.authority),
      path: text(request?.path),
      userAgent: text(request?.getFirst('user-agent')),
      referer: text(request?.getFirst('referer')),
      forwardedFor: text(request?.get('x-forwarded-for')),
      requestId: text(request?.getFirst('x-request-id')),
      originalPath: text(request?.getFirst('x-envoy-original-path')),
      requestBodyBytes: BigInt(info.bytesReceived),
      requestHeaders: chosen(request, names.request),
    },
    response: {
      responseCode: info.responseCode === 0 ? undefined : info.responseCode,
      responseCodeDetails: info.responseCodeDetails,
      responseBodyBytes: BigInt(info.bytesSent),
      responseHeaders: chosen(response, names.response),
      responseTrailers: chosen(trailers, names.trailers),
    },
  });
}

export function tcpEntry({ info }: LogEntry): TCPAccessLogEntry {
  return create(TCPAccessLogEntrySchema, {
    commonProperties: commonOf(info, AccessLogType.TcpConnectionEnd),
    connectionProperties: { receivedBytes: BigInt(info.bytesReceived), sentBytes: BigInt(info.bytesSent) },
  });
}
