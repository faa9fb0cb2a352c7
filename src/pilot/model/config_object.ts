/** Objects of the store in the form the indices read. */
import type { ObjectMeta, Resource } from '#config/resource.ts';
import type { ConfigStore } from '#config/store/store.ts';

/** An Istio object with its typed `spec`. */
export interface ConfigObject<Spec> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec: Spec;
}

/** Older first; then by name and namespace, so that the order never depends on the source. */
export function compareAge(
  a: { readonly metadata: ObjectMeta },
  b: { readonly metadata: ObjectMeta },
): number {
  const byTime = a.metadata.creationTimestamp - b.metadata.creationTimestamp;
  if (byTime !== 0) return byTime;
  const aName = `${a.metadata.name}.${a.metadata.namespace}`;
  const bName = `${b.metadata.name}.${b.metadata.namespace}`;
  return aName < bName ? -1 : aName > bName ? 1 : 0;
}

/** All objects of a kind, oldest first. Objects in the store are valid, so the type of `spec` holds. */
export function configObjects<Spec>(store: ConfigStore, kind: string): readonly ConfigObject<Spec>[] {
  const objects = store.list(kind).map((resource) => ({
    apiVersion: resource.apiVersion,
    kind: resource.kind,
    metadata: resource.metadata,
    spec: (resource.body['spec'] ?? {}) as Spec,
  }));
  return objects.sort(compareAge);
}

/** All objects of a kind with their typed body. */
export function resourcesOf<Body>(store: ConfigStore, kind: string): readonly Resource<Body>[] {
  return store.list(kind) as readonly unknown[] as readonly Resource<Body>[];
}

/** Whether an object of `owner` is visible in `namespace`: `*` all, `.` its own, `~` none, or names. */
export function visibleIn(
  exportTo: readonly string[] | undefined,
  defaults: readonly string[],
  owner: string,
  namespace: string,
): boolean {
  const list = exportTo === undefined || exportTo.length === 0 ? defaults : exportTo;
  if (list.length === 0) return true;
  return list.some((entry) => entry === '*' || entry === namespace || (entry === '.' && owner === namespace));
}
