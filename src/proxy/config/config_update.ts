/** What passes between the thread that speaks xDS and the workers that build live objects: names and bytes. */

/** One resource: bytes of the message inside the Any. */
export interface WireResource {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A part of the configuration of one type that came from one source. */
export interface ConfigUpdate {
  /** `sourceKey` of the config source it came from. */
  readonly source: string;
  readonly typeUrl: string;
  readonly changed: readonly WireResource[];
  /** Names that are gone, or that were asked for and do not exist. */
  readonly removed: readonly string[];
}

/** A resource that was refused, and why, in words for the author of the configuration. */
export interface Rejection {
  readonly name: string;
  readonly message: string;
}

/** Says which resources are wanted by name. Calls for one name are balanced by the caller. */
export interface SubscriptionPort {
  subscribe(source: string, typeUrl: string, name: string): void;
  unsubscribe(source: string, typeUrl: string, name: string): void;
}

/** Text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
