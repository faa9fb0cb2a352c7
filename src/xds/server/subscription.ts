/** What the server knows of one type on one stream: what is asked for, what the client holds. Both variants use it. */
import { allowsLegacyWildcard, isFullState } from '../type_url.ts';
import type { XdsProtocol } from '../transport.ts';
import type { Generated, ServedResource, Subscription } from './source.ts';

/** A request of either variant in one form. */
export interface ClientRequest {
  readonly typeUrl: string;
  /** Empty when the request answers no response. */
  readonly nonce: string;
  /** Text of error_detail; undefined when the request refuses nothing. */
  readonly error: string | undefined;
  readonly names: NameChange;
}

/** SotW repeats the whole list, delta tells the difference and, once, what the client still holds. */
export type NameChange =
  | { readonly kind: 'list'; readonly names: readonly string[] }
  | {
      readonly kind: 'difference';
      readonly subscribe: readonly string[];
      readonly unsubscribe: readonly string[];
      readonly held: Readonly<Record<string, string>>;
    };

/** What has to go out. */
export interface Outgoing {
  readonly version: string;
  readonly resources: readonly ServedResource[];
  readonly removed: readonly string[];
  /** Names whose version is new to the client. */
  readonly changed: readonly string[];
}

/** The last response and its answer. */
export interface AckState {
  readonly nonce: string;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** One turn of answering: what is asked for at its begin. What is asked meanwhile belongs to the next one. */
export interface Round extends Subscription {
  /** A response must go out even if nothing in it is new. */
  readonly owed: boolean;
}

export class ServerSubscription {
  readonly typeUrl: string;
  readonly mayBePartial: boolean;
  readonly names = new Set<string>();
  wildcard = false;
  sent: AckState | undefined;
  acked: AckState | undefined;
  nacked: (AckState & { readonly detail: string }) | undefined;
  readonly #protocol: XdsProtocol;
  /** The wildcard came from an empty list; SotW repeats that list and still means it. */
  #implicit = false;
  /** Versions that the client holds, by name. */
  readonly #held = new Map<string, string>();
  #asked: Set<string> | undefined = undefined;
  #owed = true;

  constructor(typeUrl: string, protocol: XdsProtocol) {
    this.typeUrl = typeUrl;
    this.#protocol = protocol;
    this.mayBePartial = protocol === 'delta' || !isFullState(typeUrl);
  }

  get active(): boolean {
    return this.wildcard || this.names.size > 0;
  }

  /** The last response has no answer yet. */
  get unanswered(): boolean {
    return (
      this.sent !== undefined &&
      this.sent.nonce !== this.acked?.nonce &&
      this.sent.nonce !== this.nacked?.nonce
    );
  }

  /** Applies the first request of the stream for the type. */
  open(change: NameChange): void {
    const names = change.kind === 'list' ? change.names : change.subscribe;
    this.#implicit = names.length === 0 && allowsLegacyWildcard(this.typeUrl);
    this.wildcard = this.#implicit || names.includes('*');
    for (const name of names) if (name !== '*') this.names.add(name);
    if (change.kind === 'difference') {
      for (const [name, version] of Object.entries(change.held)) this.#held.set(name, version);
    }
  }

  /** Applies a later request. */
  change(change: NameChange): void {
    if (change.kind === 'list') this.#replaceNames(change.names);
    else {
      this.#subscribe(change.subscribe);
      this.#unsubscribe(change.unsubscribe);
    }
  }

  /** These must be sent again: the client has lost what it made of them. */
  demand(names: Iterable<string>): void {
    for (const name of names) {
      if (!this.wildcard && !this.names.has(name)) continue;
      this.#ask(name);
    }
  }

  /** What a round begun now would answer. */
  peek(): Round {
    const { typeUrl, wildcard, mayBePartial, names } = this;
    return { typeUrl, wildcard, mayBePartial, names, asked: this.#asked, owed: this.#owed };
  }

  /** Begins to answer. */
  begin(): Round {
    const round = this.peek();
    this.#asked = new Set();
    this.#owed = false;
    return round.asked === undefined ? { ...round, names: new Set(this.names) } : round;
  }

  /** Takes what was generated for a round, gives what the client lacks of it; undefined when there is nothing to say. */
  compose(round: Round, generated: Generated): Outgoing | undefined {
    const full = generated.full ?? true;
    if (!full && !this.mayBePartial)
      throw new Error(`partial result for ${this.typeUrl} over state of the world`);
    const outgoing = this.#compare(round, generated, full);
    // Over state of the world only listeners and clusters can be seen to be gone.
    const tellsRemoval = this.#protocol === 'delta' || !this.mayBePartial;
    const silent = outgoing.changed.length === 0 && (outgoing.removed.length === 0 || !tellsRemoval);
    if (silent && !round.owed) return undefined;
    return this.mayBePartial ? outgoing : { ...outgoing, resources: generated.resources };
  }

  #compare(round: Round, generated: Generated, full: boolean): Outgoing {
    const resources: ServedResource[] = [];
    const changed: string[] = [];
    const present = new Set<string>();
    for (const resource of generated.resources) {
      const { name, version } = resource;
      if (!this.wildcard && !this.names.has(name)) continue;
      present.add(name);
      const isNew = this.#held.get(name) !== version;
      if (isNew) changed.push(name);
      if (isNew || round.asked?.has(name) === true) resources.push(resource);
      this.#held.set(name, version);
    }
    const removed = new Set<string>();
    for (const name of generated.removed ?? []) if (this.#held.has(name)) removed.add(name);
    if (full) for (const name of this.#held.keys()) if (!present.has(name)) removed.add(name);
    // A name that was asked for and does not exist is told once, so that the client need not wait for it.
    for (const name of round.asked ?? round.names) if (!present.has(name)) removed.add(name);
    for (const name of removed) this.#held.delete(name);
    return { version: generated.version, resources, removed: [...removed], changed };
  }

  #ask(name: string): void {
    this.#asked?.add(name);
    this.#owed = true;
  }

  #replaceNames(list: readonly string[]): void {
    if (list.length === 0 && this.#implicit) return;
    this.#implicit = false;
    this.#setWildcard(list.includes('*'));
    const names = new Set(list);
    names.delete('*');
    this.#unsubscribe([...this.names].filter((name) => !names.has(name)));
    this.#subscribe([...names].filter((name) => !this.names.has(name)));
  }

  /** A repeated subscription means that the client has dropped the resource: it is sent again. */
  #subscribe(names: readonly string[]): void {
    for (const name of names) {
      if (name === '*') this.#setWildcard(true);
      else {
        this.names.add(name);
        this.#ask(name);
      }
    }
  }

  #unsubscribe(names: readonly string[]): void {
    for (const name of names) {
      if (name === '*') this.#setWildcard(false);
      else if (this.names.delete(name)) {
        this.#asked?.delete(name);
        // Still covered by the wildcard: the client must hear whether it keeps the resource (xDS, "Unsubscribing").
        if (this.wildcard && this.#protocol === 'delta') this.#ask(name);
        else if (!this.wildcard) this.#held.delete(name);
      }
    }
  }

  #setWildcard(on: boolean): void {
    if (on === this.wildcard) return;
    this.wildcard = on;
    if (on) {
      this.#asked = undefined;
      this.#owed = true;
    } else for (const name of this.#held.keys()) if (!this.names.has(name)) this.#held.delete(name);
  }
}
