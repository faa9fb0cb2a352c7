/** Definitions of our custom kinds for tests: names and versions, any content. */
import { type KubeObject, apiResources } from '#kube/object.ts';
import type { KubeClient } from '#kube/client.ts';
import { findKind } from '#config/kinds/kinds.ts';

/** A definition as tests write it. */
export interface TestDefinition extends KubeObject {
  readonly spec: unknown;
}

/** The definition of a kind that serves these versions; the last is the one that is stored. */
export function definitionOf(
  apiVersion: string,
  kindName: string,
  versions?: readonly string[],
): TestDefinition {
  const kind = findKind(apiVersion, kindName);
  if (kind === undefined) throw new Error(`no kind ${kindName}`);
  const [group = '', own = ''] = apiVersion.split('/');
  const served = versions ?? [own];
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        kind: kindName,
        listKind: `${kindName}List`,
        plural: kind.plural,
        singular: kindName.toLowerCase(),
      },
      versions: served.map((name) => ({
        name,
        served: true,
        storage: name === served.at(-1),
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      })),
    },
  };
}

/** Creates definitions. */
export async function createDefinitions(
  client: KubeClient,
  definitions: readonly TestDefinition[],
): Promise<void> {
  for (const definition of definitions)
    await client.create(apiResources.customResourceDefinitions, undefined, definition);
}
