/** One configuration object, of Kubernetes or Istio, as it stands in a file or an API server. */

/** Where an object, or a field of it, was read. Lines and columns start at 1. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** The metadata that the mesh reads (Kubernetes ObjectMeta). Absent maps are empty. */
export interface ObjectMeta {
  readonly name: string;
  /** Empty for cluster-scoped kinds; `default` when a namespaced object names none. */
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch; 0 when unknown. Decides which of two conflicting objects is older. */
  readonly creationTimestamp: number;
  /** Opaque; equal versions of one object have equal content. */
  readonly resourceVersion: string;
  readonly uid?: string;
  readonly generation?: number;
  readonly deletionTimestamp?: number;
  readonly ownerReferences?: readonly {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly controller?: boolean;
  }[];
}

/**
 * An object of any kind. `Body` is what stands beside apiVersion, kind and metadata: `{ spec }` for Istio's kinds,
 * `{ data }` for a ConfigMap, and so on. Objects are immutable: a change is a new object.
 */
export interface Resource<Body = Readonly<Record<string, unknown>>> {
  /** `networking.istio.io/v1`, `v1`, `apps/v1`; Istio's versions are normalised to the newest of the kind. */
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly body: Body;
  /** Present when the object came from a file. */
  readonly source?: SourcePosition;
}

/** `VirtualService default/reviews`: how messages name an object. */
export function resourceName(resource: Pick<Resource, 'kind' | 'metadata'>): string {
  const { name, namespace } = resource.metadata;
  return namespace === '' ? `${resource.kind} ${name}` : `${resource.kind} ${namespace}/${name}`;
}
