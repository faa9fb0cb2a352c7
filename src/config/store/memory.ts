/** A store that a program fills: for tests, for generated objects, and as the base of the other stores. */
import type { Resource } from '../resource.ts';
import type { ConfigChange, ConfigListener, ConfigStore } from './store.ts';

/** One change to make. */
export type MemoryStoreEdit =
  | { readonly type: 'put'; readonly resource: Resource }
  | { readonly type: 'remove'; readonly kind: string; readonly namespace: string; readonly name: string };

/** A store that a program fills. */
export interface MemoryStore extends ConfigStore {
  /**
   * Makes all edits, then tells listeners once. A put of an object of the same kind, namespace, name and
   * resourceVersion tells nobody; a remove of an unknown object neither. No listener is called without a change.
   */
  apply(edits: readonly MemoryStoreEdit[]): readonly ConfigChange[];
  put(...resources: readonly Resource[]): void;
  remove(kind: string, namespace: string, name: string): void;
  /** Makes the content equal to the given objects, telling only the differences. */
  replaceAll(resources: readonly Resource[]): readonly ConfigChange[];
  /** Sets `synced`; stores made with `synced: false` start unsynced. */
  markSynced(): void;
}

/** Options of a memory store. */
export interface MemoryStoreOptions {
  /** First content. Default none. */
  readonly resources?: readonly Resource[];
  /** Default true. */
  readonly synced?: boolean;
}

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/** Makes a store in memory. */
export function createMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  const kinds = new Map<string, Map<string, Resource>>();
  const lists = new Map<string, readonly Resource[]>();
  const listeners = new Set<ConfigListener>();
  let synced = options.synced ?? true;

  function put(resource: Resource): ConfigChange | undefined {
    let objects = kinds.get(resource.kind);
    if (objects === undefined) kinds.set(resource.kind, (objects = new Map()));
    const key = keyOf(resource.metadata.namespace, resource.metadata.name);
    const previous = objects.get(key);
    objects.set(key, resource);
    lists.delete(resource.kind);
    // The same content from another place, or other lines of a file, is no change.
    if (previous?.metadata.resourceVersion === resource.metadata.resourceVersion) return undefined;
    return previous === undefined ? { type: 'add', resource } : { type: 'update', resource, previous };
  }

  function remove(kind: string, namespace: string, name: string): ConfigChange | undefined {
    const objects = kinds.get(kind);
    const resource = objects?.get(keyOf(namespace, name));
    if (objects === undefined || resource === undefined) return undefined;
    objects.delete(keyOf(namespace, name));
    lists.delete(kind);
    return { type: 'delete', resource };
  }

  const store: MemoryStore = {
    list(kind) {
      let list = lists.get(kind);
      if (list === undefined) {
        list = [...(kinds.get(kind)?.values() ?? [])];
        lists.set(kind, list);
      }
      return list;
    },
    get: (kind, namespace, name) => kinds.get(kind)?.get(keyOf(namespace, name)),
    subscribe(listener) {
      // A wrapper, so that one function subscribed twice is two subscriptions.
      const own: ConfigListener = (changes) => listener(changes);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    get synced() {
      return synced;
    },
    apply(edits) {
      const changes: ConfigChange[] = [];
      for (const edit of edits) {
        const change =
          edit.type === 'put' ? put(edit.resource) : remove(edit.kind, edit.namespace, edit.name);
        if (change !== undefined) changes.push(change);
      }
      if (changes.length > 0) for (const listener of Array.from(listeners)) listener(changes);
      return changes;
    },
    put: (...resources) =>
      void store.apply(resources.map((resource) => ({ type: 'put' as const, resource }))),
    remove: (kind, namespace, name) => void store.apply([{ type: 'remove', kind, namespace, name }]),
    replaceAll(resources) {
      const wanted = new Set(
        resources.map(({ kind, metadata }) => `${kind}/${keyOf(metadata.namespace, metadata.name)}`),
      );
      const edits: MemoryStoreEdit[] = [];
      for (const [kind, objects] of kinds) {
        for (const [key, { metadata }] of objects) {
          if (wanted.has(`${kind}/${key}`)) continue;
          edits.push({ type: 'remove', kind, namespace: metadata.namespace, name: metadata.name });
        }
      }
      for (const resource of resources) edits.push({ type: 'put', resource });
      return store.apply(edits);
    },
    markSynced() {
      synced = true;
    },
  };
  if (options.resources !== undefined) store.put(...options.resources);
  return store;
}
