/** Puts manifests into a cluster. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResource } from '#kube/object.ts';
import type { Manifest } from './manifests.ts';
import { isOurs, resourceOf } from './resources.ts';

/** Annotation with a hash of what was written last, where its owner may have changed it since. */
const writtenAnnotation = 'install.trysail.io/written';

/** What may be there before us and stays as it is when it is not ours. */
function mayBeForeign({ kind }: Manifest): boolean {
  return kind === 'Namespace' || kind === 'CustomResourceDefinition';
}

/** A ConfigMap with MeshConfig: whoever runs the mesh edits it. */
function isMeshConfig({ kind, data }: Manifest): boolean {
  return kind === 'ConfigMap' && typeof data === 'object' && data !== null && 'mesh' in data;
}

/** Names of objects that are there, would be written over, and are not ours: another installation's. */
export async function foreignObjects(client: KubeClient, manifests: readonly Manifest[]): Promise<string[]> {
  const foreign: string[] = [];
  for (const manifest of manifests) {
    if (mayBeForeign(manifest)) continue;
    const { name, namespace } = manifest.metadata;
    const found = await client.find<KubeObject>(resourceOf(manifest), namespace, name);
    if (found !== undefined && !isOurs(found))
      foreign.push(`${manifest.kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`);
  }
  return foreign;
}

/** Marks what is written, so that a later run can tell a change of values from a change by hand. */
function withHash(manifest: Manifest): Manifest {
  const hash = createHash('sha256').update(JSON.stringify(manifest['data'])).digest('hex').slice(0, 16);
  const { metadata } = manifest;
  return {
    ...manifest,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [writtenAnnotation]: hash } },
  };
}

/**
 * Creates what is missing and applies over what is ours (server-side apply: what others wrote, such as `caBundle`,
 * stays). Namespaces and kinds of others stay as they are; MeshConfig is written over only when its values have changed
 * since the last run. Ask `foreignObjects` first. @throws KubeError
 */
export async function applyManifest(
  client: KubeClient,
  given: Manifest,
): Promise<'created' | 'configured' | 'unchanged' | 'kept'> {
  const resource = resourceOf(given);
  const { name, namespace } = given.metadata;
  const manifest = isMeshConfig(given) ? withHash(given) : given;
  const found = await client.find<KubeObject>(resource, namespace, name);
  if (found !== undefined) {
    if (mayBeForeign(given) && !isOurs(found)) return 'kept';
    const written = found.metadata.annotations?.[writtenAnnotation];
    if (isMeshConfig(given) && written === manifest.metadata.annotations?.[writtenAnnotation]) return 'kept';
  }
  const applied = await client.patch<KubeObject>(resource, namespace, name, 'apply', manifest, {
    force: true,
  });
  if (found === undefined) return 'created';
  return applied.metadata.resourceVersion === found.metadata.resourceVersion ? 'unchanged' : 'configured';
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

interface Definition extends KubeObject {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/** Waits until the server serves a kind. @throws Error after `timeoutMs` */
export async function waitForKind(client: KubeClient, manifest: Manifest, timeoutMs: number): Promise<void> {
  const { name } = manifest.metadata;
  for (let waited = 0; ; waited += pollMs) {
    const { status } = await client.get<Definition>(resourceOf(manifest), undefined, name);
    if (status?.conditions?.some((item) => item.type === 'Established' && item.status === 'True')) return;
    if (waited >= timeoutMs) throw new Error(`${name}: not served after ${timeoutMs / 1000} s`);
    await sleep(pollMs);
  }
}

/** Version of the server, `v1.20.2`. @throws KubeError */
export async function serverVersion(client: KubeClient): Promise<string> {
  const { gitVersion } = await client.request<{ readonly gitVersion?: string }>({
    method: 'GET',
    path: '/version',
  });
  return gitVersion ?? 'v1.20.0';
}
