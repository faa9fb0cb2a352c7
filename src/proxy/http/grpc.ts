/** What a proxy must know of gRPC: which requests are gRPC, and how HTTP statuses and gRPC statuses map. */
import type { HeaderMap } from './header_map.ts';

export const GrpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** `application/grpc`, alone or with `+proto` or parameters. */
export function isGrpcContentType(value: string | undefined): boolean {
  if (value === undefined || !value.startsWith('application/grpc')) return false;
  const next = value.charCodeAt(16);
  return value.length === 16 || next === 43 || next === 59;
}

export function isGrpcRequest(headers: HeaderMap): boolean {
  return isGrpcContentType(headers.getFirst('content-type'));
}

/** gRPC status for an HTTP status made by a proxy (grpc/doc/http-grpc-status-mapping.md). */
export function httpToGrpcStatus(status: number): number {
  switch (status) {
    case 400:
      return GrpcStatus.internal;
    case 401:
      return GrpcStatus.unauthenticated;
    case 403:
      return GrpcStatus.permissionDenied;
    case 404:
      return GrpcStatus.unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return GrpcStatus.unavailable;
    default:
      return GrpcStatus.unknown;
  }
}

/** HTTP status for a gRPC status, as outlier detection and statistics count it. */
export function grpcToHttpStatus(status: number): number {
  const table = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
  return table[status] ?? 500;
}

/** Percent-encoding of `grpc-message`: visible ASCII but `%` stays. */
export function encodeGrpcMessage(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text)) {
    out +=
      byte >= 32 && byte < 127 && byte !== 37
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out;
}

const timeoutPattern = /^(\d{1,8})([HMSmun])$/;
const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** `grpc-timeout` in milliseconds, rounded up; undefined when it is absent or malformed. */
export function parseGrpcTimeout(value: string | undefined): number | undefined {
  const match = value === undefined ? null : timeoutPattern.exec(value);
  return match === null ? undefined : Math.ceil(Number(match[1]) * (unitMs[match[2] as string] as number));
}
