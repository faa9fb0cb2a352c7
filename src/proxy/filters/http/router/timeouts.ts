/** How long a request may take: route, `x-envoy-...` headers and `grpc-timeout` together (envoy FilterUtility::finalTimeout). */
import { isGrpcRequest, parseGrpcTimeout } from '../../../http/grpc.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import type { ForwardAction } from '../../../router/route_entry.ts';

export interface Timeouts {
  /** Milliseconds; 0 means none. */
  globalMs: number;
  perTryMs: number;
}

function readMs(headers: RequestHeaderMap, name: string): number | undefined {
  const value = headers.getFirst(name);
  if (value === undefined) return undefined;
  headers.remove(name);
  return /^\d{1,10}$/.test(value) ? Number(value) : undefined;
}

/** Time limit of a gRPC request by its header; undefined when the route does not look at it. 0 means none. */
export function grpcTimeoutMs(action: ForwardAction, headers: RequestHeaderMap): number | undefined {
  const max = action.grpcTimeoutMaxMs;
  if (max === undefined || !isGrpcRequest(headers)) return undefined;
  const asked = parseGrpcTimeout(headers.getFirst('grpc-timeout'));
  if (asked === undefined) return max;
  const shortened = asked > action.grpcTimeoutOffsetMs ? asked - action.grpcTimeoutOffsetMs : asked;
  return max === 0 ? shortened : Math.min(shortened, max);
}

/**
 * Reads and removes the timeout headers of the request and, unless suppressed, tells the upstream what to expect.
 * @param out receives the result: one object is reused by all requests of the worker.
 */
export function finalTimeouts(
  action: ForwardAction,
  headers: RequestHeaderMap,
  insertExpected: boolean,
  respectExpected: boolean,
  out: Timeouts,
): void {
  const grpc = action.grpcLimitsStream ? undefined : grpcTimeoutMs(action, headers);
  out.globalMs = grpc ?? action.timeoutMs;
  out.perTryMs = action.retryPolicy?.perTryTimeoutMs ?? 0;
  if ((headers.seen & HeaderFlag.envoy) !== 0) {
    const expected = respectExpected ? readMs(headers, 'x-envoy-expected-rq-timeout-ms') : undefined;
    out.globalMs = expected ?? readMs(headers, 'x-envoy-upstream-rq-timeout-ms') ?? out.globalMs;
    out.perTryMs = readMs(headers, 'x-envoy-upstream-rq-per-try-timeout-ms') ?? out.perTryMs;
  }
  if (out.globalMs !== 0 && out.perTryMs >= out.globalMs) out.perTryMs = 0;
  const expect = out.perTryMs > 0 ? out.perTryMs : out.globalMs;
  if (!insertExpected || expect <= 0) return;
  const text = String(Math.ceil(expect));
  headers.set('x-envoy-expected-rq-timeout-ms', text);
  if (grpc !== undefined) headers.set('grpc-timeout', `${text}m`);
}
