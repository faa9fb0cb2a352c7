/** Whether a request is traced, written into its id (envoy ConnectionManagerUtility::mutateTracingRequestHeader). */
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { TracingOptions } from './config.ts';
import { traceReason, TraceReason, withTraceReason } from './request_id.ts';

export function decideTracing(
  headers: RequestHeaderMap,
  info: StreamInfo,
  options: TracingOptions,
  random: () => number,
): void {
  const id = info.requestId;
  if (id.length !== 36) return;
  let reason = traceReason(id);
  if (reason === TraceReason.none) {
    if (headers.has('x-client-trace-id') && random() < options.clientSampling)
      reason = TraceReason.clientForced;
    else if (headers.has('x-envoy-force-trace')) reason = TraceReason.serviceForced;
    else if (random() < options.randomSampling) reason = TraceReason.sampled;
  }
  if (reason !== TraceReason.none && random() >= options.overallSampling) reason = TraceReason.none;
  if (reason === traceReason(id)) return;
  info.requestId = withTraceReason(id, reason);
  headers.set('x-request-id', info.requestId);
}
