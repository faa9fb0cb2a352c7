import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import { create, fromBinary } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { NameTableSchema } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { Backoff } from '#base/backoff.ts';
import type { Resource } from '#config/resource.ts';
import { createMemoryStore } from '#config/store/memory.ts';
import type { Authenticator } from '#security/authn/authenticator.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { toPrometheusText } from '#telemetry/prometheus_text.ts';
import { AdsClient } from '#xds/client/ads_client.ts';
import type { ResourceUpdate, UpdateOutcome } from '#xds/client/resource_update.ts';
import { GrpcError, grpcStatus } from '#xds/grpc_status.ts';
import { memoryTransport } from '#xds/memory_transport.ts';
import type { Peer } from '#xds/transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { cds } from './cds.ts';
import { DiscoveryServer, type Progress } from './discovery_server.ts';
import { eds } from './eds.ts';
import { lds } from './lds.ts';
import type { Generator } from './generator.ts';
import { pilotMetrics } from './metrics.ts';
import { nds } from './nds.ts';

let versions = 0;

function resource(kind: string, name: string, body: Record<string, unknown>, labels = {}): Resource {
  return {
    apiVersion: kind === 'EndpointSlice' ? 'discovery.k8s.io/v1' : 'v1',
    kind,
    metadata: {
      name,
      namespace: 'default',
      labels,
      annotations: {},
      creationTimestamp: 0,
      resourceVersion: String(++versions),
    },
    body,
  };
}

function service(name: string, clusterIP: string): Resource {
  const ports = [{ name: 'http', port: 9080, targetPort: 9080, protocol: 'TCP' }];
  return resource('Service', name, {
    spec: { clusterIP, clusterIPs: [clusterIP], selector: { app: name }, ports },
  });
}

function slice(name: string, ...addresses: string[]): Resource {
  return resource(
    'EndpointSlice',
    `${name}-1`,
    {
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 9080, protocol: 'TCP' }],
      endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    },
    { 'kubernetes.io/service-name': name },
  );
}

const reviews = 'outbound|9080||reviews.default.svc.cluster.local';

function node(id = 'sidecar~10.0.0.9~web-1.default~default.svc.cluster.local') {
  return create(NodeSchema, { id, metadata: { NAMESPACE: 'default', ISTIO_VERSION: '1.30.0' } });
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 3000;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`timed out: ${what}`);
    await sleep(5);
  }
}

interface SetUpOptions {
  readonly generators?: readonly Generator[];
  readonly authenticators?: readonly Authenticator[];
}

function setUp(
  t: TestContext,
  { generators = [cds, eds, lds, nds], authenticators = [] }: SetUpOptions = {},
) {
  const store = createMemoryStore();
  store.put(service('reviews', '10.96.0.1'), slice('reviews', '10.0.0.1'));
  const registry = new MetricsRegistry();
  const server = new DiscoveryServer({
    store,
    generators,
    authenticators,
    metrics: pilotMetrics(registry, 'test'),
    debounce: { afterMs: 20, maxMs: 200 },
  });
  t.after(() => server.close());
  const progress: Progress[] = [];
  server.subscribe((one) => progress.push(one));
  const connect = (
    options: {
      peer?: Peer;
      id?: string;
      onUpdate?: (typeUrl: string, update: ResourceUpdate) => UpdateOutcome;
    } = {},
  ) => {
    const updates: { typeUrl: string; update: ResourceUpdate }[] = [];
    const errors: GrpcError[] = [];
    const client = new AdsClient({
      transport: memoryTransport(server.xds, options.peer),
      protocol: 'delta',
      node: () => node(options.id),
      backoff: new Backoff({ baseMs: 10_000, maxMs: 10_000 }),
      onState: (state) => {
        if (state.kind === 'waiting' && state.error !== undefined) errors.push(state.error);
      },
      onUpdate: async (typeUrl, update) => {
        updates.push({ typeUrl, update });
        return options.onUpdate?.(typeUrl, update);
      },
    });
    client.subscribe(typeUrls.cds, '*');
    client.subscribe(typeUrls.eds, [reviews]);
    client.subscribe(typeUrls.nds, '*');
    client.subscribe(typeUrls.lds, '*');
    client.start();
    t.after(() => client.close());
    return { client, updates, errors, last: () => updates.at(-1)! };
  };
  return { store, server, registry, progress, connect };
}

function addresses(update: ResourceUpdate): string[] {
  const assignment = fromBinary(ClusterLoadAssignmentSchema, update.changed[0]!.bytes);
  return assignment.endpoints.flatMap(({ lbEndpoints }) =>
    lbEndpoints.map(({ hostIdentifier }) => {
      const host = hostIdentifier.case === 'endpoint' ? hostIdentifier.value.address?.address : undefined;
      return host?.case === 'socketAddress' ? host.value.address : '';
    }),
  );
}

test('a proxy gets clusters, endpoints and names, and becomes live', async (t) => {
  const { server, progress, connect } = setUp(t);
  const { updates } = connect();
  await until(() => progress.at(-1)?.live === 1, 'live');
  const byType = new Map(updates.map(({ typeUrl, update }) => [typeUrl, update]));
  assert.ok(byType.get(typeUrls.cds)!.changed.some(({ name }) => name === reviews));
  assert.deepEqual(addresses(byType.get(typeUrls.eds)!), ['10.0.0.1']);
  const table = fromBinary(NameTableSchema, byType.get(typeUrls.nds)!.changed[0]!.bytes);
  assert.deepEqual(table.table['reviews.default.svc.cluster.local']?.ips, ['10.96.0.1']);
  await until(() => server.proxyStatus('web-1.default')?.summary !== 'STALE', 'answers');
  const status = server.proxyStatus('web-1.default')!;
  assert.deepEqual(Object.fromEntries(status.types.map(({ type, state }) => [type, state])), {
    CDS: 'SYNCED',
    EDS: 'SYNCED',
    NDS: 'SYNCED',
    LDS: 'SYNCED',
    RDS: 'IGNORED',
    ECDS: 'IGNORED',
  });
});

test('a change of endpoints pushes endpoints alone', async (t) => {
  const { store, server, progress, registry, connect } = setUp(t);
  const { updates, last } = connect();
  await until(() => progress.at(-1)?.live === 1, 'live');
  const before = updates.length;
  store.put(slice('reviews', '10.0.0.1', '10.0.0.2'));
  await until(() => server.progress().generation === 2 && server.progress().live === 1, 'live again');
  assert.equal(updates.length, before + 1);
  assert.equal(last().typeUrl, typeUrls.eds);
  assert.deepEqual(addresses(last().update).sort(), ['10.0.0.1', '10.0.0.2']);
  const text = toPrometheusText(registry.snapshot());
  assert.match(text, /pilot_xds_pushes\{type="eds"\} 2/);
  assert.match(text, /pilot_xds_pushes\{type="cds"\} 1/);
  assert.match(text, /pilot_push_triggers\{type="endpoint"\} 1/);
  assert.match(text, /pilot_proxy_convergence_time_count 1/);
});

test('a burst of changes is one push, and what is unchanged is not sent', async (t) => {
  const { store, server, progress, connect } = setUp(t);
  const { updates } = connect();
  await until(() => progress.at(-1)?.live === 1, 'live');
  for (let i = 0; i < 100; i++) store.put(service(`s${i}`, `10.97.0.${i}`));
  await until(() => server.progress().generation === 2 && server.progress().live === 1, 'live again');
  assert.equal(server.pushes, 1);
  const clusters = updates.filter(({ typeUrl }) => typeUrl === typeUrls.cds).at(-1)!;
  assert.equal(clusters.update.changed.length, 100);
});

test('a refusal shows in status and progress until it is healed', async (t) => {
  let refuse = true;
  const { store, server, progress, registry, connect } = setUp(t);
  connect({
    onUpdate: (typeUrl) =>
      refuse && typeUrl === typeUrls.eds
        ? { rejected: [{ name: reviews, message: 'bad weight' }] }
        : undefined,
  });
  await until(() => progress.at(-1)?.rejected === 1, 'rejected');
  const status = server.proxyStatus('web-1.default')!;
  assert.equal(status.summary, 'ERROR');
  assert.equal(status.types.find(({ type }) => type === 'EDS')?.detail, `${reviews}: bad weight`);
  assert.match(toPrometheusText(registry.snapshot()), /pilot_total_xds_rejects\{type="eds"\} 1/);
  refuse = false;
  store.put(slice('reviews', '10.0.0.3'));
  await until(() => server.progress().generation === 2 && server.progress().live === 1, 'healed');
  assert.notEqual(server.proxyStatus('web-1.default')!.summary, 'ERROR');
});

test('a generator that fails leaves the other types alone', async (t) => {
  let broken = true;
  const failing: Generator = {
    ...eds,
    generate: (...args) => {
      if (broken) throw new Error('no endpoints today');
      return eds.generate(...args);
    },
  };
  const { store, server, progress, connect } = setUp(t, { generators: [cds, failing, lds, nds] });
  const { updates } = connect();
  await until(() => progress.at(-1)?.rejected === 1, 'failure');
  await until(() => updates.length === 3, 'other types');
  const status = server.proxyStatus('web-1.default')!;
  assert.deepEqual(
    status.types.filter(({ state }) => state === 'ERROR').map(({ type, detail }) => [type, detail]),
    [['EDS', 'no endpoints today']],
  );
  broken = false;
  store.put(slice('reviews', '10.0.0.3'));
  await until(() => server.progress().generation === 2 && server.progress().live === 1, 'healed');
});

test('a node of another form, and an identity of another namespace, are refused', async (t) => {
  const authenticator: Authenticator = {
    name: 'fake',
    authenticate: async (request) => {
      const namespace = request.header('authorization');
      if (namespace === undefined) return null;
      const identities = [`spiffe://cluster.local/ns/${namespace}/sa/web`];
      return { identities, namespace, serviceAccount: 'web', source: 'jwt' };
    },
  };
  const { server, connect } = setUp(t, { authenticators: [authenticator] });
  const tls = (metadata: Peer['metadata']): Peer => ({ kind: 'tls', address: '10.0.0.9', metadata });
  const cases = [
    [connect({ id: 'nonsense' }), grpcStatus.invalidArgument],
    [connect({ peer: tls({}) }), grpcStatus.unauthenticated],
    [connect({ peer: tls({ authorization: 'other' }) }), grpcStatus.permissionDenied],
  ] as const;
  for (const [{ errors }, code] of cases) {
    await until(() => errors.length === 1, 'refusal');
    assert.equal(errors[0]!.code, code);
  }
  const good = connect({ peer: tls({ authorization: 'default' }) });
  await until(() => good.updates.length === 4, 'updates');
  assert.equal([...server.connections].length, 1);
  assert.deepEqual([...server.connections][0]!.caller?.namespace, 'default');
});
