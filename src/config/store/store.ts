/** What every source of configuration offers: files, Kubernetes, memory. One contract suite runs on all of them. */
import type { Resource } from '../resource.ts';

/** One change. A batch of changes is applied to the store before listeners hear of it. */
export type ConfigChange =
  | { readonly type: 'add'; readonly resource: Resource }
  | { readonly type: 'update'; readonly resource: Resource; readonly previous: Resource }
  | { readonly type: 'delete'; readonly resource: Resource };

/** Hears batches of changes, in order; must not throw. */
export type ConfigListener = (changes: readonly ConfigChange[]) => void;

/** A consistent view of the last good state of all objects. Only valid objects are in it. */
export interface ConfigStore {
  /** All objects of a kind (`VirtualService`, `Pod`), in no particular order; empty for unknown kinds. */
  list(kind: string): readonly Resource[];
  get(kind: string, namespace: string, name: string): Resource | undefined;
  /** Adds a listener; the returned function removes it. Nothing is replayed: `list` first. */
  subscribe(listener: ConfigListener): () => void;
  /** True once the first full state has been read. */
  readonly synced: boolean;
}
