/** What one client knows of one type: what it asks for, what it has accepted. The same for both variants. */
import { hash } from 'node:crypto';
import { allowsLegacyWildcard, isFullState } from '../type_url.ts';
import type { ResourceBytes, ResourceUpdate, UpdateOutcome } from './resource_update.ts';

/** A response of either variant in one form. */
export interface DecodedResponse {
  readonly typeUrl: string;
  readonly nonce: string;
  readonly version: string;
  readonly resources: readonly ResourceBytes[];
  readonly removed: readonly string[];
  /** True when resources that are absent are gone. */
  readonly full: boolean;
  /** Resources that could not even be named. */
  readonly malformed: readonly string[];
}

interface Accepted {
  version: string;
  /** Hash of the bytes: they themselves are not kept. */
  digest: string;
}

function digestOf(bytes: Uint8Array): string {
  return hash('sha1', bytes, 'base64');
}

export class TypeState {
  readonly typeUrl: string;
  readonly names = new Set<string>();
  wildcard = false;
  /** Version of the last response that was accepted as a whole (SotW `version_info`). */
  acceptedVersion = '';
  /** Nonce of the last response on the stream at hand. */
  nonce = '';
  /** A request for the type has gone out on the stream at hand. */
  requested = false;
  /** A name stood in a request on the stream at hand: an empty list no longer means "all". */
  #named = false;
  /** Names that the server has been told on the stream at hand, `*` among them. */
  readonly #told = new Set<string>();
  /** Names that were given up and are wanted again before the server heard of it: what was held of them is gone. */
  readonly #again = new Set<string>();
  /** A response came since the client started. */
  answered = false;
  readonly #accepted = new Map<string, Accepted>();

  constructor(typeUrl: string) {
    this.typeUrl = typeUrl;
  }

  get active(): boolean {
    return this.wildcard || this.names.size > 0;
  }

  /** Names as they stand in a request: `*` only where an empty list would not say it. */
  namesOnWire(): string[] {
    if (!this.wildcard) return [...this.names];
    const implicit = this.names.size === 0 && !this.#named && allowsLegacyWildcard(this.typeUrl);
    return implicit ? [] : ['*', ...this.names];
  }

  add(name: string): void {
    if (this.#told.has(name)) this.#again.add(name);
    if (name === '*') this.wildcard = true;
    else this.names.add(name);
  }

  /** Stops asking for a name and forgets what only it covered. */
  remove(name: string): void {
    this.#again.delete(name);
    if (name === '*') {
      this.wildcard = false;
      for (const held of this.#accepted.keys()) if (!this.names.has(held)) this.#accepted.delete(held);
    } else {
      this.names.delete(name);
      if (!this.wildcard) this.#accepted.delete(name);
    }
  }

  /** What the server has not been told yet; undefined when there is nothing. */
  untold(): { readonly added: readonly string[]; readonly removed: readonly string[] } | undefined {
    const added = [...this.names].filter((name) => !this.#told.has(name) || this.#again.has(name));
    if (this.wildcard && (!this.#told.has('*') || this.#again.has('*'))) added.push('*');
    const removed = [...this.#told].filter((name) => (name === '*' ? !this.wildcard : !this.names.has(name)));
    return added.length === 0 && removed.length === 0 ? undefined : { added, removed };
  }

  /**
   * Names of the request that has to come before the one which asks for some of them once more; undefined when none is
   * needed. A list of names cannot say "once more" in one request.
   */
  namesBefore(): readonly string[] | undefined {
    if (this.#again.size === 0) return undefined;
    return [...this.#told].filter((name) => !this.#again.has(name));
  }

  /** A request with all names, or with what `untold` gave, goes out. */
  tell(): void {
    this.requested = true;
    if (this.names.size > 0) this.#named = true;
    this.#again.clear();
    this.#told.clear();
    for (const name of this.names) this.#told.add(name);
    if (this.wildcard) this.#told.add('*');
  }

  /** A new stream: the server knows nothing of the old one. */
  onStreamOpen(): void {
    this.nonce = '';
    this.requested = false;
    this.#named = false;
    this.#told.clear();
    this.#again.clear();
  }

  /** Versions of what is held, for the first delta request of a stream. */
  versions(): Record<string, string> {
    const versions: Record<string, string> = {};
    for (const [name, { version }] of this.#accepted) versions[name] = version;
    return versions;
  }

  /** The part of a response that is new. Resources nobody asked for are left out. */
  difference(response: DecodedResponse): ResourceUpdate {
    const changed: ResourceBytes[] = [];
    const seen = new Set<string>();
    for (const resource of response.resources) {
      if (!this.wildcard && !this.names.has(resource.name)) continue;
      seen.add(resource.name);
      const old = this.#accepted.get(resource.name);
      if (old === undefined || old.digest !== digestOf(resource.bytes)) changed.push(resource);
      else old.version = resource.version;
    }
    const removed = response.removed.filter((name) => this.#accepted.has(name) || this.names.has(name));
    if (response.full && isFullState(response.typeUrl)) {
      for (const name of this.#accepted.keys()) if (!seen.has(name)) removed.push(name);
    }
    return { version: response.version, changed, removed, first: !this.answered };
  }

  /** Records what was accepted of an update; refused resources keep their old version. */
  commit(update: ResourceUpdate, outcome: UpdateOutcome): void {
    this.answered = true;
    const rejected = new Set(outcome?.rejected.map(({ name }) => name));
    for (const { name, version, bytes } of update.changed) {
      if (!rejected.has(name)) this.#accepted.set(name, { version, digest: digestOf(bytes) });
    }
    for (const name of update.removed) if (!rejected.has(name)) this.#accepted.delete(name);
    if (rejected.size === 0) this.acceptedVersion = update.version;
  }
}
