/** `kube-inject` and `x check-inject` with the settings of a cluster, and in a pipe. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Json, documents, trysail } from './cases.ts';

const sample = join(import.meta.dirname, '../../samples/nginx/nginx-deployment.yaml');
const launcher = join(import.meta.dirname, '../../bin/trysail');

const values = { global: { hub: 'example.com/mesh', tag: '7', multiCluster: { clusterName: 'east' } } };
const webhook = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'MutatingWebhookConfiguration',
  metadata: { name: 'istio-sidecar-injector', labels: { 'istio.io/rev': 'canary' } },
  webhooks: [
    {
      name: 'namespace.sidecar-injector.istio.io',
      namespaceSelector: {
        matchExpressions: [{ key: 'istio-injection', operator: 'In', values: ['enabled'] }],
      },
    },
  ],
};
const configuration = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
const list = (items: readonly unknown[]): Json => ({
  kind: 'List',
  metadata: { resourceVersion: '1' },
  items,
});

/** The objects of the cluster, by path. */
const objects: Readonly<Record<string, unknown>> = {
  '/api/v1/namespaces/istio-system/configmaps/istio': {
    metadata: { name: 'istio' },
    data: { mesh: 'trustDomain: td' },
  },
  '/api/v1/namespaces/istio-system/configmaps/istio-sidecar-injector': {
    metadata: { name: 'istio-sidecar-injector' },
    data: { values: JSON.stringify(values), config: 'policy: enabled\ntemplates: {}\n' },
  },
  '/api/v1/nodes': list([{ metadata: { name: 'n' }, status: { nodeInfo: { kubeletVersion: 'v1.33.1' } } }]),
  '/api/v1/namespaces/shop': { metadata: { name: 'shop', labels: { 'istio-injection': 'enabled' } } },
  '/api/v1/namespaces/shop/pods/web': {
    metadata: { name: 'web', namespace: 'shop', labels: { app: 'web' } },
  },
  [configuration]: list([webhook]),
  [`${configuration}/istio-sidecar-injector`]: webhook,
};

let server: Server;
let folder = '';
let kubeconfig = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trysail-inject-'));
  server = createServer((request, response) => {
    const found = objects[(request.url ?? '').split('?')[0] ?? ''];
    const status = { kind: 'Status', apiVersion: 'v1', code: 404, reason: 'NotFound', message: 'not found' };
    response.writeHead(found === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found ?? status));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  kubeconfig = join(folder, 'config');
  const { port } = server.address() as AddressInfo;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }],
    users: [{ name: 'u', user: { token: 't' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
    'current-context': 'x',
  };
  await writeFile(kubeconfig, JSON.stringify(config));
});

after(async () => {
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true });
});

/** The proxy of the injected sample. */
function proxyOf(text: string): Json {
  const [deployment] = documents(text) as {
    spec: { template: { spec: Record<string, Json[] | undefined> } };
  }[];
  const { containers = [], initContainers = [] } = deployment!.spec.template.spec;
  const proxy = [...containers, ...initContainers].find((container) => container['name'] === 'istio-proxy');
  assert.ok(proxy !== undefined, text);
  return proxy;
}

test('the settings of the cluster, by KUBECONFIG', async () => {
  const { stdout, stderr, code } = await trysail(['kube-inject', '-f', sample], folder, {
    KUBECONFIG: kubeconfig,
  });
  assert.equal(code, 0, stderr);
  const proxy = proxyOf(stdout);
  assert.equal(proxy['image'], 'example.com/mesh/proxyv2:7');
  // All kubelets know native sidecars.
  assert.equal(proxy['restartPolicy'], 'Always');
  assert.match(JSON.stringify(proxy['env']), /"TRUST_DOMAIN","value":"td"/);
  assert.match(JSON.stringify(proxy['env']), /"ISTIO_META_CLUSTER_ID","value":"east"/);
});

test('a ConfigMap that is named must be there', async () => {
  const args = ['kube-inject', '-f', sample, '--kubeconfig', kubeconfig, '--meshConfigMapName', 'other'];
  const { stderr, code } = await trysail(args, folder);
  assert.equal(code, 1);
  assert.match(stderr, /no ConfigMap istio-system\/other/);
});

test('the revision of a webhook names the ConfigMaps', async () => {
  const args = [
    'kube-inject',
    '-f',
    sample,
    '--kubeconfig',
    kubeconfig,
    '--webhookConfig',
    'istio-sidecar-injector',
  ];
  const { stdout, stderr, code } = await trysail(args, folder);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /istio\.io\/rev: canary/);
});

test('a cluster that does not answer is left out, with a warning', async () => {
  const dead = join(folder, 'dead');
  const text = await readFile(kubeconfig, 'utf8');
  await writeFile(dead, text.replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1'));
  const { stdout, stderr, code } = await trysail(['kube-inject', '-f', sample], folder, { KUBECONFIG: dead });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /^Warning: the cluster does not answer, settings are the defaults/);
  assert.match(stdout, /name: istio-proxy/);
});

test('check-inject asks the cluster', async () => {
  const args = ['x', 'check-inject', 'web', '--kubeconfig', kubeconfig];
  const { stdout, stderr, code } = await trysail(args, folder);
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /^WEBHOOK +REVISION +INJECTED +REASON\nistio-sidecar-injector +canary +✔ +Namespace label istio-injection=enabled matches\n$/,
  );
});

test('standard input, and a file for the result', async () => {
  const output = join(folder, 'result.yaml');
  const { KUBECONFIG: _, ...env } = process.env;
  const run = spawnSync(process.execPath, [launcher, 'kube-inject', '-f', '-', '-o', output], {
    input: await readFile(sample, 'utf8'),
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...env, HOME: folder },
  });
  assert.equal(run.status, 0, run.stderr);
  assert.equal(run.stdout, '');
  assert.match(await readFile(output, 'utf8'), /name: istio-proxy/);
});

test('wrong use is told', async () => {
  const missing = await trysail(['kube-inject'], folder);
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /filename not specified/);
  const version = await trysail(['kube-inject', '-f', sample, '--compatibility-version', '1.0'], folder);
  assert.equal(version.code, 2);
  assert.match(version.stderr, /current, 1\.8/);
});
