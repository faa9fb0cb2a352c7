/** Installing into a real API server and out of it. No controllers run: nothing becomes available. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { applyManifest, foreignObjects, serverVersion, waitForKind } from '#install/apply.ts';
import { type Manifest, installManifests } from '#install/manifests.ts';
import { readInstallValues } from '#install/read_values.ts';
import { removeInstallation } from '#install/remove.ts';
import { listTags, removeTag, setTag, withoutTaken } from '#install/revision_tags.ts';
import type { KubeClient } from '#kube/client.ts';
import { KubeError } from '#kube/kube_error.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { needs } from '../harness/optional_parts.ts';

const namespace = 'istio-system';
const services = apiResource('v1', 'services');
const deployments = apiResource('apps/v1', 'deployments');
const webhooks = apiResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false);
const definitions = apiResource('apiextensions.k8s.io/v1', 'customresourcedefinitions', false);
const budgets = apiResource('policy/v1beta1', 'poddisruptionbudgets');

interface Webhooks extends KubeObject {
  readonly webhooks: readonly {
    readonly name: string;
    readonly failurePolicy: string;
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}
interface ConfigMap extends KubeObject {
  readonly data: Readonly<Record<string, string>>;
}
interface Deployment extends KubeObject {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly nodeSelector?: object;
        readonly containers: readonly { readonly image: string }[];
      };
    };
  };
}

describe('install', { skip: needs('etcd and kube-apiserver', kubeBinaries()), timeout: 240_000 }, () => {
  let server: KubeApiServer;
  let client: KubeClient;
  let kubeVersion: string;
  const manifestsOf = (...set: readonly string[]): readonly Manifest[] =>
    installManifests({ namespace, kubeVersion, values: readInstallValues({ set }) });
  /** Kinds are large: they are left out where it is not about them. */
  const withoutKinds = 'base.enableCRDTemplates=false';
  /** Applies; gives what was done with each object that was not left as it was. */
  const applyAll = async (manifests: readonly Manifest[]): Promise<string[]> => {
    const done: string[] = [];
    for (const manifest of manifests) {
      const outcome = await applyManifest(client, manifest);
      if (outcome !== 'unchanged') done.push(`${manifest.kind} ${manifest.metadata.name} ${outcome}`);
    }
    return done;
  };
  const apply = (...set: readonly string[]): Promise<string[]> => applyAll(manifestsOf(withoutKinds, ...set));
  const withKind = (done: readonly string[], kind: string): string[] =>
    done.filter((text) => text.startsWith(`${kind} `));

  before(async () => {
    server = await KubeApiServer.start();
    client = await server.client();
    kubeVersion = await serverVersion(client);
  });
  after(async () => {
    client?.close();
    await server?.close();
  });

  it('touches nothing of another installation', async () => {
    await client.create(apiResources.namespaces, undefined, { metadata: { name: namespace } });
    await client.create(services, namespace, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'istiod', namespace },
      spec: { ports: [{ port: 1 }] },
    } as KubeObject);
    assert.deepEqual(await foreignObjects(client, manifestsOf()), ['Service istio-system/istiod']);
    assert.equal(await removeInstallation(client, { namespace, purge: true }), 0);
    await client.delete(services, namespace, 'istiod');
    assert.deepEqual(await foreignObjects(client, manifestsOf()), []);
  });

  it('creates all objects, and the kinds can be used', async () => {
    const done = await applyAll(manifestsOf());
    assert.deepEqual(
      done.filter((text) => !text.endsWith(' created')),
      ['Namespace istio-system kept'],
    );
    for (const manifest of manifestsOf())
      if (manifest.kind === 'CustomResourceDefinition') await waitForKind(client, manifest, 30_000);
    const object = (spec: object): KubeObject =>
      ({
        apiVersion: 'networking.istio.io/v1',
        kind: 'VirtualService',
        metadata: { name: 'a', namespace: 'default' },
        spec,
      }) as KubeObject;
    const virtualServices = apiResource('networking.istio.io/v1', 'virtualservices');
    await assert.rejects(
      client.create(virtualServices, 'default', object({ hosts: 'a' })),
      (error) => error instanceof KubeError && error.status === 422 && /spec\.hosts/.test(error.message),
    );
    await client.create(
      virtualServices,
      'default',
      object({ hosts: ['a'], http: [{ route: [{ destination: { host: 'a' } }] }] }),
    );
    // The server turns objects of all versions into one another.
    const old = apiResource('networking.istio.io/v1alpha3', 'virtualservices');
    assert.equal((await client.get<KubeObject>(old, 'default', 'a')).metadata.name, 'a');
  });

  it('changes nothing when it is run again', async () => {
    assert.deepEqual(await applyAll(manifestsOf()), ['Namespace istio-system kept', 'ConfigMap istio kept']);
  });

  it('takes over changed values, and takes back those that are gone', async () => {
    const read = async (): Promise<Deployment['spec']['template']['spec']> =>
      (await client.get<Deployment>(deployments, namespace, 'istiod')).spec.template.spec;
    const done = await apply('tag=2', 'pilot.nodeSelector.zone=a');
    assert.deepEqual(withKind(done, 'Deployment'), ['Deployment istiod configured']);
    assert.equal((await read()).containers[0]?.image, 'docker.io/trysail/proxyv2:2');
    assert.deepEqual((await read()).nodeSelector, { zone: 'a' });
    await apply();
    assert.equal((await read()).nodeSelector, undefined);
  });

  it('keeps what others changed of the settings of the mesh, until their values change', async () => {
    const { configMaps } = apiResources;
    const mesh = async (): Promise<string | undefined> =>
      (await client.get<ConfigMap>(configMaps, namespace, 'istio')).data['mesh'];
    const byHand = 'accessLogFile: /dev/stdout\n';
    await client.patch(configMaps, namespace, 'istio', 'merge', { data: { mesh: byHand } });
    assert.deepEqual(withKind(await apply(), 'ConfigMap'), ['ConfigMap istio kept']);
    assert.equal(await mesh(), byHand);
    const done = await apply('meshConfig.accessLogEncoding=JSON');
    assert.deepEqual(withKind(done, 'ConfigMap'), ['ConfigMap istio configured']);
    assert.match((await mesh()) ?? '', /accessLogEncoding: JSON/);
  });

  it('keeps the trust in the webhook when it is run again', async () => {
    const name = 'istio-sidecar-injector';
    const caBundle = Buffer.from('a bundle').toString('base64');
    await client.patch(webhooks, undefined, name, 'json', [
      { op: 'add', path: '/webhooks/1/clientConfig/caBundle', value: caBundle },
    ]);
    await apply('sidecarInjectorWebhook.reinvocationPolicy=IfNeeded');
    const found = (await client.get<Webhooks>(webhooks, undefined, name)).webhooks;
    assert.deepEqual(
      found.map(({ clientConfig }) => clientConfig.caBundle),
      [undefined, caBundle, undefined, undefined],
    );
    assert.ok(found.every(({ failurePolicy }) => failurePolicy === 'Fail'));
  });

  it('installs a revision beside the default one, and removes it alone', async () => {
    const done = await apply('revision=canary', 'revisionTags={prod}');
    assert.deepEqual(withKind(done, 'MutatingWebhookConfiguration'), [
      'MutatingWebhookConfiguration istio-revision-tag-prod created',
      'MutatingWebhookConfiguration istio-sidecar-injector-canary created',
    ]);
    assert.deepEqual(withKind(done, 'CustomResourceDefinition'), []);
    const removed: string[] = [];
    await removeInstallation(client, { namespace, revision: 'canary' }, (text) => removed.push(text));
    assert.ok(removed.includes('Deployment istio-system/istiod-canary'));
    assert.deepEqual(
      removed.filter((text) => !/canary|istio-revision-tag-prod/.test(text)),
      [],
    );
    await client.get(deployments, namespace, 'istiod');
  });

  it('moves a tag from revision to revision, and the tag default away from the default one', async () => {
    const injector = async (name: string): Promise<Webhooks> =>
      await client.get<Webhooks>(webhooks, undefined, name);
    const tag = (name: string, revision: string, overwrite = false) =>
      setTag(client, { tag: name, revision, namespace }, overwrite);
    await assert.rejects(tag('prod', 'canary'), /revision canary is not installed.*default/);
    await apply('revision=canary');
    await tag('prod', 'canary');
    await client.create(apiResources.namespaces, undefined, {
      metadata: { name: 'shop', labels: { 'istio.io/rev': 'prod' } },
    });
    const [listed] = await listTags(client, namespace);
    assert.deepEqual([listed?.tag, listed?.revision, listed?.namespaces], ['prod', 'canary', ['shop']]);
    await assert.rejects(tag('prod', 'default'), /stands for revision canary: --overwrite/);
    await tag('prod', 'default', true);
    assert.equal((await listTags(client, namespace))[0]?.revision, 'default');

    await tag('default', 'canary');
    assert.equal((await injector('istio-revision-tag-default')).webhooks.length, 4);
    const off = JSON.stringify((await injector('istio-sidecar-injector')).webhooks);
    assert.equal(off.match(/never-match/g)?.length, 8, 'both selectors of the four webhooks');
    // A later install of the default revision leaves them so.
    const wanted = withoutTaken(manifestsOf(withoutKinds), await listTags(client, namespace));
    assert.ok(!wanted.some(({ kind }) => kind === 'MutatingWebhookConfiguration'));
    for (const found of await listTags(client, namespace)) await removeTag(client, found);
    assert.deepEqual(await listTags(client, namespace), []);
    assert.doesNotMatch(JSON.stringify(await injector('istio-sidecar-injector')), /never-match/);
    await removeInstallation(client, { namespace, revision: 'canary' });
  });

  it('removes by its labels alone: other objects, and the kinds, stay unless all is purged', async () => {
    await client.create(apiResources.configMaps, namespace, { metadata: { name: 'mine', namespace } });
    const all = manifestsOf();
    const kinds = all.filter(({ kind }) => kind === 'CustomResourceDefinition').length;
    const removed = await removeInstallation(client, { namespace });
    assert.equal(removed, all.length - kinds - 1, 'all but the kinds and the namespace');
    assert.deepEqual((await client.listPage(budgets, { namespace })).items, []);
    await client.create(apiResources.configMaps, 'default', {
      metadata: { name: 'istio-ca-root-cert', namespace: 'default' },
    });
    assert.equal(await removeInstallation(client, { namespace, purge: true }), kinds + 1);
    assert.equal(await removeInstallation(client, { namespace, purge: true }), 0);
    const end = Date.now() + 60_000;
    while ((await client.listPage(definitions)).items.length > 0 && Date.now() < end) await sleep(200);
    assert.deepEqual((await client.listPage(definitions)).items, []);
    await client.get(apiResources.configMaps, namespace, 'mine');
  });
});
