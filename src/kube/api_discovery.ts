/** Which versions of an API the server has. */
import type { KubeClient } from './client.ts';
import { hasStatus } from './kube_error.ts';

interface GroupDocument {
  readonly versions?: readonly { readonly version: string }[];
}

interface ResourcesDocument {
  readonly resources?: readonly { readonly name: string }[];
}

/** Versions of a group (`discovery.k8s.io`), as the server orders them; empty when it does not have the group. */
export async function servedVersions(
  client: KubeClient,
  group: string,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  try {
    const document = await client.request<GroupDocument>({ method: 'GET', path: `/apis/${group}`, signal });
    return (document.versions ?? []).map(({ version }) => version);
  } catch (error) {
    if (hasStatus(error, 404)) return [];
    throw error;
  }
}

/** The first of these versions of a group in which the server has the resource; undefined when there is none. */
export async function preferredVersion(
  client: KubeClient,
  group: string,
  plural: string,
  versions: readonly string[],
  signal?: AbortSignal,
): Promise<string | undefined> {
  const served = await servedVersions(client, group, signal);
  for (const version of versions) {
    if (!served.includes(version)) continue;
    try {
      const path = `/apis/${group}/${version}`;
      const document = await client.request<ResourcesDocument>({ method: 'GET', path, signal });
      if (document.resources?.some(({ name }) => name === plural) === true) return version;
    } catch (error) {
      if (!hasStatus(error, 404)) throw error;
    }
  }
  return undefined;
}
