/** What a client of xDS hears of one type. */

/** One resource as it came: bytes of the message inside the Any. The bytes may be kept; they must not be changed. */
export interface ResourceBytes {
  readonly name: string;
  /** Delta: the resource's own version; SotW: that of the response. */
  readonly version: string;
  readonly bytes: Uint8Array;
}

/** The part of a response that differs from what was accepted before. */
export interface ResourceUpdate {
  /** Version of the whole response (`version_info`, `system_version_info`). */
  readonly version: string;
  readonly changed: readonly ResourceBytes[];
  /** Names that are gone, or that were asked for and do not exist (delta). */
  readonly removed: readonly string[];
  /** True for the first response of the type since the client started: the initial fetch is done, even if it is empty. */
  readonly first: boolean;
}

/** A resource that was refused, and why, in words for the author of the configuration. */
export interface RejectedResource {
  readonly name: string;
  readonly message: string;
}

/** Outcome of an update: nothing when all is accepted; else what was refused. The rest of the update counts as accepted. */
export type UpdateOutcome = { readonly rejected: readonly RejectedResource[] } | undefined;

/**
 * Applies an update. Calls for one type never overlap; calls for different types may. A thrown error refuses all
 * changed resources.
 */
export type UpdateListener = (typeUrl: string, update: ResourceUpdate) => Promise<UpdateOutcome | void>;

/** Longest error_detail text that is sent: a server logs it. */
const maxDetailLength = 4096;

/** Text of a NACK, every refused resource by its name. */
export function rejectionText(rejected: readonly RejectedResource[]): string {
  const text = rejected
    .map(({ name, message }) => (name === '' ? message : `${name}: ${message}`))
    .join('\n');
  return text.length <= maxDetailLength ? text : `${text.slice(0, maxDetailLength)}…`;
}
