import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { Backoff } from '#base/backoff.ts';
import { silentLogger } from '#base/log.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { toPrometheusText } from '#telemetry/prometheus_text.ts';
import { AdsClient } from '#xds/client/ads_client.ts';
import { GrpcClient } from '#xds/grpc_client.ts';
import { grpcTransport } from '#xds/grpc_transport.ts';
import { memoryTransport } from '#xds/memory_transport.ts';
import { registerAds } from '#xds/server/discovery_services.ts';
import { GrpcServer } from '#xds/server/grpc_server.ts';
import { XdsServer } from '#xds/server/server.ts';
import type { ServedResource, Subscription } from '#xds/server/source.ts';
import type { XdsProtocol } from '#xds/transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { XdsRelay } from './xds_relay.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Protobuf string field 1: what a Cluster or Listener of that name alone looks like. */
function named(name: string, content = ''): ServedResource {
  const bytes = Buffer.concat([
    Buffer.from([10, name.length]),
    Buffer.from(name),
    Buffer.from([18, content.length]),
    Buffer.from(content),
  ]);
  return { name, version: content, bytes };
}

/** A control plane on a real port whose resources the test changes. */
class ControlPlane {
  readonly resources = new Map<string, ServedResource[]>();
  readonly subscriptions: { type: string; subscription: Subscription }[] = [];
  readonly nodes: string[] = [];
  readonly nacks: string[] = [];
  readonly sent: { type: string; resources: number; removed: number }[] = [];
  readonly #server = new XdsServer<{ id: string }, true>({
    source: {
      open: (node) => {
        this.nodes.push(node.id);
        return { id: node.id };
      },
      generate: (_client, typeUrl, subscription) => {
        const all = this.resources.get(typeUrl) ?? [];
        return {
          version: String(all.map((resource) => resource.version)),
          resources: all.filter(({ name }) => subscription.wildcard || subscription.names.has(name)),
        };
      },
      mergePushes: () => true,
      close: () => {},
      onSubscribe: (_client, subscription) =>
        this.subscriptions.push({ type: subscription.typeUrl, subscription }),
      onNack: (_client, _type, _nonce, _version, detail) => this.nacks.push(detail),
      onSent: (_client, type, { resources, removed }) => this.sent.push({ type, resources, removed }),
    },
  });
  #grpc: GrpcServer | undefined;

  async listen(port = 0): Promise<number> {
    this.#grpc = new GrpcServer({ routes: (router) => registerAds(router, this.#server) });
    return this.#grpc.listen({ host: '127.0.0.1', port });
  }

  push(): void {
    for (const client of this.#server.clients) void this.#server.push(client, undefined, true);
  }

  async stop(): Promise<void> {
    await this.#grpc?.close();
    this.#grpc = undefined;
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 250; i++) {
    if (condition()) return;
    await sleep(20);
  }
  assert.fail(`never: ${what}`);
}

async function setUp(protocol: XdsProtocol, interceptor?: (text: string) => void) {
  const plane = new ControlPlane();
  const port = await plane.listen();
  const upstream = grpcTransport(new GrpcClient({ address: { host: '127.0.0.1', port } }));
  const metrics = new MetricsRegistry();
  const relay = new XdsRelay({
    upstream,
    metrics,
    log: silentLogger,
    backoff: () => new Backoff({ baseMs: 20, maxMs: 50 }),
    ...(interceptor === undefined
      ? {}
      : {
          interceptors: new Map([
            [typeUrls.nds, ([bytes]: readonly Uint8Array[]) => interceptor(Buffer.from(bytes!).toString())],
          ]),
        }),
  });
  const updates: string[] = [];
  const states: string[] = [];
  const refuse = new Set<string>();
  const proxy = new AdsClient({
    transport: memoryTransport(relay),
    protocol,
    node: () => create(NodeSchema, { id: 'sidecar~1~a~b' }),
    onState: (state) => states.push(state.kind),
    async onUpdate(type, update) {
      const label = type === typeUrls.cds ? 'cds' : type === typeUrls.lds ? 'lds' : 'eds';
      for (const { name, version } of update.changed)
        updates.push(`${label} ${name} ${protocol === 'sotw' ? '' : version}`.trim());
      for (const name of update.removed) updates.push(`${label} -${name}`);
      const rejected = update.changed.filter(({ name }) => refuse.has(name));
      return rejected.length === 0
        ? undefined
        : { rejected: rejected.map(({ name }) => ({ name, message: 'no' })) };
    },
  });
  cleanups.push(
    () => plane.stop(),
    () => upstream.close?.(),
    () => relay.close(),
    () => proxy.close(),
  );
  return { plane, port, relay, proxy, updates, states, refuse, metrics };
}

for (const protocol of ['sotw', 'delta'] as const) {
  test(`the proxy keeps its stream while the control plane goes and comes (${protocol})`, async () => {
    const { plane, port, relay, proxy, updates, states, metrics } = await setUp(protocol);
    plane.resources.set(typeUrls.cds, [named('a', '1'), named('b', '1')]);
    plane.resources.set(typeUrls.eds, [named('a', 'e1'), named('b', 'e1'), named('c', 'e1')]);
    plane.resources.set(typeUrls.lds, [named('l', '1')]);
    assert.match(relay.notReady() ?? '', /cds: none accepted yet, lds: none accepted yet/);
    proxy.subscribe(typeUrls.cds, '*');
    proxy.subscribe(typeUrls.eds, ['a', 'b']);
    proxy.subscribe(typeUrls.lds, '*');
    proxy.start();
    await until(() => updates.length === 5, 'first configuration');
    await until(() => relay.notReady() === undefined, 'ready');
    assert.deepEqual(plane.nodes, ['sidecar~1~a~b']);

    await plane.stop();
    proxy.subscribe(typeUrls.eds, ['c']);
    plane.resources.set(typeUrls.cds, [named('a', '2')]);
    updates.length = 0;
    plane.sent.length = 0;
    await sleep(50);
    await plane.listen(port);
    await until(() => updates.includes(protocol === 'sotw' ? 'eds c' : 'eds c e1'), 'the new name');
    await until(() => updates.includes('cds -b'), 'the removed cluster');
    assert.deepEqual(states, ['streaming'], 'the stream of the proxy never broke');
    assert.deepEqual(plane.nodes, ['sidecar~1~a~b', 'sidecar~1~a~b']);
    assert.equal(
      updates.some((update) => update.startsWith('lds')),
      protocol === 'sotw' && updates.includes('lds l'),
    );
    if (protocol === 'delta') {
      assert.deepEqual(updates.toSorted(), ['cds -b', 'cds a 2', 'eds c e1']);
      const eds = plane.sent.filter(({ type }) => type === typeUrls.eds);
      assert.deepEqual(
        eds.map(({ resources }) => resources),
        [1],
        'only what is new crossed the wire',
      );
    }

    plane.resources.set(typeUrls.cds, [named('a', '3')]);
    updates.length = 0;
    plane.push();
    await until(() => updates.some((update) => update.startsWith('cds a')), 'a push on the new stream');
    const page = toPrometheusText(metrics.snapshot());
    assert.match(page, /istio_agent_istiod_disconnections 1\n/);
    assert.match(page, /istio_agent_istiod_connected 1\n/);
  });

  test(`refusals reach the control plane, readiness names them (${protocol})`, async () => {
    const { plane, relay, proxy, refuse, updates } = await setUp(protocol);
    plane.resources.set(typeUrls.cds, [named('bad', '1')]);
    plane.resources.set(typeUrls.lds, [named('l', '1')]);
    refuse.add('bad');
    proxy.subscribe(typeUrls.cds, '*');
    proxy.subscribe(typeUrls.lds, '*');
    proxy.start();
    await until(() => plane.nacks.length === 1 && updates.length === 2, 'a refusal');
    assert.match(relay.notReady() ?? '', /^config not received from XDS server: cds: refused, bad: no$/);
    refuse.clear();
    plane.resources.set(typeUrls.cds, [named('bad', '2')]);
    plane.push();
    await until(() => relay.notReady() === undefined, 'ready after the correction');
  });

  test(`types of the agent ride along and are answered by it (${protocol})`, async () => {
    const seen: string[] = [];
    const { plane, port, proxy, updates } = await setUp(protocol, (text) => {
      seen.push(text);
      if (text === 'refused') throw new Error('bad table');
    });
    plane.resources.set(typeUrls.cds, [named('a', '1')]);
    plane.resources.set(typeUrls.nds, [{ name: '', version: '1', bytes: Buffer.from('first') }]);
    proxy.subscribe(typeUrls.cds, '*');
    proxy.start();
    await until(() => seen.length === 1 && updates.length === 1, 'a name table');
    plane.resources.set(typeUrls.nds, [{ name: '', version: '2', bytes: Buffer.from('refused') }]);
    plane.push();
    await until(() => plane.nacks.includes('bad table'), 'the refusal');
    plane.resources.set(typeUrls.nds, [{ name: '', version: '3', bytes: Buffer.from('third') }]);
    await plane.stop();
    await plane.listen(port);
    await until(() => seen.includes('third'), 'a name table after reconnecting');
    assert.deepEqual(updates.length >= 1 && updates.every((update) => update.startsWith('cds')), true);
  });

  test(`the proxy starts before the control plane (${protocol})`, async () => {
    const { plane, port, proxy, updates, relay } = await setUp(protocol);
    plane.resources.set(typeUrls.cds, [named('a', '1')]);
    await plane.stop();
    proxy.subscribe(typeUrls.cds, '*');
    proxy.start();
    await until(() => /control plane: unavailable/.test(relay.notReady() ?? ''), 'the reason');
    await plane.listen(port);
    await until(() => updates.length === 1, 'configuration');
  });
}
