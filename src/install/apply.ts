/** Puts manifests into a cluster and takes them out again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from '#kube/client.ts';
import { hasStatus } from '#kube/kube_error.ts';
import { type ApiResource, type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { type Manifest, meshConfigName, ownerLabels } from './manifests.ts';

/** Plural, and whether it stands in a namespace, of each kind that is installed. */
const plurals: Readonly<Record<string, readonly [plural: string, namespaced: boolean]>> = {
  Namespace: ['namespaces', false],
  CustomResourceDefinition: ['customresourcedefinitions', false],
  ServiceAccount: ['serviceaccounts', true],
  ClusterRole: ['clusterroles', false],
  ClusterRoleBinding: ['clusterrolebindings', false],
  Role: ['roles', true],
  RoleBinding: ['rolebindings', true],
  ConfigMap: ['configmaps', true],
  Service: ['services', true],
  PodDisruptionBudget: ['poddisruptionbudgets', true],
  Deployment: ['deployments', true],
  MutatingWebhookConfiguration: ['mutatingwebhookconfigurations', false],
};

function resourceOf({ apiVersion, kind }: Manifest): ApiResource {
  const known = plurals[kind];
  if (known === undefined) throw new Error(`${kind} is not installed by this program`);
  return apiResource(apiVersion, ...known);
}

function isOurs({ metadata }: KubeObject): boolean {
  const [[label, value]] = Object.entries(ownerLabels) as [[string, string]];
  return metadata.labels?.[label] === value;
}

/** What may be there before us and stays as it is: namespaces, kinds, and the mesh's settings, which are its owner's. */
function staysAsItIs({ kind, metadata }: Manifest): boolean {
  return (
    kind === 'Namespace' ||
    kind === 'CustomResourceDefinition' ||
    (kind === 'ConfigMap' && metadata.name === meshConfigName)
  );
}

/** Names of objects that are there, would be written over, and are not ours: another installation's. */
export async function foreignObjects(client: KubeClient, manifests: readonly Manifest[]): Promise<string[]> {
  const foreign: string[] = [];
  for (const manifest of manifests) {
    if (staysAsItIs(manifest)) continue;
    const { name, namespace } = manifest.metadata;
    const found = await client.find<KubeObject>(resourceOf(manifest), namespace, name);
    if (found !== undefined && !isOurs(found))
      foreign.push(`${manifest.kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`);
  }
  return foreign;
}

/**
 * Creates what is missing and merges over what is ours (RFC 7386). Namespaces, kinds and the mesh's settings that are
 * there stay as they are. Ask `foreignObjects` first. @throws KubeError
 */
export async function applyManifest(
  client: KubeClient,
  manifest: Manifest,
): Promise<'created' | 'patched' | 'kept'> {
  const resource = resourceOf(manifest);
  const { name, namespace } = manifest.metadata;
  try {
    await client.create(resource, namespace, manifest);
    return 'created';
  } catch (error) {
    if (!hasStatus(error, 409)) throw error;
    if (staysAsItIs(manifest)) return 'kept';
    await client.patch(resource, namespace, name, 'merge', await withTrust(client, resource, manifest));
    return 'patched';
  }
}

interface Webhooks {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}

/** Webhooks keep the bundle that the control plane has written: without it every call fails until it is back. */
async function withTrust(client: KubeClient, resource: ApiResource, manifest: Manifest): Promise<Manifest> {
  if (manifest.kind !== 'MutatingWebhookConfiguration') return manifest;
  const found = await client.get<KubeObject & Webhooks>(resource, undefined, manifest.metadata.name);
  const bundles = new Map(
    (found.webhooks ?? []).map(({ name, clientConfig }) => [name, clientConfig.caBundle]),
  );
  const { webhooks = [] } = manifest as Manifest & Webhooks;
  return {
    ...manifest,
    webhooks: webhooks.map((webhook) => {
      const caBundle = bundles.get(webhook.name);
      return caBundle === undefined
        ? webhook
        : { ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } };
    }),
  };
}

interface Deployment extends KubeObject {
  readonly spec?: { readonly replicas?: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly availableReplicas?: number;
    readonly updatedReplicas?: number;
  };
}

const deployments = apiResource('apps/v1', 'deployments');
const pollMs = 500;

/** Waits until all replicas are of the newest template and available. @throws Error after `timeoutMs` */
export async function waitForDeployment(
  client: KubeClient,
  namespace: string,
  name: string,
  timeoutMs: number,
): Promise<void> {
  for (let waited = 0; ; waited += pollMs) {
    const { metadata, spec, status } = await client.get<Deployment>(deployments, namespace, name);
    const wanted = spec?.replicas ?? 1;
    if (
      (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
      (status?.updatedReplicas ?? 0) >= wanted &&
      (status?.availableReplicas ?? 0) >= wanted
    )
      return;
    if (waited >= timeoutMs)
      throw new Error(`Deployment ${namespace}/${name}: not available after ${timeoutMs / 1000} s`);
    await sleep(pollMs);
  }
}

/** Whether the server is removing it already: kinds stay until their objects are gone. */
function isGoing({ metadata }: KubeObject): boolean {
  return (metadata.deletionTimestamp ?? '') !== '';
}

/** Whether uninstalling takes this object only when all is purged: kinds with their objects, and the namespace. */
function isKept({ kind }: Manifest): boolean {
  return kind === 'CustomResourceDefinition' || kind === 'Namespace';
}

/** Removes what was installed, last first; with `purge` also kinds, trust bundles and the namespace. Gives the count. */
export async function removeManifests(
  client: KubeClient,
  manifests: readonly Manifest[],
  purge: boolean,
): Promise<number> {
  let removed = 0;
  for (const manifest of manifests.toReversed()) {
    if (!purge && isKept(manifest)) continue;
    const resource = resourceOf(manifest);
    const { name, namespace } = manifest.metadata;
    const found = await client.find<KubeObject>(resource, namespace, name);
    // An object of this name that somebody else made, as by another release, is not ours to remove.
    if (found === undefined || !isOurs(found) || isGoing(found)) continue;
    if (await client.delete(resource, namespace, name)) removed++;
  }
  return purge ? removed + (await removeTrustBundles(client)) : removed;
}

/** The control plane writes one into every namespace; nobody else is left to remove them. */
async function removeTrustBundles(client: KubeClient): Promise<number> {
  const { items } = await client.listPage<KubeObject>(apiResources.configMaps, {
    fieldSelector: 'metadata.name=istio-ca-root-cert',
  });
  for (const { metadata } of items)
    await client.delete(apiResources.configMaps, metadata.namespace, metadata.name);
  return items.length;
}
