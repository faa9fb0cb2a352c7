/** The injection webhook of a control plane process, called by a real API server: what pods get, and who writes caBundle. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { needs } from '../harness/optional_parts.ts';
import type { KubeClient } from '#kube/client.ts';
import { KubeError } from '#kube/kube_error.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { type Right, clusterRights, namespaceRights } from '#pilot/bootstrap/kubernetes_rights.ts';

const skip = needs('etcd and kube-apiserver', kubeBinaries());
const pods = apiResource('v1', 'pods');
const configurations = apiResource('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false);
type Any = KubeObject & Readonly<Record<string, unknown>>;
type Labels = Readonly<Record<string, string>>;

interface Pod extends KubeObject {
  readonly spec: {
    readonly serviceAccountName?: string;
    readonly containers: readonly {
      readonly name: string;
      readonly image?: string;
      readonly env?: readonly { readonly name: string; readonly value?: string }[];
    }[];
    readonly initContainers?: readonly { readonly name: string }[];
  };
}

interface WebhookConfiguration extends KubeObject {
  readonly webhooks: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
}

async function until<T>(
  what: string,
  read: () => Promise<T | undefined> | T | undefined,
  detail = () => '',
): Promise<T> {
  const end = Date.now() + 25_000;
  for (;;) {
    const value = await read();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) assert.fail(`never: ${what}\n${detail()}`);
    await sleep(25);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** A control plane as a process, on a port of the test's choice: the API server is told where before it starts. */
class Pilot {
  readonly child: ChildProcess;
  readonly #directory = mkdtempSync(join(tmpdir(), 'webhook-'));
  log = '';

  constructor(kubeconfig: string, port: number, revision: string, name: string) {
    const url = new URL('../../src/cli/pilot_discovery.ts', import.meta.url).href;
    const local = '127.0.0.1:0';
    const args = ['discovery', '--kubeconfig', kubeconfig, '--grpcAddr', '', '--secureGRPCAddr', ''];
    args.push('--httpAddr', '', '--monitoringAddr', local, '--tlsName', '127.0.0.1');
    args.push('--httpsAddr', `127.0.0.1:${port}`);
    const code = `import { pilotDiscoveryCommand } from ${JSON.stringify(url)};
      await pilotDiscoveryCommand(process.env).parseAsync(${JSON.stringify(args)}, { from: 'user' });`;
    this.child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      cwd: this.#directory,
      env: { ...process.env, POD_NAME: name, REVISION: revision },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.log += text));
  }

  async started(): Promise<void> {
    await until(
      'the webhook starts',
      () => this.log.includes('injection webhook started') || undefined,
      () => this.log,
    );
  }

  async metrics(): Promise<string> {
    const port = /control plane started.* monitoring=(\d+)/.exec(this.log)?.[1] ?? '';
    return await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      const late = setTimeout(() => this.child.kill('SIGKILL'), 5000);
      await exited;
      clearTimeout(late);
    }
    rmSync(this.#directory, { recursive: true });
  }
}

const inject = 'sidecar.istio.io/inject';
const rev = 'istio.io/rev';
const one = (key: string, operator: string, ...values: string[]) => ({
  key,
  operator,
  ...(values.length === 0 ? {} : { values }),
});

/** The four pairs of selectors of a revision, as an installation has them. */
function configuration(name: string, revision: string, port: number): Any {
  const byDefault = revision === 'default';
  const revised = (label: string) => one(label, 'In', revision);
  const pairs: readonly (readonly [string, readonly object[], readonly object[]])[] = [
    [
      'rev.namespace.',
      [revised(rev), one('istio-injection', 'DoesNotExist')],
      [one(inject, 'NotIn', 'false')],
    ],
    [
      'rev.object.',
      [one(rev, 'DoesNotExist'), one('istio-injection', 'DoesNotExist')],
      [one(inject, 'NotIn', 'false'), revised(rev)],
    ],
    ...(byDefault
      ? ([
          ['namespace.', [one('istio-injection', 'In', 'enabled')], [one(inject, 'NotIn', 'false')]],
          [
            'object.',
            [one('istio-injection', 'DoesNotExist'), one(rev, 'DoesNotExist')],
            [one(inject, 'In', 'true'), one(rev, 'DoesNotExist')],
          ],
        ] as const)
      : []),
  ];
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name, labels: { [rev]: revision } },
    webhooks: pairs.map(([prefix, namespace, object]) => ({
      name: `${prefix}sidecar-injector.istio.io`,
      clientConfig: { url: `https://127.0.0.1:${port}/inject/cluster/east/net/n1` },
      sideEffects: 'None',
      rules: [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] }],
      failurePolicy: 'Fail',
      reinvocationPolicy: 'Never',
      admissionReviewVersions: ['v1'],
      namespaceSelector: { matchExpressions: namespace },
      objectSelector: { matchExpressions: object },
    })),
  };
}

describe('the webhook on a cluster', { skip, timeout: 200_000 }, () => {
  let server: KubeApiServer;
  let client: KubeClient;
  let main: Pilot;
  let canary: Pilot;
  let count = 0;

  before(async () => {
    server = await KubeApiServer.start();
    client = await server.client();
    await client.create(apiResources.namespaces, undefined, { metadata: { name: 'istio-system' } });
    const labelled: readonly (readonly [string, Labels])[] = [
      ['plain', {}],
      ['enabled', { 'istio-injection': 'enabled' }],
      ['disabled', { 'istio-injection': 'disabled' }],
      ['canary', { [rev]: 'canary' }],
      ['both', { 'istio-injection': 'enabled', [rev]: 'canary' }],
    ];
    for (const [name, labels] of labelled)
      await client.create(apiResources.namespaces, undefined, { metadata: { name, labels } });
    const ports = [await freePort(), await freePort()] as const;
    await client.create<Any>(configurations, undefined, configuration('injector', 'default', ports[0]));
    await client.create<Any>(configurations, undefined, configuration('injector-canary', 'canary', ports[1]));
    await putConfig('istio-sidecar-injector-canary', { values: 'global: { hub: canary, tag: "2" }' });
    const account = await leastRights();
    main = new Pilot(account, ports[0], '', 'istiod-1');
    canary = new Pilot(account, ports[1], 'canary', 'istiod-canary-1');
    await Promise.all([main.started(), canary.started()]);
    for (const name of ['injector', 'injector-canary']) await bundled(name);
  });
  after(async () => {
    client?.close();
    await main?.stop();
    await canary?.stop();
    await server?.close();
  });

  /** An account with the rights of an installation and no more. */
  async function leastRights(): Promise<string> {
    const group = 'rbac.authorization.k8s.io/v1';
    const rules = (rights: readonly Right[]) => rights.map(({ reason: _reason, ...rule }) => rule);
    const subjects = [{ kind: 'ServiceAccount', name: 'istiod', namespace: 'istio-system' }];
    const refer = (kind: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name: 'istiod' });
    const metadata = { name: 'istiod' };
    const accounts = apiResource('v1', 'serviceaccounts');
    await client.create(accounts, 'istio-system', { metadata });
    const cluster = [
      apiResource(group, 'clusterroles', false),
      apiResource(group, 'clusterrolebindings', false),
    ] as const;
    await client.create<Any>(cluster[0], undefined, { metadata, rules: rules(clusterRights) });
    await client.create<Any>(cluster[1], undefined, { metadata, subjects, roleRef: refer('ClusterRole') });
    await client.create<Any>(apiResource(group, 'roles'), 'istio-system', {
      metadata,
      rules: rules(namespaceRights),
    });
    await client.create<Any>(apiResource(group, 'rolebindings'), 'istio-system', {
      metadata,
      subjects,
      roleRef: refer('Role'),
    });
    const answer = await client.createSubresource<{ status: { token: string } }>(
      accounts,
      'istio-system',
      'istiod',
      'token',
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { audiences: ['https://kubernetes.default.svc'], expirationSeconds: 3600 },
      },
    );
    return server.writeKubeconfig('least', { token: answer.status.token });
  }

  async function putConfig(name: string, data: Labels): Promise<void> {
    const found = await client.find(apiResources.configMaps, 'istio-system', name);
    if (found === undefined)
      await client.create<Any>(apiResources.configMaps, 'istio-system', { metadata: { name }, data });
    else await client.patch(apiResources.configMaps, 'istio-system', name, 'merge', { data });
  }

  async function bundled(name: string): Promise<readonly string[]> {
    return await until(
      `caBundle in ${name}`,
      async () => {
        const { webhooks } = await client.get<WebhookConfiguration>(configurations, undefined, name);
        const bundles = webhooks.map(({ clientConfig }) => clientConfig.caBundle ?? '');
        const good = bundles.every((text) =>
          Buffer.from(text, 'base64').toString().includes('BEGIN CERTIFICATE'),
        );
        return good ? bundles : undefined;
      },
      () => main.log + canary.log,
    );
  }

  /** Creates a pod and gives it back as the API server has stored it. */
  async function create(
    namespace: string,
    labels: Labels = {},
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<Pod> {
    return await client.create<Pod>(pods, namespace, {
      metadata: { name: `web-${++count}`, labels, annotations: (more['annotations'] ?? {}) as Labels },
      spec: {
        serviceAccountName: 'default',
        ...(more['spec'] as object),
        containers: [{ name: 'web', image: 'web:1' }],
      },
    });
  }

  const proxyOf = ({ spec }: Pod) => spec.containers.find(({ name }) => name === 'istio-proxy');

  /** Revision that injected a pod; `none` when nobody did. */
  function injectedBy(pod: Pod): string {
    if (proxyOf(pod) === undefined) return 'none';
    const status = pod.metadata.annotations?.['sidecar.istio.io/status'] ?? '{}';
    return (JSON.parse(status) as { revision?: string }).revision ?? '';
  }

  const table: readonly (readonly [namespace: string, labels: Labels, by: string])[] = [
    ['enabled', {}, 'default'],
    ['enabled', { [inject]: 'false' }, 'none'],
    ['enabled', { [inject]: 'true' }, 'default'],
    ['plain', {}, 'none'],
    ['plain', { [inject]: 'true' }, 'default'],
    ['plain', { [rev]: 'canary' }, 'canary'],
    ['plain', { [rev]: 'canary', [inject]: 'false' }, 'none'],
    ['plain', { [rev]: 'unknown' }, 'none'],
    ['disabled', { [inject]: 'true' }, 'none'],
    ['canary', {}, 'canary'],
    ['canary', { [inject]: 'false' }, 'none'],
    ['both', {}, 'default'],
  ];
  for (const [namespace, labels, by] of table)
    it(`${namespace} ${JSON.stringify(labels)}: ${by}`, async () => {
      assert.equal(injectedBy(await create(namespace, labels)), by, main.log + canary.log);
    });

  it('the whole pod is injected: init container, environment of the URL, image of the revision', async () => {
    const pod = await create('enabled');
    assert.deepEqual(
      pod.spec.initContainers?.map(({ name }) => name),
      ['istio-init'],
    );
    const value = (name: string) => proxyOf(pod)?.env?.find((item) => item.name === name)?.value;
    assert.equal(value('ISTIO_META_CLUSTER_ID'), 'east');
    assert.equal(value('ISTIO_META_NETWORK'), 'n1');
    assert.match(proxyOf(await create('canary'))?.image ?? '', /^canary\/.*:2$/);
  });

  it('policy of the webhook: host network and annotations', async () => {
    assert.equal(injectedBy(await create('enabled', {}, { spec: { hostNetwork: true } })), 'none');
    assert.equal(injectedBy(await create('enabled', {}, { annotations: { [inject]: 'false' } })), 'none');
    await assert.rejects(
      create('enabled', {}, { annotations: { 'sidecar.istio.io/proxyCPU': 'lots' } }),
      (error) => error instanceof KubeError && error.status === 400 && error.message.includes('proxyCPU'),
    );
    const text = await main.metrics();
    const read = (name: string) =>
      Number(new RegExp(`^sidecar_injection_${name}_total (\\d+)`, 'm').exec(text)?.[1]);
    assert.ok(read('success') >= 5, text);
    assert.ok(read('skip') >= 2);
    assert.equal(read('failure'), 1);
    assert.equal(read('requests'), read('success') + read('skip') + read('failure'));
  });

  it('the ConfigMap is followed; a broken one changes nothing', async () => {
    const name = 'istio-sidecar-injector';
    const image = async () => proxyOf(await create('enabled'))?.image;
    await putConfig(name, { values: 'global: { hub: first, tag: "7" }' });
    await until(
      'the new image',
      async () => (await image()) === 'first/proxyv2:7' || undefined,
      () => main.log,
    );
    await putConfig(name, { values: 'global: { hub: [1] }' });
    await until('the complaint', () => main.log.includes('injector configuration is wrong') || undefined);
    assert.equal(await image(), 'first/proxyv2:7');
    await putConfig(name, { values: 'global: { hub: first, tag: "8" }', config: 'policy: disabled' });
    await until('no injection', async () => injectedBy(await create('enabled')) === 'none' || undefined);
    assert.equal(await proxyOf(await create('enabled', { [inject]: 'true' }))?.image, 'first/proxyv2:8');
    await client.delete(apiResources.configMaps, 'istio-system', name);
    await until('the defaults', async () => injectedBy(await create('enabled')) === 'default' || undefined);
  });

  it('mesh configuration is followed', async () => {
    await putConfig('istio', { mesh: 'defaultConfig: { concurrency: 3, proxyMetadata: { SHIP: cutter } }' });
    await until('the variable', async () => {
      const env = proxyOf(await create('enabled'))?.env ?? [];
      return env.some(({ name, value }) => name === 'SHIP' && value === 'cutter') || undefined;
    });
  });

  it('a caBundle that is changed or new is repaired by its revision alone', async () => {
    const good = await bundled('injector');
    const path = '/webhooks/1/clientConfig/caBundle';
    await client.patch(configurations, undefined, 'injector', 'json', [{ op: 'remove', path }]);
    assert.deepEqual(await bundled('injector'), good);
    const { webhooks, ...tag } = configuration('injector-tag', 'canary', 1);
    const own = {
      ...(webhooks as object[])[0],
      name: 'others.example.com',
      objectSelector: { matchLabels: { no: 'pod' } },
    };
    await client.create<Any>(configurations, undefined, { ...tag, webhooks: [own] });
    const stranger = configuration('injector-stranger', 'stranger', 1);
    await client.create<Any>(configurations, undefined, stranger);
    const third = configuration('injector-third', 'canary', 1);
    await client.create<Any>(configurations, undefined, third);
    await bundled('injector-third');
    for (const name of ['injector-tag', 'injector-stranger']) {
      const found = await client.get<WebhookConfiguration>(configurations, undefined, name);
      for (const { clientConfig } of found.webhooks) assert.equal(clientConfig.caBundle, undefined, name);
    }
  });
});
