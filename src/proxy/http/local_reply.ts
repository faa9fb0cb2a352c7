/**
 * Replies that the proxy makes itself: the one table from cause to status, body, details and response flag (as Envoy), and
 * the response headers made of a reply.
 */
import { ResponseFlag } from '../stream_info/response_flags.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { LocalReply } from './filter.ts';
import { encodeGrpcMessage, GrpcStatus, httpToGrpcStatus } from './grpc.ts';
import { type RequestHeaderMap, ResponseHeaderMap } from './header_map.ts';
import { HeaderFlag } from './header_names.ts';
import { reasonPhrase } from './status.ts';

/** A format of reply bodies (SubstitutionFormatString), compiled. */
export interface ReplyBodyFormat {
  readonly contentType: string;
  /** @param body text that `%LOCAL_REPLY_BODY%` stands for */
  format(
    info: StreamInfo,
    request: RequestHeaderMap | undefined,
    response: ResponseHeaderMap | undefined,
    body: string,
  ): string;
}

function reply(status: number, body: string, details: string, flags = 0): LocalReply {
  return { status, body, details, flags };
}

/** Replies of which nothing depends on the request. */
export const localReplies = {
  routeNotFound: reply(404, '', 'route_not_found', ResponseFlag.noRouteFound),
  clusterNotFound: reply(503, '', 'cluster_not_found', ResponseFlag.noClusterFound),
  noHealthyUpstream: reply(503, 'no healthy upstream', 'no_healthy_upstream', ResponseFlag.noHealthyUpstream),
  maintenanceMode: {
    ...reply(503, 'maintenance mode', 'maintenance_mode', ResponseFlag.upstreamOverflow),
    headers: [['x-envoy-overloaded', 'true']],
  },
  dropOverload: {
    ...reply(503, 'drop overload', 'drop_overload', ResponseFlag.dropOverload),
    headers: [['x-envoy-drop-overload', 'true']],
  },
  unconditionalDropOverload: {
    ...reply(
      503,
      'unconditional drop overload',
      'unconditional_drop_overload',
      ResponseFlag.unconditionalDropOverload,
    ),
    headers: [['x-envoy-unconditional-drop-overload', 'true']],
  },
  upstreamRequestTimeout: reply(
    504,
    'upstream request timeout',
    'response_timeout',
    ResponseFlag.upstreamRequestTimeout,
  ),
  upstreamPerTryTimeout: reply(
    504,
    'upstream request timeout',
    'upstream_per_try_timeout',
    ResponseFlag.upstreamRequestTimeout,
  ),
  upstreamPerTryIdleTimeout: reply(
    504,
    'upstream request timeout',
    'upstream_per_try_idle_timeout',
    ResponseFlag.streamIdleTimeout,
  ),
  upstreamMaxStreamDuration: reply(
    504,
    'upstream max stream duration reached',
    'upstream_max_stream_duration_reached',
    ResponseFlag.upstreamMaxStreamDurationReached,
  ),
  missingHost: reply(400, '', 'missing_host_header'),
  absolutePathRejected: reply(404, '', 'absolute_path_rejected'),
  pathNormalizationFailed: reply(400, '', 'path_normalization_failed'),
  invalidAuthority: reply(400, 'Bad Request', 'http.invalid_authority', ResponseFlag.downstreamProtocolError),
  upgradeFailed: reply(403, '', 'upgrade_failed'),
  requestTimeout: reply(408, 'request timeout', 'request_overall_timeout'),
  requestHeadersTimeout: reply(408, 'request header timeout', 'request_header_timeout'),
  streamIdleTimeout: reply(408, 'stream timeout', 'stream_idle_timeout', ResponseFlag.streamIdleTimeout),
  /** Idle after the request was complete: the upstream is slow, not the client. */
  responseIdleTimeout: reply(504, 'stream timeout', 'stream_idle_timeout', ResponseFlag.streamIdleTimeout),
  maxDuration: {
    ...reply(504, 'downstream duration timeout', 'max_duration_timeout', ResponseFlag.durationTimeout),
    grpcStatus: GrpcStatus.deadlineExceeded,
  },
  maxDurationRequest: {
    ...reply(408, 'downstream duration timeout', 'max_duration_timeout', ResponseFlag.durationTimeout),
    grpcStatus: GrpcStatus.deadlineExceeded,
  },
  requestPayloadTooLarge: reply(413, 'Payload Too Large', 'request_payload_too_large'),
  responsePayloadTooLarge: reply(500, 'Internal Server Error', 'response_payload_too_large'),
  invalidEnvoyHeaders: reply(
    400,
    'invalid header',
    'request_headers_failed_strict_check',
    ResponseFlag.invalidEnvoyRequestHeaders,
  ),
  overload: reply(503, 'envoy overloaded', 'overload'),
  tlsRequired: reply(301, '', 'direct_response'),
} as const satisfies Record<string, LocalReply>;

/** A request that broke HTTP/1: status and details of the codec, the reason phrase as body. */
export function codecErrorReply(status: number, details: string): LocalReply {
  return reply(status, reasonPhrase(status), details, ResponseFlag.downstreamProtocolError);
}

/** Details name the cause in braces, spaces as underscores. */
function inBraces(name: string, reason: string, transportFailure: string): string {
  const cause = transportFailure === '' ? reason : `${reason}|${transportFailure}`;
  return `${name}{${cause.replaceAll(' ', '_')}}`;
}

/**
 * The upstream attempt broke off before response headers.
 * @param reason a `ResetReason`
 * @param retried true when an earlier attempt was made
 */
export function upstreamResetReply(
  reason: string,
  transportFailure: string,
  retried: boolean,
  flags: number,
): LocalReply {
  const body = `upstream connect error or disconnect/reset before headers. ${
    retried ? 'retried and the latest ' : ''
  }reset reason: ${reason}`;
  const details = inBraces('upstream_reset_before_response_started', reason, transportFailure);
  const status = reason === 'protocol error' ? 502 : 503;
  const plain = reply(status, body, details, flags);
  return reason === 'overflow' ? { ...plain, headers: [['x-envoy-overloaded', 'true']] } : plain;
}

/** `%RESPONSE_CODE_DETAILS%` of a response that broke off after its headers. */
export function resetAfterResponseStarted(reason: string): string {
  return inBraces('upstream_reset_after_response_started', reason, '');
}

/** Response headers of a reply; gRPC requests get status 200 with `grpc-status` and no body. */
export function localReplyHeaders(local: LocalReply, grpc: boolean): ResponseHeaderMap {
  const headers = new ResponseHeaderMap();
  headers.status = local.status;
  headers.seen = 0;
  if (local.headers !== undefined) for (const [name, value] of local.headers) headers.add(name, value);
  if (grpc) {
    headers.status = 200;
    headers.set('content-type', 'application/grpc');
    headers.add('grpc-status', String(local.grpcStatus ?? httpToGrpcStatus(local.status)));
    if (local.body !== '') headers.add('grpc-message', encodeGrpcMessage(local.body));
  } else if (local.body !== '') {
    headers.addFlagged('content-length', String(Buffer.byteLength(local.body)), HeaderFlag.contentLength);
    if (!headers.has('content-type'))
      headers.addFlagged('content-type', local.contentType ?? 'text/plain', HeaderFlag.contentType);
  }
  return headers;
}

/** gRPC status of a rate limited call when it should read as exhausted. */
export const rateLimitedGrpcStatus: number = GrpcStatus.resourceExhausted;
