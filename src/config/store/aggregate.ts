/** Several stores as one: files beside generated objects beside a cluster. */
import type { Resource } from '../resource.ts';
import type { ConfigChange, ConfigListener, ConfigStore } from './store.ts';

/** The one store made of several. */
export interface AggregateStore extends ConfigStore {
  /** Stops listening to the stores. They stay open. */
  close(): void;
}

/** What a change of one store means for the whole, given the objects of the same name in the others. */
function translate(
  change: ConfigChange,
  before: readonly ConfigStore[],
  after: readonly ConfigStore[],
): ConfigChange | undefined {
  const { kind, metadata } = change.resource;
  const find = (stores: readonly ConfigStore[]): Resource | undefined => {
    for (const store of stores) {
      const found = store.get(kind, metadata.namespace, metadata.name);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  if (find(before) !== undefined) return undefined;
  const hidden = find(after);
  if (hidden === undefined) return change;
  switch (change.type) {
    case 'add':
      return { type: 'update', resource: change.resource, previous: hidden };
    case 'delete':
      return { type: 'update', resource: hidden, previous: change.resource };
    case 'update':
      return change;
  }
}

/**
 * Joins stores. Where two hold an object of the same kind, namespace and name, the one that stands first in the list
 * is seen, and the other appears when it goes. Synced when all are.
 */
export function createAggregateStore(stores: readonly ConfigStore[]): AggregateStore {
  const listeners = new Set<ConfigListener>();
  const lists = new Map<string, readonly Resource[]>();
  const subscriptions = stores.map((store, index) =>
    store.subscribe((changes) => {
      for (const { resource } of changes) lists.delete(resource.kind);
      if (listeners.size === 0) return;
      const own = changes
        .map((change) => translate(change, stores.slice(0, index), stores.slice(index + 1)))
        .filter((change) => change !== undefined);
      if (own.length > 0) for (const listener of Array.from(listeners)) listener(own);
    }),
  );

  function merge(kind: string): readonly Resource[] {
    const seen = new Set<string>();
    const merged: Resource[] = [];
    for (const store of stores) {
      for (const resource of store.list(kind)) {
        const key = `${resource.metadata.namespace}/${resource.metadata.name}`;
        if (seen.has(key)) continue;
        seen.add(key);
        merged.push(resource);
      }
    }
    return merged;
  }

  return {
    list(kind) {
      let list = lists.get(kind);
      if (list === undefined) lists.set(kind, (list = merge(kind)));
      return list;
    },
    get(kind, namespace, name) {
      for (const store of stores) {
        const found = store.get(kind, namespace, name);
        if (found !== undefined) return found;
      }
      return undefined;
    },
    subscribe(listener) {
      const own: ConfigListener = (changes) => listener(changes);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    get synced() {
      return stores.every((store) => store.synced);
    },
    close() {
      for (const unsubscribe of subscriptions) unsubscribe();
      listeners.clear();
    },
  };
}
