/** How long a request may take: route, `x-envoy-...` headers and `grpc-timeout` together (envoy FilterUtility::finalTimeout). */
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import { formatGrpcTimeout, responseGrpcTimeoutMs } from '../../../router/grpc_timeout.ts';
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
  const grpc = responseGrpcTimeoutMs(action, headers);
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
  if (grpc !== undefined) headers.set('grpc-timeout', formatGrpcTimeout(expect));
}
