/** Sidecar objects, and which of them a proxy uses. */
import type { Sidecar } from '#config/kinds/sidecar/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects } from './config_object.ts';
import { hasLabels, type Labels, selectorMatches } from './labels.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';

/** All Sidecar objects by namespace, oldest first. */
export interface SidecarIndex {
  readonly rootNamespace: string;
  readonly byNamespace: ReadonlyMap<string, readonly ConfigObject<Sidecar>[]>;
}

/** Reads all Sidecar objects. */
export function buildSidecarIndex(store: ConfigStore, mesh: MeshIndex): SidecarIndex {
  const byNamespace = new Map<string, ConfigObject<Sidecar>[]>();
  for (const object of configObjects<Sidecar>(store, 'Sidecar')) {
    append(byNamespace, object.metadata.namespace, object);
  }
  return { rootNamespace: mesh.rootNamespace, byNamespace };
}

/** The object of the workload, else of its namespace, else of the root namespace (its egress only), else none. */
export function sidecarFor(
  index: SidecarIndex,
  namespace: string,
  labels: Labels,
): ConfigObject<Sidecar> | undefined {
  const own = index.byNamespace.get(namespace) ?? [];
  const chosen = own.find(({ spec }) => {
    const selector = spec.workloadSelector?.labels;
    return hasLabels(selector) && selectorMatches(selector, labels);
  });
  const wide = (list: readonly ConfigObject<Sidecar>[]) =>
    list.find(({ spec }) => !hasLabels(spec.workloadSelector?.labels));
  return chosen ?? wide(own) ?? wide(index.byNamespace.get(index.rootNamespace) ?? []);
}
