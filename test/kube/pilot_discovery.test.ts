/** `pilot-discovery` on a real API server, as processes: configuration, endpoints, tokens, roots, restarts, replicas. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary } from '@bufbuild/protobuf';
import { createDefinitions, definitionOf } from '../harness/custom_kinds.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { needs } from '../harness/optional_parts.ts';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { Backoff } from '#base/backoff.ts';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResource, apiResources } from '#kube/object.ts';
import { type Right, clusterRights, namespaceRights } from '#pilot/bootstrap/kubernetes_rights.ts';
import { AdsClient } from '#xds/client/ads_client.ts';
import { GrpcClient } from '#xds/grpc_client.ts';
import { grpcTransport } from '#xds/grpc_transport.ts';
import { typeUrls } from '#xds/type_url.ts';

const skip = needs('etcd and kube-apiserver', kubeBinaries());
const pods = apiResource('v1', 'pods');
const services = apiResource('v1', 'services');
const slices = apiResource('discovery.k8s.io/v1beta1', 'endpointslices');
const accounts = apiResource('v1', 'serviceaccounts');
const serverName = 'istiod.istio-system.svc';

type Any = KubeObject & Readonly<Record<string, unknown>>;

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

/** A control plane as a process. */
class Pilot {
  readonly child: ChildProcess;
  log = '';

  constructor(t: TestContext, kubeconfig: string, name: string, more: readonly string[] = []) {
    const url = new URL('../../src/cli/pilot_discovery.ts', import.meta.url).href;
    const directory = mkdtempSync(join(tmpdir(), 'pilot-kube-'));
    const local = '127.0.0.1:0';
    const args = ['discovery', '--kubeconfig', kubeconfig, '--grpcAddr', '', '--secureGRPCAddr', local];
    args.push('--httpAddr', local, '--monitoringAddr', local, '--tlsName', '127.0.0.1', ...more);
    const code = `import { pilotDiscoveryCommand } from ${JSON.stringify(url)};
      await pilotDiscoveryCommand(process.env).parseAsync(${JSON.stringify(args)}, { from: 'user' });`;
    this.child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      cwd: directory,
      env: { ...process.env, POD_NAME: name, PILOT_DEBOUNCE_AFTER: '20ms' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.log += text));
    t.after(async () => {
      if (this.child.exitCode === null && this.child.signalCode === null) {
        this.child.kill('SIGKILL');
        await once(this.child, 'exit');
      }
      rmSync(directory, { recursive: true });
    });
  }

  async port(name: string): Promise<number> {
    const pattern = new RegExp(`control plane started.* ${name}=(\\d+)`);
    return Number(
      await until(
        'the control plane starts',
        () => pattern.exec(this.log)?.[1],
        () => this.log,
      ),
    );
  }

  async page(path: string): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${await this.port('http')}${path}`);
    assert.equal(response.status, 200, path);
    return await response.text();
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  }
}

interface Endpoint {
  readonly address: string;
  readonly zone: string;
  readonly tls: boolean;
}

describe('pilot-discovery on a cluster', { skip, timeout: 280_000 }, () => {
  let server: KubeApiServer;
  let client: KubeClient;

  before(async () => {
    server = await KubeApiServer.start();
    client = await server.client();
    await client.create(apiResources.namespaces, undefined, { metadata: { name: 'istio-system' } });
    await createDefinitions(client, [
      definitionOf('networking.istio.io/v1', 'VirtualService'),
      definitionOf('networking.istio.io/v1', 'DestinationRule'),
    ]);
    const nodes = apiResource('v1', 'nodes', false);
    for (const zone of ['a', 'b']) {
      const labels = { 'topology.kubernetes.io/region': 'r', 'topology.kubernetes.io/zone': zone };
      await client.create(nodes, undefined, { metadata: { name: `node-${zone}`, labels } });
    }
    for (const name of ['web', 'reviews']) await client.create(accounts, 'default', { metadata: { name } });
    await createPod('web-1', 'web', '10.1.0.1', 'a');
    await client.create<Any>(services, 'default', {
      metadata: { name: 'reviews' },
      spec: { selector: { app: 'reviews' }, ports: [{ name: 'http', port: 9080 }] },
    });
    for (const [i, zone] of ['a', 'b', 'a'].entries())
      await createPod(`reviews-${i + 1}`, 'reviews', `10.1.1.${i + 1}`, zone, i < 2);
    await putSlice([['reviews-1', '10.1.1.1']]);
  });
  after(async () => {
    client?.close();
    await server?.close();
  });

  async function createPod(
    name: string,
    app: string,
    ip: string,
    zone: string,
    meshed = true,
  ): Promise<void> {
    const labels = { app, ...(meshed ? { 'security.istio.io/tlsMode': 'istio' } : {}) };
    await client.create<Any>(pods, 'default', {
      metadata: { name, labels },
      spec: {
        nodeName: `node-${zone}`,
        serviceAccountName: app,
        containers: [{ name: 'app', image: 'app' }],
      },
    });
    const conditions = [{ type: 'Ready', status: 'True' }];
    const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions };
    await client.patch(pods, 'default', name, 'merge', { status }, { subresource: 'status' });
  }

  async function putSlice(
    members: readonly (readonly [pod: string, ip: string, ready?: boolean])[],
  ): Promise<void> {
    const slice: Any = {
      metadata: {
        name: 'reviews-x',
        namespace: 'default',
        labels: { 'kubernetes.io/service-name': 'reviews' },
      },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 9080 }],
      endpoints: members.map(([name, ip, ready = true]) => ({
        addresses: [ip],
        conditions: { ready },
        targetRef: { kind: 'Pod', namespace: 'default', name },
      })),
    };
    const found = await client.find(slices, 'default', 'reviews-x');
    if (found === undefined) await client.create(slices, 'default', slice);
    else await client.update(slices, slice);
  }

  async function token(name: string, audience = 'istio-ca'): Promise<string> {
    const pod = await client.get(pods, 'default', 'web-1');
    const bound = { kind: 'Pod', apiVersion: 'v1', name: 'web-1', uid: pod.metadata.uid };
    const answer = await client.createSubresource<{ status: { token: string } }>(
      accounts,
      'default',
      name,
      'token',
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: {
          audiences: [audience],
          expirationSeconds: 3600,
          ...(name === 'web' ? { boundObjectRef: bound } : {}),
        },
      },
    );
    return answer.status.token;
  }

  async function root(namespace = 'default'): Promise<string> {
    return await until(`the trust bundle of ${namespace}`, async () => {
      const found = await client.find<Any>(apiResources.configMaps, namespace, 'istio-ca-root-cert');
      return (found?.['data'] as Record<string, string> | undefined)?.['root-cert.pem'];
    });
  }

  /** A sidecar of web-1, by its token over TLS, that counts what it is sent. */
  async function proxy(t: TestContext, pilot: Pilot, bearer: string, namespace = 'default') {
    await pilot.port('http');
    const ca = await root();
    const grpc = new GrpcClient({
      address: { host: '127.0.0.1', port: await pilot.port('secure') },
      tls: () => ({ ca, serverName }),
      metadata: () => ({ authorization: `Bearer ${bearer}` }),
    });
    const counts = new Map<string, number>();
    const clusters = new Set<string>();
    const errors: number[] = [];
    let endpoints: Endpoint[] = [];
    const ads = new AdsClient({
      transport: grpcTransport(grpc),
      protocol: 'delta',
      node: () =>
        create(NodeSchema, {
          id: `sidecar~10.1.0.1~web-1.${namespace}~${namespace}.svc.cluster.local`,
          metadata: { NAMESPACE: namespace, SERVICE_ACCOUNT: 'web', CLUSTER_ID: 'Kubernetes' },
        }),
      backoff: new Backoff({ baseMs: 20, maxMs: 100 }),
      onState: (state) => {
        if (state.kind === 'waiting' && state.error !== undefined) errors.push(state.error.code);
      },
      onUpdate: async (typeUrl, { changed }) => {
        counts.set(typeUrl, (counts.get(typeUrl) ?? 0) + 1);
        if (typeUrl === typeUrls.cds) for (const { name } of changed) clusters.add(name);
        if (typeUrl !== typeUrls.eds) return;
        for (const { bytes } of changed) {
          const assignment = fromBinary(ClusterLoadAssignmentSchema, bytes);
          endpoints = assignment.endpoints
            .flatMap(({ locality, lbEndpoints }) =>
              lbEndpoints.map(({ hostIdentifier, metadata }) => {
                const address =
                  hostIdentifier.case === 'endpoint' ? hostIdentifier.value.address?.address : undefined;
                return {
                  address: address?.case === 'socketAddress' ? address.value.address : '',
                  zone: locality?.zone ?? '',
                  tls: metadata?.filterMetadata['envoy.transport_socket_match']?.['tlsMode'] === 'istio',
                };
              }),
            )
            .sort((a, b) => (a.address < b.address ? -1 : 1));
        }
      },
    });
    ads.subscribe(typeUrls.cds, '*');
    ads.subscribe(typeUrls.lds, '*');
    ads.subscribe(typeUrls.eds, ['outbound|9080||reviews.default.svc.cluster.local']);
    ads.start();
    t.after(() => {
      ads.close();
      grpc.close();
    });
    return {
      counts,
      clusters,
      errors,
      endpoints: () => endpoints.map(({ address }) => address),
      all: () => endpoints,
    };
  }

  it('serves proxies by token; an endpoint change is EDS and nothing else', async (t) => {
    const pilot = new Pilot(t, server.kubeconfig, 'istiod-1');
    assert.equal(await pilot.page('/ready'), '');
    const { counts, clusters, all, endpoints } = await proxy(t, pilot, await token('web'));
    await until(
      'the first endpoint',
      () => all().length === 1 || undefined,
      () => pilot.log,
    );
    assert.deepEqual(all(), [{ address: '10.1.1.1', zone: 'a', tls: true }]);
    assert.ok(clusters.has('outbound|9080||reviews.default.svc.cluster.local'));
    const before = new Map(counts);
    await putSlice([
      ['reviews-1', '10.1.1.1'],
      ['reviews-2', '10.1.1.2'],
      ['reviews-3', '10.1.1.3'],
      ['nobody', '10.1.1.4'],
    ]);
    await until('three endpoints', () => all().length === 3 || undefined);
    assert.deepEqual(all(), [
      { address: '10.1.1.1', zone: 'a', tls: true },
      { address: '10.1.1.2', zone: 'b', tls: true },
      { address: '10.1.1.3', zone: 'a', tls: false },
    ]);
    await putSlice([
      ['reviews-1', '10.1.1.1', false],
      ['reviews-2', '10.1.1.2'],
    ]);
    await until('one endpoint', () => (endpoints().length === 1 ? endpoints() : undefined));
    assert.deepEqual(endpoints(), ['10.1.1.2']);
    assert.equal(counts.get(typeUrls.cds), before.get(typeUrls.cds));
    assert.equal(counts.get(typeUrls.lds), before.get(typeUrls.lds));
    assert.ok((counts.get(typeUrls.eds) ?? 0) >= (before.get(typeUrls.eds) ?? 0) + 2);
    await putSlice([['reviews-1', '10.1.1.1']]);
    assert.match(await pilot.page('/debug/kubez'), /endpointslices/);
    assert.equal(await pilot.stop(), 0, pilot.log);
  });

  it('ends, and says why, when it cannot start', async (t) => {
    const pilot = new Pilot(t, server.kubeconfig, 'istiod-1', ['--namespace', 'nowhere']);
    const [code] = (await once(pilot.child, 'exit')) as [number | null];
    assert.notEqual(code, 0);
    assert.match(pilot.log, /namespaces "nowhere" not found/);
  });

  it('refuses tokens of other audiences and proxies of other namespaces', async (t) => {
    const pilot = new Pilot(t, server.kubeconfig, 'istiod-1');
    const audience = await proxy(t, pilot, await token('web', 'https://kubernetes.default.svc'));
    const elsewhere = await proxy(t, pilot, await token('web'), 'kube-public');
    const other = await proxy(t, pilot, await token('reviews'));
    await until(
      'all are refused',
      () => [audience, elsewhere, other].every(({ errors }) => errors.length > 0) || undefined,
    );
    // gRPC: 16 unauthenticated, 7 permission denied.
    assert.equal(audience.errors[0], 16);
    assert.equal(elsewhere.errors[0], 7);
    assert.equal(other.errors[0], 7);
    assert.equal(await pilot.stop(), 0, pilot.log);
  });

  it('writes the root into every namespace, repairs it, and keeps it across a restart', async (t) => {
    const first = new Pilot(t, server.kubeconfig, 'istiod-1');
    const pem = await root();
    await client.create(apiResources.namespaces, undefined, { metadata: { name: 'late' } });
    assert.equal(await root('late'), pem);
    await client.delete(apiResources.configMaps, 'late', 'istio-ca-root-cert');
    assert.equal(await root('late'), pem);
    const broken = { data: { 'root-cert.pem': 'nonsense' } };
    await client.patch(apiResources.configMaps, 'default', 'istio-ca-root-cert', 'merge', broken);
    await until('the repair', async () => (await root()) === pem || undefined);
    assert.equal(await client.find(apiResources.configMaps, 'kube-system', 'istio-ca-root-cert'), undefined);
    await first.stop('SIGKILL');
    await client.patch(apiResources.configMaps, 'default', 'istio-ca-root-cert', 'merge', broken);
    const second = new Pilot(t, server.kubeconfig, 'istiod-2');
    await until(
      'the repair by the next leader',
      async () => (await root()) === pem || undefined,
      () => second.log,
    );
    assert.equal(await second.stop(), 0, second.log);
  });

  it('two replicas have one root and one leader; the other takes over at once', async (t) => {
    await client.delete(apiResources.secrets, 'istio-system', 'istio-ca-secret');
    const pilots = ['istiod-a', 'istiod-b'].map((name) => new Pilot(t, server.kubeconfig, name));
    await Promise.all(pilots.map((pilot) => pilot.port('http')));
    const leading = async (pilot: Pilot): Promise<boolean> => {
      const { leases } = JSON.parse(await pilot.page('/debug/kubez')) as {
        leases: Record<string, { isLeader: boolean }>;
      };
      return leases['istio-namespace-controller-election']!.isLeader;
    };
    const leader = await until('a leader', async () => {
      const states = await Promise.all(pilots.map(leading));
      assert.ok(states.filter(Boolean).length <= 1);
      return pilots[states.indexOf(true)];
    });
    const follower = pilots.find((pilot) => pilot !== leader)!;
    const secret = await client.get<Any>(apiResources.secrets, 'istio-system', 'istio-ca-secret');
    const pem = Buffer.from(
      (secret['data'] as Record<string, string>)['root-cert.pem']!,
      'base64',
    ).toString();
    await until('the new root', async () => (await root()) === pem || undefined);
    // Both serve certificates of that root.
    for (const pilot of pilots) {
      const { all } = await proxy(t, pilot, await token('web'));
      await until(
        'configuration',
        () => all().length === 1 || undefined,
        () => pilot.log,
      );
    }
    assert.equal(await leader.stop(), 0, leader.log);
    await until('the other leads', async () => (await leading(follower)) || undefined);
    await client.create(apiResources.namespaces, undefined, { metadata: { name: 'later' } });
    assert.equal(await root('later'), pem);
    assert.equal(await follower.stop(), 0, follower.log);
  });

  it('serves files and the cluster together, and only the namespaces that are selected', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'pilot-files-'));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(
      join(folder, 'rule.yaml'),
      `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: default }
spec: { host: reviews, subsets: [{ name: v1, labels: { version: v1 } }] }
`,
    );
    await client.create<Any>(services, 'late', {
      metadata: { name: 'hidden' },
      spec: { ports: [{ port: 80 }] },
    });
    const mesh = {
      mesh: 'discoverySelectors: [{ matchExpressions: [{ key: mesh, operator: NotIn, values: ["no"] }] }]',
    };
    await client.create<Any>(apiResources.configMaps, 'istio-system', {
      metadata: { name: 'istio' },
      data: mesh,
    });
    await client.patch(apiResources.namespaces, undefined, 'late', 'merge', {
      metadata: { labels: { mesh: 'no' } },
    });
    const pilot = new Pilot(t, server.kubeconfig, 'istiod-1', ['--configDir', folder]);
    const { clusters } = await proxy(t, pilot, await token('web'));
    await until(
      'the subset',
      () => clusters.has('outbound|9080|v1|reviews.default.svc.cluster.local') || undefined,
      () => pilot.log,
    );
    const hidden = 'outbound|80||hidden.late.svc.cluster.local';
    assert.ok(!clusters.has(hidden));
    await client.patch(apiResources.namespaces, undefined, 'late', 'merge', {
      metadata: { labels: { mesh: null } },
    });
    await until('the service of the namespace that came', () => clusters.has(hidden) || undefined);
    assert.equal(await pilot.stop(), 0, pilot.log);
  });

  it('keeps serving while the API server is away, and carries on after', async (t) => {
    const pilot = new Pilot(t, server.kubeconfig, 'istiod-1');
    const { endpoints, errors } = await proxy(t, pilot, await token('web'));
    await until(
      'endpoints',
      () => endpoints().length === 1 || undefined,
      () => pilot.log,
    );
    await server.killApiServer();
    await sleep(1500);
    assert.equal(await pilot.page('/ready'), '');
    assert.deepEqual(endpoints(), ['10.1.1.1']);
    await server.startApiServer();
    await putSlice([['reviews-2', '10.1.1.2']]);
    await until(
      'the change',
      () => endpoints().join() === '10.1.1.2' || undefined,
      () => pilot.log,
    );
    assert.deepEqual(errors, []);
    assert.equal(await pilot.stop(), 0, pilot.log);
  });

  it('needs no more rights than it lists, and starts without those that are optional', async (t) => {
    const rbac = (plural: string, namespaced: boolean) =>
      apiResource('rbac.authorization.k8s.io/v1', plural, namespaced);
    const rules = (rights: readonly Right[]) =>
      rights.map(({ apiGroups, resources, verbs }) => ({ apiGroups, resources, verbs }));
    const withoutSecrets = clusterRights.filter(({ resources }) => !resources.includes('secrets'));
    const subjects = [{ kind: 'ServiceAccount', name: 'istiod', namespace: 'istio-system' }];
    const apiGroup = 'rbac.authorization.k8s.io';
    await client.create(accounts, 'istio-system', { metadata: { name: 'istiod' } });
    await client.create<Any>(rbac('clusterroles', false), undefined, {
      metadata: { name: 'istiod' },
      rules: rules(withoutSecrets),
    });
    await client.create<Any>(rbac('roles', true), 'istio-system', {
      metadata: { name: 'istiod' },
      rules: rules(namespaceRights),
    });
    await client.create<Any>(rbac('clusterrolebindings', false), undefined, {
      metadata: { name: 'istiod' },
      subjects,
      roleRef: { apiGroup, kind: 'ClusterRole', name: 'istiod' },
    });
    await client.create<Any>(rbac('rolebindings', true), 'istio-system', {
      metadata: { name: 'istiod' },
      subjects,
      roleRef: { apiGroup, kind: 'Role', name: 'istiod' },
    });
    const own = await client.createSubresource<{ status: { token: string } }>(
      accounts,
      'istio-system',
      'istiod',
      'token',
      { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
    );
    await client.delete(apiResources.secrets, 'istio-system', 'istio-ca-secret');
    const kubeconfig = server.writeKubeconfig('istiod', { token: own.status.token });
    const pilot = new Pilot(t, kubeconfig, 'istiod-1');
    await pilot.port('http');
    const secret = await client.get<Any>(apiResources.secrets, 'istio-system', 'istio-ca-secret');
    const pem = Buffer.from(
      (secret['data'] as Record<string, string>)['root-cert.pem']!,
      'base64',
    ).toString();
    await until(
      'the new root',
      async () => (await root()) === pem || undefined,
      () => pilot.log,
    );
    const { endpoints } = await proxy(t, pilot, await token('web'));
    await until(
      'endpoints',
      () => endpoints().length === 1 || undefined,
      () => pilot.log,
    );
    const rejected = {
      apiVersion: 'networking.istio.io/v1',
      kind: 'DestinationRule',
      metadata: { name: 'bad' },
      spec: { host: 7 },
    };
    await client.create<Any>(apiResource('networking.istio.io/v1', 'destinationrules'), 'default', rejected);
    const event = await until('the event at the bad object', async () => {
      const { items } = await client.listPage<Any>(apiResources.events, { namespace: 'default' });
      return items.find((item) => item['reason'] === 'InvalidConfiguration');
    });
    assert.match(String(event['message']), /^spec\.host: expected .*in force: nothing/);
    assert.match(await pilot.page('/debug/kubez'), /"rejected": \[\s+\{[^}]*"name": "bad"/);
    const forbidden = pilot.log
      .split('\n')
      .filter((line) => line.includes(': 403 ') && !line.includes('secrets'));
    assert.deepEqual(forbidden, []);
    assert.equal(await pilot.stop(), 0, pilot.log);
  });
});
