/** Status codes of gRPC and the error that carries one. */

/** Status codes (gRPC core, statuscodes.md). */
export const grpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** One of the seventeen status codes. */
export type GrpcStatus = (typeof grpcStatus)[keyof typeof grpcStatus];

const names = new Map<number, string>(Object.entries(grpcStatus).map(([name, code]) => [code, name]));

/** A call or stream that ended with a status other than OK. */
export class GrpcError extends Error {
  readonly code: GrpcStatus;

  constructor(code: GrpcStatus, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'GrpcError';
    this.code = code;
  }

  /** Name of the code in camel case, `permissionDenied`. */
  get status(): string {
    return names.get(this.code) ?? 'unknown';
  }

  /** The error itself, or its message with `fallback` as code. */
  static from(error: unknown, fallback: GrpcStatus = grpcStatus.unknown): GrpcError {
    if (error instanceof GrpcError) return error;
    return new GrpcError(fallback, error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** A number off the wire as status; numbers outside 0-16 are `unknown` (gRPC over HTTP/2, "Responses"). */
export function toGrpcStatus(code: number): GrpcStatus {
  return names.has(code) ? (code as GrpcStatus) : grpcStatus.unknown;
}
