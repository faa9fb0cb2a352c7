/** What one line of an access log is made from. */
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../http/header_map.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';

/** Reused from line to line: evaluators read it and keep nothing of it. */
export interface LogEntry {
  info: StreamInfo;
  request: RequestHeaderMap | undefined;
  response: ResponseHeaderMap | undefined;
  trailers: HeaderMap | undefined;
  /** Body of the reply that is being made, one character per byte: known to formats of replies alone. */
  replyBody?: string;
}

/** True when an entry is to be logged. */
export type LogPredicate = (entry: LogEntry) => boolean;

/** gRPC status of a response: trailers first, then headers (trailers-only); undefined when it has none. */
export function grpcStatusOf({ response, trailers }: LogEntry): number | undefined {
  const text = trailers?.getFirst('grpc-status') ?? response?.getFirst('grpc-status');
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}
