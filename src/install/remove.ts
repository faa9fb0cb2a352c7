/** Takes an installation out of a cluster: what carries its labels, whatever values it was made with. */
import type { KubeClient } from '#kube/client.ts';
import { hasStatus } from '#kube/kube_error.ts';
import { type ApiResource, type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { installationLabel } from './manifests.ts';
import { installationSelector, keptKinds, removalOrder } from './resources.ts';

/** What to remove. */
export interface RemovalOptions {
  /** Of the control plane. */
  readonly namespace: string;
  /** Of this revision alone. */
  readonly revision?: string;
  /** Also kinds with their objects, trust bundles, the control plane's own Secrets and Leases, and the namespace. */
  readonly purge?: boolean;
}

/** An object that was removed: `Deployment istio-system/istiod`. */
type Report = (removed: string) => void;

/** Of the first version that the server has; none when it has none. */
async function listOwned(
  client: KubeClient,
  resources: readonly ApiResource[],
  labelSelector: string,
): Promise<readonly [ApiResource, readonly KubeObject[]] | undefined> {
  for (const resource of resources) {
    try {
      return [resource, (await client.listPage<KubeObject>(resource, { labelSelector })).items];
    } catch (error) {
      if (!hasStatus(error, 404)) throw error;
    }
  }
  return undefined;
}

function label({ metadata }: KubeObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}

/** Whether the server is removing it already: kinds stay until their objects are gone. */
function isGoing({ metadata }: KubeObject): boolean {
  return (metadata.deletionTimestamp ?? '') !== '';
}

/** Removes; gives the count. @throws KubeError */
export async function removeInstallation(
  client: KubeClient,
  options: RemovalOptions,
  report: Report = () => {},
): Promise<number> {
  const { namespace, revision, purge = false } = options;
  const selector = installationSelector(namespace, revision);
  let removed = 0;
  const remove = async (kind: string, resource: ApiResource, object: KubeObject): Promise<void> => {
    if (isGoing(object)) return;
    const { metadata } = object;
    const uid = metadata.uid === undefined ? {} : { uid: metadata.uid };
    if (!(await client.delete(resource, metadata.namespace, metadata.name, uid))) return;
    removed++;
    report(`${kind} ${label(object)}`);
  };
  for (const { kind, resources } of removalOrder) {
    if (keptKinds.has(kind) && !purge) continue;
    if (kind === 'Namespace') await removeTraces(client, namespace, remove);
    const found = await listOwned(client, resources, selector);
    for (const object of found?.[1] ?? []) {
      // Only the namespace of the control plane itself, and only one that an installation made.
      if (kind === 'Namespace' && object.metadata.name !== namespace) continue;
      await remove(kind, found?.[0] ?? apiResources.namespaces, object);
    }
  }
  return removed;
}

const secrets = apiResource('v1', 'secrets');
const leases = apiResource('coordination.k8s.io/v1', 'leases');

/** What control planes wrote: nobody else is left to remove it. */
async function removeTraces(
  client: KubeClient,
  namespace: string,
  remove: (kind: string, resource: ApiResource, object: KubeObject) => Promise<void>,
): Promise<void> {
  const bundles = await client.listPage<KubeObject>(apiResources.configMaps, {
    fieldSelector: 'metadata.name=istio-ca-root-cert',
  });
  for (const bundle of bundles.items) await remove('ConfigMap', apiResources.configMaps, bundle);
  const authority = await client.find<KubeObject>(secrets, namespace, 'istio-ca-secret');
  if (authority !== undefined) await remove('Secret', secrets, authority);
  const { items } = await client.listPage<KubeObject>(leases, { namespace });
  for (const lease of items) if (isOwnLease(lease)) await remove('Lease', leases, lease);
}

/** Leases of leaders among control planes. */
function isOwnLease({ metadata }: KubeObject): boolean {
  return (
    metadata.labels?.[installationLabel] !== undefined ||
    /^istio-(?:namespace-controller|root-ca|webhook-ca-bundle)-election(?:-|$)/.test(metadata.name)
  );
}
