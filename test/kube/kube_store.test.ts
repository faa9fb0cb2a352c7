/** The config store that follows a cluster, on a real API server. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDefinitions, definitionOf } from '../harness/custom_kinds.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { needs } from '../harness/optional_parts.ts';
import type { Resource } from '#config/resource.ts';
import { describeConfigStore } from '#config/store/contract.ts';
import { type KubeStore, openKubeStore } from '#config/store/kube/kube_store.ts';
import type { ConfigStore } from '#config/store/store.ts';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { toPrometheusText } from '#telemetry/prometheus_text.ts';

const skip = needs('etcd and kube-apiserver', kubeBinaries());
const accounts = apiResource('v1', 'serviceaccounts');
const slices = apiResource('discovery.k8s.io/v1beta1', 'endpointslices');
const virtualServices = apiResource('networking.istio.io/v1', 'virtualservices');

type Any = KubeObject & Readonly<Record<string, unknown>>;

async function until(what: string, condition: () => boolean, ms = 15_000): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`never: ${what}`);
    await sleep(10);
  }
}

describe('a store that follows a cluster', { skip, timeout: 200_000 }, () => {
  let server: KubeApiServer;
  let client: KubeClient;

  before(async () => {
    server = await KubeApiServer.start();
    client = await server.client();
    await client.create(apiResources.namespaces, undefined, { metadata: { name: 'other' } });
    // The server makes its own namespaces a moment after it is ready.
    for (const name of ['kube-public', 'kube-node-lease'])
      while ((await client.find(apiResources.namespaces, undefined, name)) === undefined) await sleep(50);
  });
  after(async () => {
    client?.close();
    await server?.close();
  });

  const backoff = { baseMs: 20, maxMs: 500 };

  async function open(metrics = new MetricsRegistry()): Promise<KubeStore> {
    const store = openKubeStore({ client, metrics, backoff, resolveAgainMs: 300 });
    await store.whenSynced();
    return store;
  }

  describeConfigStore('Kubernetes', async () => {
    const store: KubeStore = await open();
    const shown = (wanted: Resource) => {
      const found = store.get(wanted.kind, wanted.metadata.namespace, wanted.metadata.name);
      return found?.metadata.labels['version'];
    };
    return {
      store: store as ConfigStore,
      async put(...resources) {
        for (const { metadata } of resources) {
          const { name, namespace, labels } = metadata;
          const object = { metadata: { name, namespace, labels } };
          const found = await client.find(accounts, namespace, name);
          if (found === undefined) await client.create(accounts, namespace, object);
          else await client.patch(accounts, namespace, name, 'merge', { metadata: { labels } });
        }
        await until('the objects show', () =>
          resources.every((resource) => shown(resource) === resource.metadata.labels['version']),
        );
      },
      async remove(resource) {
        await client.delete(accounts, resource.metadata.namespace, resource.metadata.name);
        await until('the object is gone', () => shown(resource) === undefined);
      },
      async close() {
        for (const { metadata } of store.list('ServiceAccount'))
          await client.delete(accounts, metadata.namespace, metadata.name);
        await store.close();
      },
    };
  });

  it('reads what the mesh needs of Kubernetes objects, and takes changes of the rest for none', async () => {
    const node: Any = {
      metadata: { name: 'n1', labels: { 'topology.kubernetes.io/zone': 'z1' } },
      status: { addresses: [{ type: 'InternalIP', address: '10.0.0.1' }] },
    };
    await client.create(apiResource('v1', 'nodes', false), undefined, node);
    const pods = apiResource('v1', 'pods');
    await client.create<Any>(pods, 'default', {
      metadata: { name: 'p1', labels: { app: 'web' } },
      spec: {
        nodeName: 'n1',
        serviceAccountName: 'web',
        containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 80 }] }],
      },
    });
    await client.create<Any>(slices, 'default', {
      metadata: { name: 's1', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 80 }],
      endpoints: [
        {
          addresses: ['10.1.0.1'],
          topology: { 'kubernetes.io/hostname': 'n1', 'topology.kubernetes.io/zone': 'z1' },
        },
      ],
    });
    await client.create<Any>(apiResources.secrets, 'default', {
      metadata: { name: 'gateway' },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': 'Yw==', 'tls.key': 'aw==', other: 'eA==' },
    });
    await client.create<Any>(apiResources.secrets, 'default', {
      metadata: { name: 'password' },
      data: { password: 'eA==' },
    });
    await client.create<Any>(apiResources.configMaps, 'default', {
      metadata: { name: 'application' },
      data: {},
    });
    const store = await open();
    const heard: string[] = [];
    store.subscribe((changes) => {
      for (const { type, resource } of changes)
        heard.push(`${type} ${resource.kind} ${resource.metadata.name}`);
    });
    assert.deepEqual(store.get('Pod', 'default', 'p1')?.body['spec'], {
      serviceAccountName: 'web',
      nodeName: 'n1',
      containers: [{ name: 'c', ports: [{ name: 'http', containerPort: 80, protocol: 'TCP' }] }],
    });
    const slice = store.get('EndpointSlice', 'default', 's1');
    assert.equal(slice?.apiVersion, 'discovery.k8s.io/v1');
    assert.deepEqual(slice?.body['endpoints'], [
      { addresses: ['10.1.0.1'], conditions: {}, nodeName: 'n1', zone: 'z1' },
    ]);
    assert.deepEqual(store.get('Secret', 'default', 'gateway')?.body['data'], {
      'tls.crt': 'Yw==',
      'tls.key': 'aw==',
    });
    assert.equal(store.get('Secret', 'default', 'password'), undefined);
    assert.deepEqual(store.list('ConfigMap'), []);
    const status = (phase: string, message: string) =>
      client.patch(pods, 'default', 'p1', 'merge', { status: { phase, message } }, { subresource: 'status' });
    await status('Running', 'one');
    await status('Running', 'two');
    await client.patch(apiResource('v1', 'nodes', false), undefined, 'n1', 'merge', {
      metadata: { labels: { x: 'y' } },
    });
    await status('Succeeded', 'done');
    await until('the pod that ended is gone', () => store.get('Pod', 'default', 'p1') === undefined);
    await until('the node shows', () => heard.length === 3);
    assert.deepEqual(
      heard.filter((line) => line.includes('Pod')),
      ['update Pod p1', 'delete Pod p1'],
    );
    await store.close();
  });

  it('follows custom kinds as their definitions come and go, and changes of version', async () => {
    const store = await open();
    assert.ok(store.synced, 'no custom kind is needed to start');
    const route = (name: string): Any => ({
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: { name },
      spec: { hosts: ['web'], http: [{ route: [{ destination: { host: 'web' } }] }] },
    });
    const definition = definitionOf('networking.istio.io/v1', 'VirtualService', ['v1']);
    await createDefinitions(client, [definition]);
    const createRoute = async (name: string): Promise<void> => {
      for (let tries = 0; ; tries++) {
        try {
          await client.create(virtualServices, 'default', route(name));
          return;
        } catch (error) {
          // The server takes a moment until it serves a new kind.
          if (tries > 100) throw error;
          await sleep(50);
        }
      }
    };
    await createRoute('one');
    await until('the route shows', () => store.get('VirtualService', 'default', 'one') !== undefined);
    const removed: string[] = [];
    store.subscribe((changes) => {
      for (const { type, resource } of changes) if (type === 'delete') removed.push(resource.metadata.name);
    });
    // The version that is followed is not served any more; an older one is.
    const older = definitionOf('networking.istio.io/v1', 'VirtualService', ['v1', 'v1beta1']);
    const found = await client.get<Any>(
      apiResources.customResourceDefinitions,
      undefined,
      definition.metadata.name,
    );
    const [v1, beta] = (older.spec as { versions: readonly object[] }).versions;
    const versions = [
      { ...v1, served: false, storage: true },
      { ...beta, served: true, storage: false },
    ];
    await client.update(apiResources.customResourceDefinitions, {
      ...found,
      spec: { ...(found['spec'] as object), versions },
    });
    await until('the older version is followed', () =>
      store
        .watches()
        .some(({ resource, synced }) => resource === 'networking.istio.io/v1beta1/virtualservices' && synced),
    );
    await client.create(apiResource('networking.istio.io/v1beta1', 'virtualservices'), 'default', {
      ...route('two'),
      apiVersion: 'networking.istio.io/v1beta1',
    });
    await until('both show', () => store.list('VirtualService').length === 2);
    assert.deepEqual(removed, []);
    assert.equal(store.get('VirtualService', 'default', 'two')?.apiVersion, 'networking.istio.io/v1');
    await client.delete(apiResources.customResourceDefinitions, undefined, definition.metadata.name);
    await until('both are gone', () => store.list('VirtualService').length === 0);
    await until(
      'the watch is gone',
      () => !store.watches().some(({ resource }) => resource.includes('virtualservices')),
    );
    assert.deepEqual(removed.sort(), ['one', 'two']);
    await store.close();
  });

  it('keeps the last good version of an object, and reports what is wrong until it is right or gone', async () => {
    const definition = definitionOf('networking.istio.io/v1', 'ServiceEntry');
    const entries = apiResource('networking.istio.io/v1', 'serviceentries');
    await createDefinitions(client, [definition]);
    const metrics = new MetricsRegistry();
    const store = await open(metrics);
    await until('the kind is followed', () =>
      store.watches().some(({ resource, synced }) => resource.endsWith('serviceentries') && synced),
    );
    const entry = (name: string, hosts: unknown): Any => ({
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name },
      spec: { hosts, ports: [{ number: 443, name: 'tls', protocol: 'TLS' }], resolution: 'NONE' },
    });
    await client.create(entries, 'default', entry('good', ['a.example.com']));
    await client.create(entries, 'default', entry('bad', 7));
    await until(
      'both are read',
      () => store.list('ServiceEntry').length === 1 && store.problems().length === 1,
    );
    assert.equal(store.problems()[0]?.inForce, 'nothing');
    assert.match(store.problems()[0]!.errors[0]!, /^spec\.hosts: expected a list, found 7/);
    await client.patch(entries, 'default', 'good', 'merge', { spec: { hosts: 'x' } });
    await until('the bad change is reported', () => store.problems().length === 2);
    assert.deepEqual(
      (store.get('ServiceEntry', 'default', 'good')!.body['spec'] as { hosts: unknown }).hosts,
      ['a.example.com'],
    );
    assert.match(toPrometheusText(metrics.snapshot()), /pilot_rejected_configs\{kind="ServiceEntry"\} 2/);
    await client.delete(entries, 'default', 'bad');
    await client.patch(entries, 'default', 'good', 'merge', { spec: { hosts: ['b.example.com'] } });
    await until('all is well', () => store.problems().length === 0);
    assert.deepEqual(
      (store.get('ServiceEntry', 'default', 'good')!.body['spec'] as { hosts: unknown }).hosts,
      ['b.example.com'],
    );
    assert.match(toPrometheusText(metrics.snapshot()), /pilot_rejected_configs\{kind="ServiceEntry"\} 0/);
    await store.close();
    await client.delete(apiResources.customResourceDefinitions, undefined, definition.metadata.name);
  });

  it('equals the server after kill -9 under changes of several kinds', async () => {
    const store = await open();
    const services = apiResource('v1', 'services');
    const known = new Map<string, string>();
    store.subscribe((changes) => {
      for (const { type, resource } of changes) {
        const key = `${resource.kind}/${resource.metadata.namespace}/${resource.metadata.name}`;
        // No add of what is known, no delete or update of what is not.
        assert.equal(known.has(key), type !== 'add', `${type} ${key}`);
        if (type === 'delete') known.delete(key);
        else known.set(key, resource.metadata.resourceVersion);
      }
    });
    const insist = async (action: () => Promise<unknown>): Promise<void> => {
      for (let tries = 0; ; tries++) {
        try {
          await action();
          return;
        } catch (error) {
          if ((error as { status?: number }).status === 409) return;
          if (tries > 400) throw error;
          await sleep(50);
        }
      }
    };
    const writing = (async () => {
      for (let i = 0; i < 60; i++) {
        await insist(() =>
          client.create<Any>(services, 'other', {
            metadata: { name: `s${i}` },
            spec: { ports: [{ port: 80 }] },
          }),
        );
        await insist(() =>
          client.create<Any>(slices, 'other', {
            metadata: { name: `s${i}`, labels: { 'kubernetes.io/service-name': `s${i}` } },
            addressType: 'IPv4',
            endpoints: [{ addresses: [`10.2.0.${i + 1}`] }],
            ports: [{ port: 80 }],
          }),
        );
        if (i % 4 === 3) await insist(() => client.delete(services, 'other', `s${i - 1}`));
        await sleep(40);
      }
    })();
    await sleep(800);
    await server.killApiServer();
    await server.startApiServer();
    await writing;
    const expected = async (resource: typeof services): Promise<string> => {
      const page = await client.listPage(resource, { namespace: 'other' });
      return page.items
        .map(({ metadata }) => metadata.name)
        .sort()
        .join();
    };
    const shown = (kind: string): string =>
      store
        .list(kind)
        .filter(({ metadata }) => metadata.namespace === 'other')
        .map(({ metadata }) => metadata.name)
        .sort()
        .join();
    const [wantedServices, wantedSlices] = [await expected(services), await expected(slices)];
    await until(
      'the store equals the server',
      () => shown('Service') === wantedServices && shown('EndpointSlice') === wantedSlices,
    );
    assert.equal([...known.keys()].filter((key) => key.startsWith('Service/other/')).length, 45);
    await store.close();
  });

  it('falls back to Endpoints when the server loses its EndpointSlices, and comes back', async () => {
    const endpoints = apiResource('v1', 'endpoints');
    await client.create<Any>(endpoints, 'other', {
      metadata: { name: 'old' },
      subsets: [{ addresses: [{ ip: '10.3.0.1' }], ports: [{ port: 80 }] }],
    });
    const store = await open();
    const had = store.list('EndpointSlice').length;
    assert.ok(had > 0);
    let least = had;
    store.subscribe(() => {
      if (store.list('Endpoints').length === 0) least = Math.min(least, store.list('EndpointSlice').length);
    });
    await server.killApiServer();
    await server.startApiServer(['--runtime-config=discovery.k8s.io/v1beta1=false']);
    await until('Endpoints show', () => store.get('Endpoints', 'other', 'old') !== undefined, 40_000);
    await until('slices are gone', () => store.list('EndpointSlice').length === 0);
    assert.equal(least, had, 'slices went before Endpoints came');
    await store.close();
    await server.killApiServer();
    await server.startApiServer();
    const again = await open();
    assert.equal(again.list('EndpointSlice').length, had);
    assert.deepEqual(again.list('Endpoints'), []);
    await again.close();
  });
});
