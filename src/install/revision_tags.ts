/** Tags: further names of a revision, each a MutatingWebhookConfiguration that sends its pods to that revision. */
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { applyManifest } from './apply.ts';
import { loadChart, renderChart } from './chart.ts';
import { type Manifest, defaultKubeVersion, installationLabel, ownerLabel } from './manifests.ts';
import { readInstallValues } from './read_values.ts';

const configurations = apiResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false);
const revisionLabel = 'istio.io/rev';
const tagLabel = 'istio.io/tag';

/** A label of both selectors of a webhook that is off, as Istio has it: nothing carries it. */
const deactivated = 'istio.io/deactivated';
const never = { [deactivated]: 'never-match' };

interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly namespaceSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  }[];
}

/** A tag, and a revision that it stands for. */
export interface RevisionTag {
  readonly tag: string;
  readonly revision: string;
  /** Of the control plane. */
  readonly namespace: string;
}

/** A tag in a cluster. */
export interface TagInUse extends RevisionTag {
  /** Name of the configuration. */
  readonly name: string;
  /** Namespaces that are labelled with the tag. */
  readonly namespaces: readonly string[];
}

/** The webhooks of a tag. @throws Error when tag or revision is no name */
export function tagManifest({ tag, revision, namespace }: RevisionTag): Manifest {
  const set = [`revision=${revision}`, `revisionTags={${tag}}`];
  const rendered = renderChart(loadChart('istiod'), readInstallValues({ set }).istiod, {
    name: 'istiod',
    namespace,
    service: ownerLabel.value,
    kubeVersion: defaultKubeVersion,
  });
  const found = rendered.find(({ metadata }) => metadata.labels?.[tagLabel] === tag);
  if (found === undefined) throw new Error(`${JSON.stringify(tag)} is not the name of a tag`);
  return found;
}

function labelOf({ metadata }: KubeObject, name: string): string {
  return metadata.labels?.[name] ?? '';
}

async function ofInstallation(
  client: KubeClient,
  namespace: string,
): Promise<readonly WebhookConfiguration[]> {
  const labelSelector = `${revisionLabel},${installationLabel}=${namespace}`;
  return (await client.listPage<WebhookConfiguration>(configurations, { labelSelector })).items;
}

/** Namespaces whose labels ask for a name. The label `istio-injection` asks for `default`. */
function namespacesOf(all: readonly KubeObject[], tag: string): string[] {
  return all
    .filter(
      (item) =>
        labelOf(item, revisionLabel) === tag ||
        (tag === 'default' && labelOf(item, 'istio-injection') === 'enabled'),
    )
    .map(({ metadata }) => metadata.name);
}

/** All tags of an installation, by name. @throws KubeError */
export async function listTags(client: KubeClient, namespace: string): Promise<TagInUse[]> {
  const { items: namespaces } = await client.listPage<KubeObject>(apiResources.namespaces);
  return (await ofInstallation(client, namespace))
    .filter((item) => labelOf(item, tagLabel) !== '')
    .map((item) => {
      const tag = labelOf(item, tagLabel);
      return {
        tag,
        revision: labelOf(item, revisionLabel),
        namespace,
        name: item.metadata.name,
        namespaces: namespacesOf(namespaces, tag),
      };
    })
    .toSorted((first, second) => (first.tag < second.tag ? -1 : 1));
}

/**
 * Makes a tag, or moves one with `overwrite`. The tag `default` takes over from the webhooks of the default revision,
 * which are kept and hold for nothing from then on.
 * @throws Error when there is no such revision, or the tag stands for another one
 */
export async function setTag(client: KubeClient, wanted: RevisionTag, overwrite: boolean): Promise<void> {
  const manifest = tagManifest(wanted);
  const all = await ofInstallation(client, wanted.namespace);
  const revisions = all.filter((item) => labelOf(item, tagLabel) === '');
  if (!revisions.some((item) => labelOf(item, revisionLabel) === wanted.revision))
    throw new Error(
      `revision ${wanted.revision} is not installed in ${wanted.namespace}; found ${revisions.map((item) => labelOf(item, revisionLabel)).join(', ') || 'none'}`,
    );
  const present = all.find((item) => labelOf(item, tagLabel) === wanted.tag);
  if (present !== undefined && !overwrite && labelOf(present, revisionLabel) !== wanted.revision)
    throw new Error(
      `tag ${wanted.tag} stands for revision ${labelOf(present, revisionLabel)}: --overwrite moves it`,
    );
  if (wanted.tag === 'default') await withDefaults(client, all, false);
  await applyManifest(client, manifest);
}

/**
 * Switches webhooks off, or on again. Two that hold for one pod would inject it by chance from one control plane or the
 * other.
 */
async function switchWebhooks(
  client: KubeClient,
  { metadata, webhooks = [] }: WebhookConfiguration,
  on: boolean,
): Promise<void> {
  const changes = webhooks.flatMap(({ name, namespaceSelector }, index) => {
    const isOn = namespaceSelector?.matchLabels?.[deactivated] === undefined;
    if (isOn === on) return [];
    const paths = ['namespaceSelector', 'objectSelector'].map(
      (selector) => `/webhooks/${index}/${selector}/matchLabels`,
    );
    return [
      { op: 'test', path: `/webhooks/${index}/name`, value: name },
      ...paths.map((path) => (on ? { op: 'remove', path } : { op: 'add', path, value: never })),
    ];
  });
  if (changes.length > 0) await client.patch(configurations, undefined, metadata.name, 'json', changes);
}

/** The webhooks of the default revision get back what the tag `default` took over. */
async function withDefaults(
  client: KubeClient,
  all: readonly WebhookConfiguration[],
  on: boolean,
): Promise<void> {
  for (const item of all)
    if (labelOf(item, tagLabel) === '' && labelOf(item, revisionLabel) === 'default')
      await switchWebhooks(client, item, on);
}

/** Removes a tag; false when there is none. @throws KubeError */
export async function removeTag(client: KubeClient, { name, tag, namespace }: TagInUse): Promise<boolean> {
  const removed = await client.delete(configurations, undefined, name);
  if (tag === 'default') await withDefaults(client, await ofInstallation(client, namespace), true);
  return removed;
}

/**
 * What is to be applied while a tag `default` stands for another revision: all but the webhooks of the default
 * revision, which would hold for the same pods.
 */
export function withoutTaken(
  manifests: readonly Manifest[],
  tags: readonly RevisionTag[],
): readonly Manifest[] {
  if (!tags.some(({ tag }) => tag === 'default')) return manifests;
  return manifests.filter(
    ({ kind, metadata }) =>
      kind !== 'MutatingWebhookConfiguration' ||
      metadata.labels?.[revisionLabel] !== 'default' ||
      metadata.labels[tagLabel] !== undefined,
  );
}
