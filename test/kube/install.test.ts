/** Installing into a real API server and out of it. No controllers run: nothing becomes available. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { applyManifest, foreignObjects, removeManifests } from '#install/apply.ts';
import { type InstallOptions, installManifests, meshConfigName } from '#install/manifests.ts';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { needs } from '../harness/optional_parts.ts';

const options: InstallOptions = {
  namespace: 'istio-system',
  hub: 'docker.io/trysail',
  tag: '0.1.0',
  imagePullPolicy: 'Never',
  replicas: 1,
  policyVersion: 'v1beta1',
};
const services = apiResource('v1', 'services');

describe('install', { skip: needs('etcd and kube-apiserver', kubeBinaries()), timeout: 120_000 }, () => {
  let server: KubeApiServer;
  let client: KubeClient;
  const manifests = installManifests(options);
  const applyAll = async (): Promise<string[]> => {
    const done: string[] = [];
    for (const manifest of manifests) done.push(`${manifest.kind} ${await applyManifest(client, manifest)}`);
    return done;
  };

  before(async () => {
    server = await KubeApiServer.start();
    client = await server.client();
  });
  after(async () => {
    client?.close();
    await server?.close();
  });

  it('touches nothing of another installation', async () => {
    await client.create(apiResource('v1', 'namespaces', false), undefined, {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'istio-system' },
    });
    await client.create(services, 'istio-system', {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'istiod', namespace: 'istio-system' },
      spec: { ports: [{ port: 1 }] },
    } as KubeObject);
    assert.deepEqual(await foreignObjects(client, manifests), ['Service istio-system/istiod']);
    assert.equal(await removeManifests(client, manifests, true), 0);
    await client.delete(services, 'istio-system', 'istiod');
    assert.deepEqual(await foreignObjects(client, manifests), []);
  });

  it('creates all objects, and the kinds can be used', async () => {
    const done = await applyAll();
    assert.deepEqual(
      done.filter((text) => !text.endsWith(' created')),
      ['Namespace kept'],
    );
    await client.create(apiResource('networking.istio.io/v1', 'virtualservices'), 'default', {
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: { name: 'a', namespace: 'default' },
      spec: { hosts: ['a'], http: [{ route: [{ destination: { host: 'a' } }] }] },
    } as KubeObject);
  });

  it('keeps the settings of the mesh when it is run again', async () => {
    const { configMaps } = apiResources;
    await client.patch(configMaps, 'istio-system', meshConfigName, 'merge', {
      data: { mesh: 'accessLogFile: /dev/stdout\n' },
    });
    assert.ok((await applyAll()).includes('Deployment patched'));
    const { data } = await client.get<KubeObject & { data: Record<string, string> }>(
      configMaps,
      'istio-system',
      meshConfigName,
    );
    assert.equal(data['mesh'], 'accessLogFile: /dev/stdout\n');
  });

  it('keeps the trust in the webhook when it is run again', async () => {
    const webhooks = apiResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false);
    const read = async () =>
      (
        await client.get<
          KubeObject & {
            webhooks: { name: string; failurePolicy: string; clientConfig: { caBundle?: string } }[];
          }
        >(webhooks, undefined, 'istio-sidecar-injector')
      ).webhooks;
    const caBundle = Buffer.from('a bundle').toString('base64');
    await client.patch(webhooks, undefined, 'istio-sidecar-injector', 'json', [
      { op: 'add', path: '/webhooks/1/clientConfig/caBundle', value: caBundle },
    ]);
    await applyAll();
    const found = await read();
    assert.deepEqual(
      found.map(({ clientConfig }) => clientConfig.caBundle),
      [undefined, caBundle, undefined, undefined],
    );
    assert.ok(found.every(({ failurePolicy }) => failurePolicy === 'Fail'));
  });

  it('removes what is its own: the kinds stay unless all is purged', async () => {
    const kinds = manifests.filter(({ kind }) => kind === 'CustomResourceDefinition').length;
    const removed = await removeManifests(client, manifests, false);
    assert.equal(
      removed,
      manifests.length - kinds - 1,
      'all but the kinds and the namespace, which was there',
    );
    assert.equal(await removeManifests(client, manifests, true), kinds);
    assert.equal(await removeManifests(client, manifests, true), 0);
  });
});
