/** What the protocol server asks of the side that knows the resources. */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Peer } from '../transport.ts';

/** One resource, ready for the wire: share the object among all clients that get the same bytes. */
export interface ServedResource {
  readonly name: string;
  /** Equal versions of one name have equal bytes, as far as one client can see. */
  readonly version: string;
  readonly bytes: Uint8Array;
}

/** What one client asks for of one type. */
export interface Subscription {
  readonly typeUrl: string;
  /** All resources that the client may have are asked for, beside those in `names`. */
  readonly wildcard: boolean;
  readonly names: ReadonlySet<string>;
  /**
   * Names that must be in the result if they exist, changed or not: just asked for, or in need of being sent again.
   * Undefined: all that is asked for, as in the first request.
   */
  readonly asked: ReadonlySet<string> | undefined;
  /** True when a result may hold a part only (`full: false`): always but for SotW listeners and clusters. */
  readonly mayBePartial: boolean;
}

/** Resources of one type for one client. */
export interface Generated {
  /** Version of the whole, for people (`version_info`). */
  readonly version: string;
  readonly resources: readonly ServedResource[];
  /** Names that are gone; only with `full: false`. */
  readonly removed?: readonly string[];
  /** True, the default: these are all there are for the subscription, what is absent is gone. */
  readonly full?: boolean;
}

/** A response as it went out. */
export interface SentResponse {
  readonly nonce: string;
  readonly version: string;
  readonly resources: number;
  readonly removed: number;
  /** Bytes of the resources. */
  readonly bytes: number;
  /** Sent because of a push, not of a request. */
  readonly pushed: boolean;
}

/**
 * Where resources come from. `Client` is what it keeps of one connection, `Push` the reason to generate anew.
 * All hooks are called in the order of events of one stream.
 */
export interface ResourceSource<Client, Push> {
  /**
   * A stream said who it is. Throw GrpcError to refuse (`unauthenticated`, `permissionDenied`).
   */
  open(node: Node, peer: Peer): Client | Promise<Client>;
  /** Undefined: nothing is known of the type, no answer is sent. */
  generate(
    client: Client,
    typeUrl: string,
    subscription: Subscription,
    push: Push | undefined,
  ): Generated | undefined | Promise<Generated | undefined>;
  /** One push that stands for both: a slow client gets the merged one. */
  mergePushes(older: Push, newer: Push): Push;
  /** The stream has ended. */
  close(client: Client): void;
  onSubscribe?(client: Client, subscription: Subscription): void;
  onSent?(client: Client, typeUrl: string, sent: SentResponse): void;
  onAck?(client: Client, typeUrl: string, nonce: string, version: string): void;
  /** `version` is that of the response the client refused. */
  onNack?(client: Client, typeUrl: string, nonce: string, version: string, detail: string): void;
}
