/** `grpc-timeout` against the limits of a route, in its two forms. */
import { isGrpcRequest, parseGrpcTimeout } from '../http/grpc.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import type { ForwardAction } from './route_entry.ts';

/**
 * Time limit of the response (`max_grpc_timeout`, envoy FilterUtility::finalTimeout), milliseconds; undefined when the route
 * does not look at the header. 0 means none.
 */
export function responseGrpcTimeoutMs(action: ForwardAction, headers: RequestHeaderMap): number | undefined {
  const max = action.grpcTimeoutMaxMs;
  if (max === undefined || action.grpcLimitsStream || !isGrpcRequest(headers)) return undefined;
  const asked = parseGrpcTimeout(headers.getFirst('grpc-timeout'));
  if (asked === undefined) return max;
  const shortened = asked > action.grpcTimeoutOffsetMs ? asked - action.grpcTimeoutOffsetMs : asked;
  return max === 0 ? shortened : Math.min(shortened, max);
}

/** Longest number that the header may hold. */
const maxDigits = 99_999_999;

/** Milliseconds as the header writes them. */
export function formatGrpcTimeout(ms: number): string {
  if (ms <= maxDigits) return `${Math.ceil(ms)}m`;
  if (ms / 1000 <= maxDigits) return `${Math.ceil(ms / 1000)}S`;
  return ms / 60_000 <= maxDigits ? `${Math.ceil(ms / 60_000)}M` : `${maxDigits}H`;
}

/**
 * Time limit of the whole stream (`max_stream_duration.grpc_timeout_header_max`), milliseconds; undefined when the route does
 * not look at the header or there is none. The header that goes upstream says the same.
 */
export function streamGrpcTimeoutMs(action: ForwardAction, headers: RequestHeaderMap): number | undefined {
  if (!action.grpcLimitsStream) return undefined;
  const asked = parseGrpcTimeout(headers.getFirst('grpc-timeout'));
  if (asked === undefined) return undefined;
  const max = action.grpcTimeoutMaxMs ?? 0;
  const capped = max > 0 && asked > max ? max : asked;
  const limit = Math.max(0, capped - action.grpcTimeoutOffsetMs);
  headers.set('grpc-timeout', formatGrpcTimeout(limit));
  return limit;
}
