/** Error codes of RST_STREAM and GOAWAY (RFC 9113 7) and how they meet the reset reasons of the codecs. */
import { ResetReason } from '../codec.ts';

export const ErrorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
  inadequateSecurity: 12,
  http11Required: 13,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** A broken rule: what the peer is told, and what stands in `%RESPONSE_CODE_DETAILS%`. */
export interface Violation {
  readonly code: ErrorCode;
  readonly details: string;
}

/** What the peer hears when we end a stream for `reason`. */
export function codeOfReset(reason: ResetReason): ErrorCode {
  switch (reason) {
    case ResetReason.localRefusedStreamReset:
    case ResetReason.overflow:
      return ErrorCode.refusedStream;
    case ResetReason.protocolError:
      return ErrorCode.protocolError;
    case ResetReason.connectError:
      return ErrorCode.connectError;
    case ResetReason.localReset:
    case ResetReason.remoteReset:
    case ResetReason.connectionTermination:
      return ErrorCode.cancel;
    default:
      return ErrorCode.internalError;
  }
}

/** What a client hears when its response breaks off: to gRPC a `cancel` would say that the client gave up itself. */
export function codeOfBrokenResponse(reason: ResetReason): ErrorCode {
  const code = codeOfReset(reason);
  return code === ErrorCode.cancel ? ErrorCode.internalError : code;
}

/** Why a stream ended that the peer reset with `code`. */
export function resetOfCode(code: number): ResetReason {
  if (code === ErrorCode.refusedStream) return ResetReason.remoteRefusedStreamReset;
  return code === ErrorCode.connectError ? ResetReason.connectError : ResetReason.remoteReset;
}
