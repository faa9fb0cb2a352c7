/** What an attempt's end means: response flag for the log, result for outlier detection. */
import { ResetReason } from '../../../http/codec.ts';
import { grpcToHttpStatus, isGrpcContentType } from '../../../http/grpc.ts';
import type { ResponseHeaderMap } from '../../../http/header_map.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import type { HostResult } from '../../../upstream/upstream.ts';

const httpResults: HostResult[] = [];
/** One object per status: reports are made for each response. */
function httpResult(status: number): HostResult {
  return (httpResults[status] ??= { kind: 'http', status, localOrigin: false });
}

export const resetResult: HostResult = { kind: 'http', status: 503, localOrigin: true };
export const timeoutResult: HostResult = { kind: 'timeout' };

/** A gRPC answer without body counts by its grpc-status, all others by their HTTP status. */
export function resultOf(headers: ResponseHeaderMap, endStream: boolean): HostResult {
  if (endStream && isGrpcContentType(headers.getFirst('content-type'))) {
    const status = headers.getFirst('grpc-status');
    if (status !== undefined) return httpResult(grpcToHttpStatus(Number(status)));
  }
  return httpResult(headers.status);
}

/** The answer is no failure, and its host takes requests only when others cannot (whatever the header's value is). */
export function saysDegraded(headers: ResponseHeaderMap, result: HostResult): boolean {
  return result.kind === 'http' && result.status < 500 && headers.getFirst('x-envoy-degraded') !== undefined;
}

export function flagOf(reason: ResetReason): number {
  switch (reason) {
    case ResetReason.localConnectionFailure:
    case ResetReason.remoteConnectionFailure:
    case ResetReason.connectionTimeout:
      return ResponseFlag.upstreamConnectionFailure;
    case ResetReason.connectionTermination:
      return ResponseFlag.upstreamConnectionTermination;
    case ResetReason.localReset:
    case ResetReason.localRefusedStreamReset:
      return ResponseFlag.localReset;
    case ResetReason.overflow:
      return ResponseFlag.upstreamOverflow;
    case ResetReason.protocolError:
      return ResponseFlag.upstreamProtocolError;
    default:
      return ResponseFlag.upstreamRemoteReset;
  }
}
