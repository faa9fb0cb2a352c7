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
  named = false;
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
    const implicit = this.names.size === 0 && !this.named && allowsLegacyWildcard(this.typeUrl);
    return implicit ? [] : ['*', ...this.names];
  }

  /** A new stream: the server knows nothing of the old one. */
  onStreamOpen(): void {
    this.nonce = '';
    this.requested = false;
    this.named = false;
  }

  /** Versions of what is held, for the first delta request of a stream. */
  versions(): Record<string, string> {
    const versions: Record<string, string> = {};
    for (const [name, { version }] of this.#accepted) versions[name] = version;
    return versions;
  }

  /** Forgets resources that are no longer asked for. */
  forget(names: Iterable<string>): void {
    for (const name of names) if (!this.wildcard) this.#accepted.delete(name);
  }

  get size(): number {
    return this.#accepted.size;
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
