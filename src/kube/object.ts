/** Objects as the API server sends them, and the paths under which it keeps them. */

/** Metadata of an object (Kubernetes ObjectMeta), the parts that clients read or write. */
export interface KubeMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** Opaque. On an update: the version that the change was made from. */
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly creationTimestamp?: string | null;
  readonly deletionTimestamp?: string | null;
  readonly ownerReferences?: readonly {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly uid?: string;
    readonly controller?: boolean;
  }[];
}

/** Any object. In lists the server leaves apiVersion and kind out. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: KubeMeta;
}

/** A page of a list. */
export interface KubeList<T extends KubeObject> {
  readonly items: readonly T[];
  readonly metadata: {
    readonly resourceVersion: string;
    /** Present while more pages follow. */
    readonly continue?: string;
  };
}

/** What the server says about a request that failed, and in the last event of a watch (Kubernetes Status). */
export interface KubeStatus {
  readonly kind: 'Status';
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string }[];
  };
}

/** A kind of objects in the API. */
export interface ApiResource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

/** The resource of an apiVersion (`v1`, `apps/v1`). */
export function apiResource(apiVersion: string, plural: string, namespaced = true): ApiResource {
  const slash = apiVersion.indexOf('/');
  return slash < 0
    ? { group: '', version: apiVersion, plural, namespaced }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1), plural, namespaced };
}

/** `v1`, `apps/v1`. */
export function apiVersionOf({ group, version }: ApiResource): string {
  return group === '' ? version : `${group}/${version}`;
}

/** Path of a collection: of one namespace, or of all. */
export function collectionPath(resource: ApiResource, namespace?: string): string {
  const root = resource.group === '' ? '/api' : `/apis/${resource.group}`;
  const scope =
    namespace === undefined || !resource.namespaced ? '' : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}/${resource.version}${scope}/${resource.plural}`;
}

/** Path of an object or of a part of it (`status`, `token`). */
export function objectPath(
  resource: ApiResource,
  namespace: string | undefined,
  name: string,
  subresource?: string,
): string {
  if (resource.namespaced && (namespace === undefined || namespace === '')) {
    throw new Error(`${resource.plural} ${name}: a namespace is needed`);
  }
  const path = `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** Resources that the control plane itself reads and writes. */
export const apiResources = {
  namespaces: apiResource('v1', 'namespaces', false),
  configMaps: apiResource('v1', 'configmaps'),
  secrets: apiResource('v1', 'secrets'),
  events: apiResource('v1', 'events'),
  leases: apiResource('coordination.k8s.io/v1', 'leases'),
  tokenReviews: apiResource('authentication.k8s.io/v1', 'tokenreviews', false),
  customResourceDefinitions: apiResource('apiextensions.k8s.io/v1', 'customresourcedefinitions', false),
} as const satisfies Record<string, ApiResource>;
