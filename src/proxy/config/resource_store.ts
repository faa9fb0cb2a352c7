/** What was accepted of dynamic configuration, as bytes: for workers that start later and for dumps. */
import type { ConfigUpdate, Rejection, WireResource } from './config_update.ts';

/** The last version that was refused (envoy.admin.v3.UpdateFailureState). */
export interface FailedVersion {
  readonly version: string;
  readonly bytes: Uint8Array;
  readonly message: string;
  readonly atMs: number;
}

/** One resource; `bytes` is undefined when no version of it was ever accepted. */
export interface StoredResource {
  readonly name: string;
  version: string;
  bytes: Uint8Array | undefined;
  /** Milliseconds since the epoch. */
  updatedMs: number;
  failed: FailedVersion | undefined;
}

/** Resources of one type from one source. */
export interface StoredType {
  readonly source: string;
  readonly typeUrl: string;
  /** Version of the last response that was accepted as a whole. */
  version: string;
  readonly resources: Map<string, StoredResource>;
  /** Names that were asked for and that the server says do not exist. */
  readonly missing: Set<string>;
}

export class ResourceStore {
  readonly #types = new Map<string, StoredType>();

  /** Types in the order in which they were first asked for. */
  types(): StoredType[] {
    return [...this.#types.values()];
  }

  /** Resources of one type, from all sources. */
  ofType(typeUrl: string): StoredResource[] {
    return this.types().flatMap((type) => (type.typeUrl === typeUrl ? [...type.resources.values()] : []));
  }

  type(source: string, typeUrl: string): StoredType {
    const key = `${source}\0${typeUrl}`;
    let type = this.#types.get(key);
    if (type === undefined) {
      type = { source, typeUrl, version: '', resources: new Map(), missing: new Set() };
      this.#types.set(key, type);
    }
    return type;
  }

  /**
   * Records an update and its verdict.
   * @param versions of the changed resources, by name.
   */
  commit(
    update: ConfigUpdate,
    versions: ReadonlyMap<string, string>,
    version: string,
    rejected: readonly Rejection[],
    nowMs: number,
  ): void {
    const type = this.type(update.source, update.typeUrl);
    const refused = new Map(rejected.map(({ name, message }) => [name, message]));
    if (refused.size === 0) type.version = version;
    for (const { name, bytes } of update.changed) {
      type.missing.delete(name);
      let stored = type.resources.get(name);
      if (stored === undefined) {
        stored = { name, version: '', bytes: undefined, updatedMs: nowMs, failed: undefined };
        type.resources.set(name, stored);
      }
      const own = versions.get(name) ?? version;
      const message = refused.get(name);
      if (message === undefined) {
        stored.version = own;
        stored.bytes = bytes;
        stored.updatedMs = nowMs;
        stored.failed = undefined;
      } else stored.failed = { version: own, bytes, message, atMs: nowMs };
    }
    for (const name of update.removed) {
      type.resources.delete(name);
      type.missing.add(name);
    }
  }

  /** Nobody asks for the name any more. */
  forget(source: string, typeUrl: string, name: string): void {
    const type = this.#types.get(`${source}\0${typeUrl}`);
    type?.resources.delete(name);
    type?.missing.delete(name);
  }

  /** What is known of one name, as an update; undefined when nothing is. */
  find(source: string, typeUrl: string, name: string): ConfigUpdate | undefined {
    const type = this.#types.get(`${source}\0${typeUrl}`);
    if (type === undefined) return undefined;
    const bytes = type.resources.get(name)?.bytes;
    if (bytes !== undefined) return { source, typeUrl, changed: [{ name, bytes }], removed: [] };
    return type.missing.has(name) ? { source, typeUrl, changed: [], removed: [name] } : undefined;
  }

  /** All accepted resources of one type and source, as one update. */
  replay(source: string, typeUrl: string): ConfigUpdate {
    const changed: WireResource[] = [];
    for (const { name, bytes } of this.type(source, typeUrl).resources.values())
      if (bytes !== undefined) changed.push({ name, bytes });
    return { source, typeUrl, changed, removed: [] };
  }
}
