/** What an authorization service says of a request, whichever protocol it was asked with (envoy ExtAuthz::Response). */
import type { Cancellable } from '../../../upstream/upstream.ts';

export type Pair = readonly [name: string, value: string];

/** Changes of response headers, names in lower case. */
export interface ResponseChanges {
  readonly add: readonly Pair[];
  readonly set: readonly Pair[];
  readonly addIfAbsent: readonly Pair[];
  readonly overwriteIfExists: readonly Pair[];
}

export interface Allowed {
  readonly kind: 'allowed';
  /** Request headers: replaced, added beside others, appended to a header that is there. */
  readonly set: readonly Pair[];
  readonly add: readonly Pair[];
  readonly append: readonly Pair[];
  readonly remove: readonly string[];
  readonly response: ResponseChanges;
  readonly querySet: readonly Pair[];
  readonly queryRemove: readonly string[];
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
}

export interface Denied {
  readonly kind: 'denied';
  /** 0 leaves it to the filter. */
  readonly status: number;
  readonly body: string;
  readonly set: readonly Pair[];
  /** Only beside a header that the reply has. */
  readonly append: readonly Pair[];
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
}

/** The service could not be asked, or failed. */
export interface Failed {
  readonly kind: 'failed';
  /** What it wants the client to hear, unless failures let pass. */
  readonly reply: Denied | undefined;
}

export type Verdict = Allowed | Denied | Failed;

export const failed: Failed = { kind: 'failed', reply: undefined };
export const noResponseChanges: ResponseChanges = {
  add: [],
  set: [],
  addIfAbsent: [],
  overwriteIfExists: [],
};

/** Hears the verdict once, maybe inside `check`; never after `cancel`. */
export type OnVerdict = (verdict: Verdict) => void;

/** Tells the service whether it has the whole body. */
export const partialBodyHeader = 'x-envoy-auth-partial-body';

/** Body of the request as far as it was kept. */
export interface CheckBody {
  readonly bytes: Buffer;
  /** Bytes that had come when the service was asked. */
  readonly heldBytes: number;
  /** There was more. */
  readonly partial: boolean;
  /** As `raw_body` in place of UTF-8 text (pack_as_bytes). */
  readonly asBytes: boolean;
}

/** A call under way. */
export type Check = Cancellable;
