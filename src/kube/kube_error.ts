/** Why a request to the API server failed. */
import type { KubeStatus } from './object.ts';

/**
 * `http`: the server answered with an error; `connection`: no answer, or it was cut; `timeout`: none in time; `too_large`:
 * more bytes than allowed; `malformed`: no JSON of the expected form; `credentials`: none could be got.
 */
export type KubeErrorCode = 'http' | 'connection' | 'timeout' | 'too_large' | 'malformed' | 'credentials';

/** A request that failed. The message names verb and path, never credentials or bodies. */
export class KubeError extends Error {
  override name = 'KubeError';
  readonly code: KubeErrorCode;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** Reason of the server: `NotFound`, `Conflict`, `AlreadyExists`, `Expired`; empty when it gave none. */
  readonly reason: string;
  /** Wait that the server asked for, milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** What the server said, when it sent a Status. */
  readonly details: KubeStatus | undefined;

  constructor(
    code: KubeErrorCode,
    message: string,
    rest: {
      readonly status?: number;
      readonly details?: KubeStatus | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, rest.cause === undefined ? undefined : { cause: rest.cause });
    this.code = code;
    this.status = rest.status ?? rest.details?.code ?? 0;
    this.reason = rest.details?.reason ?? '';
    this.retryAfterMs = rest.retryAfterMs;
    this.details = rest.details;
  }
}

/** Whether an error is an answer with this HTTP status. */
export function hasStatus(error: unknown, status: number): error is KubeError {
  return error instanceof KubeError && error.code === 'http' && error.status === status;
}

/**
 * Whether a version of a list is of no use any more: it is older than the history that the server keeps (410), or newer
 * than all that it knows (a restored backup).
 */
export function isVersionLost(error: unknown): boolean {
  if (!(error instanceof KubeError) || error.code !== 'http') return false;
  if (error.status === 410 || error.reason === 'Expired' || error.reason === 'Gone') return true;
  return (
    error.status === 504 &&
    (error.details?.details?.causes?.some(({ reason }) => reason === 'ResourceVersionTooLarge') === true ||
      error.details?.message?.startsWith('Too large resource version') === true)
  );
}
