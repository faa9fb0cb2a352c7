/** The part of a cluster that the mesh reads: namespaces that MeshConfig.discoverySelectors choose. */
import { kinds } from '../../kinds/kinds.ts';
import type { LabelSelector } from '../../mesh_config/types.ts';
import type { Resource } from '../../resource.ts';
import type { ConfigChange, ConfigListener, ConfigStore } from '../store.ts';

/** Whether a selector chooses these labels. An empty selector chooses all. */
export function labelSelectorMatches(
  selector: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    if (labels[key] !== value) return false;
  return (selector.matchExpressions ?? []).every(({ key = '', operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return false;
    }
  });
}

/** A store that shows the chosen namespaces only; objects without namespace show always. */
export interface SelectedStore extends ConfigStore {
  /** Whether a namespace is chosen. */
  selects(namespace: string): boolean;
  /** Reads the selectors again: call it when the mesh's configuration changed elsewhere. */
  refresh(): void;
  /** Stops listening to the inner store, which stays open. */
  close(): void;
}

/** Kinds whose objects have a namespace. */
const namespacedKinds = kinds.filter(({ namespaced }) => namespaced).map(({ kind }) => kind);

/**
 * Shows the namespaces that one of the selectors chooses; without selectors all.
 * @param rootNamespace is always shown: the mesh's own configuration is there.
 */
export function createSelectedStore(
  inner: ConfigStore,
  rootNamespace: string,
  selectors: () => readonly LabelSelector[],
): SelectedStore {
  const listeners = new Set<ConfigListener>();
  const lists = new Map<string, readonly Resource[]>();
  let selected = choose();

  /** The chosen namespaces; undefined: all. */
  function choose(): ReadonlySet<string> | undefined {
    const wanted = selectors();
    if (wanted.length === 0) return undefined;
    const names = inner
      .list('Namespace')
      .filter(({ metadata }) => wanted.some((selector) => labelSelectorMatches(selector, metadata.labels)))
      .map(({ metadata }) => metadata.name);
    return new Set([rootNamespace, ...names]);
  }

  function shows(set: ReadonlySet<string> | undefined, namespace: string): boolean {
    return namespace === '' || set === undefined || set.has(namespace);
  }

  function update(changes: readonly ConfigChange[], rechoose: boolean): void {
    const before = selected;
    if (rechoose) selected = choose();
    const told: ConfigChange[] = changes.filter(({ type, resource }) => {
      const { namespace } = resource.metadata;
      // What namespaces bring along when they come is told below; what goes in the same moment goes.
      return shows(before, namespace) && (shows(selected, namespace) || type === 'delete');
    });
    if (rechoose) {
      for (const kind of namespacedKinds) {
        for (const resource of inner.list(kind)) {
          const was = shows(before, resource.metadata.namespace);
          const is = shows(selected, resource.metadata.namespace);
          if (was !== is) told.push({ type: is ? 'add' : 'delete', resource });
        }
      }
      lists.clear();
    }
    for (const { resource } of told) lists.delete(resource.kind);
    if (told.length > 0) for (const listener of Array.from(listeners)) listener(told);
  }

  const unsubscribe = inner.subscribe((changes) => {
    for (const { resource } of changes) lists.delete(resource.kind);
    const rechoose = changes.some(
      ({ resource }) => resource.kind === 'Namespace' || resource.kind === 'ConfigMap',
    );
    update(changes, rechoose);
  });

  return {
    list(kind) {
      if (selected === undefined) return inner.list(kind);
      let list = lists.get(kind);
      if (list === undefined) {
        list = inner.list(kind).filter(({ metadata }) => shows(selected, metadata.namespace));
        lists.set(kind, list);
      }
      return list;
    },
    get: (kind, namespace, name) =>
      shows(selected, namespace) ? inner.get(kind, namespace, name) : undefined,
    subscribe(listener) {
      const own: ConfigListener = (changes) => listener(changes);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    get synced() {
      return inner.synced;
    },
    selects: (namespace) => shows(selected, namespace),
    refresh: () => update([], true),
    close() {
      unsubscribe();
      listeners.clear();
    },
  };
}
