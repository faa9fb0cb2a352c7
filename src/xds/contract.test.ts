/** One suite over every transport and variant: what a client of ours and a server of ours owe each other. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, describe, test } from 'node:test';
import { create, fromBinary } from '@bufbuild/protobuf';
import { type Cluster, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { NameTableSchema } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import { Backoff } from '#base/backoff.ts';
import { AdsClient } from './client/ads_client.ts';
import type { ResourceUpdate, UpdateOutcome } from './client/resource_update.ts';
import { GrpcClient } from './grpc_client.ts';
import { GrpcError, grpcStatus } from './grpc_status.ts';
import { grpcTransport } from './grpc_transport.ts';
import { memoryTransport } from './memory_transport.ts';
import { registerAds } from './server/discovery_services.ts';
import { encodeResource } from './server/encoded_resource.ts';
import { GrpcServer } from './server/grpc_server.ts';
import { XdsServer } from './server/server.ts';
import { type SnapshotClient, SnapshotSource } from './server/snapshot_source.ts';
import type { ServedResource, Subscription } from './server/source.ts';
import type { AdsTransport, XdsProtocol } from './transport.ts';
import { typeUrls } from './type_url.ts';

const { cds, eds, nds } = typeUrls;

function cluster(name: string, altStatName = ''): ServedResource {
  return encodeResource(ClusterSchema, name, create(ClusterSchema, { name, altStatName }));
}

function assignment(clusterName: string, overprovisioningFactor = 140): ServedResource {
  const message = create(ClusterLoadAssignmentSchema, {
    clusterName,
    policy: { overprovisioningFactor },
  });
  return encodeResource(ClusterLoadAssignmentSchema, clusterName, message);
}

/** A snapshot that records what the server tells it. */
class RecordingSource extends SnapshotSource {
  readonly sent: { typeUrl: string; resources: number; pushed: boolean }[] = [];
  readonly acks: string[] = [];
  readonly nacks: { typeUrl: string; detail: string }[] = [];
  readonly asked: string[][] = [];
  refuse: GrpcError | undefined;
  closed = 0;

  override open(...args: Parameters<SnapshotSource['open']>): SnapshotClient {
    if (this.refuse !== undefined) throw this.refuse;
    return super.open(...args);
  }
  override generate(client: SnapshotClient, typeUrl: string, subscription: Subscription) {
    if (typeUrl === eds) this.asked.push([...(subscription.asked ?? ['all'])]);
    return super.generate(client, typeUrl, subscription);
  }
  override close(): void {
    this.closed++;
  }
  onSent(
    _: SnapshotClient,
    typeUrl: string,
    { resources, pushed }: { resources: number; pushed: boolean },
  ): void {
    this.sent.push({ typeUrl, resources, pushed });
  }
  onAck(_: SnapshotClient, typeUrl: string): void {
    this.acks.push(typeUrl);
  }
  onNack(_: SnapshotClient, typeUrl: string, _nonce: string, _version: string, detail: string): void {
    this.nacks.push({ typeUrl, detail });
  }
}

interface Update extends ResourceUpdate {
  readonly typeUrl: string;
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 3000;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`timed out: ${what}`);
    await sleep(5);
  }
}

const transports: Record<
  string,
  (server: XdsServer<SnapshotClient, undefined>, t: TestContext) => Promise<AdsTransport>
> = {
  memory: (server) => Promise.resolve(memoryTransport(server)),
  grpc: async (server, t) => {
    const grpc = new GrpcServer({ routes: (router) => registerAds(router, server) });
    const port = await grpc.listen({ host: '127.0.0.1', port: 0 });
    const client = new GrpcClient({ address: { host: '127.0.0.1', port } });
    t.after(() => {
      client.close();
      return grpc.close();
    });
    return grpcTransport(client);
  },
};

interface Bench {
  readonly source: RecordingSource;
  readonly server: XdsServer<SnapshotClient, undefined>;
  readonly client: AdsClient;
  readonly updates: Update[];
  /** What `onUpdate` answers. */
  outcome: (update: Update) => UpdateOutcome | Promise<UpdateOutcome>;
  push(...types: string[]): Promise<void>;
}

for (const [transportName, makeTransport] of Object.entries(transports)) {
  for (const protocol of ['sotw', 'delta'] satisfies XdsProtocol[]) {
    const setUp = async (t: TestContext): Promise<Bench> => {
      const source = new RecordingSource();
      const server = new XdsServer({ source, limits: { ackWaitMs: 100 } });
      const updates: Update[] = [];
      const bench: Bench = {
        source,
        server,
        updates,
        outcome: () => undefined,
        client: new AdsClient({
          transport: await makeTransport(server, t),
          protocol,
          node: () => create(NodeSchema, { id: 'a' }),
          backoff: new Backoff({ baseMs: 5, maxMs: 20 }),
          onUpdate: async (typeUrl, update) => {
            updates.push({ typeUrl, ...update });
            return await bench.outcome({ typeUrl, ...update });
          },
        }),
        push: async (...types) => {
          for (const client of server.clients) await server.push(client, types, undefined);
        },
      };
      t.after(() => bench.client.close());
      return bench;
    };
    const names = (update: Update | undefined): string[] => (update?.changed ?? []).map(({ name }) => name);

    describe(`${transportName}, ${protocol}`, () => {
      test('a wildcard gives everything, then only what has changed', async (t) => {
        const { source, client, updates, push } = await setUp(t);
        source.set(cds, [cluster('a'), cluster('b')]);
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'first ACK');
        assert.deepEqual(names(updates[0]), ['a', 'b']);
        assert.equal(updates[0]!.first, true);
        const decoded: Cluster = fromBinary(ClusterSchema, updates[0]!.changed[1]!.bytes);
        assert.equal(decoded.name, 'b');

        source.set(cds, [cluster('a'), cluster('b', 'new'), cluster('c')]);
        await push(cds);
        await until(() => source.acks.length === 2, 'second ACK');
        assert.deepEqual(names(updates[1]), ['b', 'c']);
        assert.equal(updates[1]!.first, false);

        source.set(cds, [cluster('a'), cluster('c')]);
        await push(cds);
        await until(() => source.acks.length === 3, 'third ACK');
        assert.deepEqual([names(updates[2]), updates[2]!.removed], [[], ['b']]);
        assert.equal(source.sent.at(-1)!.resources, protocol === 'sotw' ? 2 : 0);
      });

      test('a push of what the client holds sends nothing', async (t) => {
        const { source, client, push } = await setUp(t);
        source.set(cds, [cluster('a')]);
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'ACK');
        await push(cds);
        assert.equal(source.sent.length, 1);
      });

      test('an empty type is answered once, so that the initial fetch ends', async (t) => {
        const { source, client, updates } = await setUp(t);
        source.set(cds, []);
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'ACK');
        assert.deepEqual([updates[0]!.first, updates[0]!.changed], [true, []]);
      });

      test('names come and go', async (t) => {
        const { source, client, updates, push, server } = await setUp(t);
        source.set(eds, [assignment('a'), assignment('b'), assignment('c')]);
        client.subscribe(eds, ['a']);
        client.start();
        await until(() => source.acks.length === 1, 'first ACK');
        assert.deepEqual(names(updates[0]), ['a']);
        client.subscribe(eds, ['b']);
        await until(() => source.acks.length === 2, 'second ACK');
        assert.deepEqual(names(updates[1]), ['b']);
        assert.deepEqual(source.asked, [['all'], ['b']]);
        client.unsubscribe(eds, ['a']);
        source.set(eds, [assignment('a', 150), assignment('b', 150), assignment('c', 150)]);
        // The request must reach the server before the push does.
        await until(
          () => [...server.clients].every((one) => server.status(one)[0]?.names === 1),
          'fewer names',
        );
        await push(eds);
        await until(() => updates.length === 3, 'third update');
        assert.deepEqual(names(updates[2]), ['b']);
      });

      test('names asked for one by one go out together', async (t) => {
        const { source, client, updates } = await setUp(t);
        const all = Array.from({ length: 50 }, (_, i) => `c${i}`);
        source.set(
          eds,
          all.map((name) => assignment(name)),
        );
        client.start();
        client.subscribe(eds, ['c0']);
        await until(() => source.acks.length === 1, 'first ACK');
        for (const name of all.slice(1)) client.subscribe(eds, [name]);
        client.unsubscribe(eds, ['c0']);
        client.subscribe(eds, ['c0']);
        await until(() => updates.length > 1, 'second update');
        assert.equal(source.asked.length, 2);
        assert.deepEqual(names(updates[1]).sort(), all.sort());
      });

      test('what clusters name while they are applied goes out together', async (t) => {
        const bench = await setUp(t);
        const { source, client, updates } = bench;
        const all = Array.from({ length: 5 }, (_, i) => `c${i}`);
        source.set(
          eds,
          all.map((name) => assignment(name)),
        );
        source.set(
          cds,
          all.map((name) => cluster(name)),
        );
        bench.outcome = async ({ typeUrl, changed }) => {
          if (typeUrl !== cds) return undefined;
          for (const { name } of changed) {
            client.subscribe(eds, [name]);
            await new Promise((resolve) => setImmediate(resolve));
            await new Promise((resolve) => setImmediate(resolve));
          }
          return undefined;
        };
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.includes(eds), 'ACK of the endpoints');
        assert.deepEqual(updates.map(names), [all, all]);
        client.subscribe(eds, ['c5']);
        source.set(eds, [assignment('c5')]);
        await until(() => updates.length > 2, 'a name asked for later');
      });

      test('a name subscribed again is sent again', async (t) => {
        const { source, client, updates } = await setUp(t);
        source.set(eds, [assignment('a'), assignment('b')]);
        client.subscribe(eds, ['a', 'b']);
        client.start();
        await until(() => source.acks.length === 1, 'first ACK');
        client.unsubscribe(eds, ['a']);
        await sleep(50);
        client.subscribe(eds, ['a']);
        await until(() => updates.length === 2, 'second update');
        assert.deepEqual(names(updates[1]), ['a']);
      });

      if (protocol === 'delta') {
        test('a name that does not exist is told to be removed', async (t) => {
          const { source, client, updates } = await setUp(t);
          source.set(eds, []);
          client.subscribe(eds, ['ghost']);
          client.start();
          await until(() => updates.length === 1, 'update');
          assert.deepEqual(updates[0]!.removed, ['ghost']);
        });
      }

      test('a refusal names the resource, keeps the old one, takes the good ones', async (t) => {
        const bench = await setUp(t);
        const { source, client, updates, push } = bench;
        bench.outcome = (update) => {
          const bad = update.changed.filter(
            ({ bytes }) => fromBinary(ClusterSchema, bytes).altStatName === 'bad',
          );
          return bad.length === 0
            ? undefined
            : { rejected: bad.map(({ name }) => ({ name, message: 'no' })) };
        };
        source.set(cds, [cluster('a'), cluster('b')]);
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'ACK');
        source.set(cds, [cluster('a', 'good'), cluster('b', 'bad')]);
        await push(cds);
        await until(() => source.nacks.length === 1, 'NACK');
        assert.deepEqual(source.nacks, [{ typeUrl: cds, detail: 'b: no' }]);
        const [status] = [...bench.server.clients].map((one) => bench.server.status(one)[0]);
        assert.equal(status!.nacked!.detail, 'b: no');
        // Back to what the client still holds: nothing new for it, and the state is clean again.
        source.set(cds, [cluster('a', 'good'), cluster('b')]);
        await push(cds);
        await until(() => source.acks.length === 2, 'second ACK');
        assert.equal(updates.length, 2);
        const [healed] = [...bench.server.clients].map((one) => bench.server.status(one)[0]);
        assert.equal(healed!.nacked, undefined);
      });

      test('a listener that throws refuses what it was given', async (t) => {
        const bench = await setUp(t);
        bench.outcome = () => Promise.reject(new Error('broken'));
        bench.source.set(cds, [cluster('a')]);
        bench.client.subscribe(cds, '*');
        bench.client.start();
        await until(() => bench.source.nacks.length === 1, 'NACK');
        assert.equal(bench.source.nacks[0]!.detail, 'a: broken');
      });

      test('a push goes out in make-before-break order', async (t) => {
        const { source, client, push } = await setUp(t);
        source.set(cds, [cluster('a')]);
        source.set(eds, [assignment('a')]);
        source.set(nds, [nameTable(1)]);
        for (const url of [nds, eds, cds]) client.subscribe(url, url === eds ? ['a'] : '*');
        client.start();
        await until(() => source.acks.length >= 3, 'ACKs');
        await sleep(20);
        source.sent.length = 0;
        source.set(cds, [cluster('a'), cluster('b')]);
        source.set(eds, [assignment('a', 170)]);
        source.set(nds, [nameTable(2)]);
        await push(nds, eds, cds);
        assert.deepEqual(
          source.sent.map(({ typeUrl }) => typeUrl),
          [cds, eds, nds],
        );
      });

      test('a changed cluster brings its endpoints again', async (t) => {
        const { source, client, push } = await setUp(t);
        source.set(cds, [cluster('a'), cluster('b')]);
        source.set(eds, [assignment('a'), assignment('b')]);
        client.subscribe(cds, '*');
        client.subscribe(eds, ['a', 'b']);
        client.start();
        await until(() => source.acks.includes(cds) && source.acks.includes(eds), 'ACKs');
        await sleep(20);
        source.sent.length = 0;
        source.set(cds, [cluster('a', 'new'), cluster('b')]);
        await push(cds);
        await until(() => source.sent.length === 2, 'endpoints');
        assert.deepEqual(source.sent[1]!.typeUrl, eds);
        assert.equal(source.sent[1]!.resources, 1);
      });

      test('a resource without a name passes', async (t) => {
        const { source, client, updates } = await setUp(t);
        source.set(nds, [nameTable(1)]);
        client.subscribe(nds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'ACK');
        assert.deepEqual(names(updates[0]), ['']);
      });

      test('a client that is slow to apply gets one merged push', async (t) => {
        const bench = await setUp(t);
        const { source, client, updates, server } = bench;
        let release: () => void = () => {};
        source.set(cds, [cluster('a', '0')]);
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'ACK');
        bench.outcome = () => new Promise((resolve) => (release = () => resolve(undefined)));
        const [one] = server.clients;
        const pushes: Promise<boolean>[] = [];
        for (let i = 1; i <= 50; i++) {
          source.set(cds, [cluster('a', String(i))]);
          pushes.push(server.push(one!, [cds], undefined));
          await sleep(0);
          if (i === 10) await until(() => updates.length === 2, 'the first of them');
        }
        bench.outcome = () => undefined;
        release();
        await Promise.all(pushes);
        await until(
          () => !server.status(one!).some(({ sent, acked }) => sent?.nonce !== acked?.nonce),
          'last ACK',
        );
        assert.equal(fromBinary(ClusterSchema, updates.at(-1)!.changed[0]!.bytes).altStatName, '50');
        assert.ok(source.sent.length <= 4, `${source.sent.length} responses`);
      });

      test('a lost stream comes back and what is unchanged is not applied again', async (t) => {
        const { source, client, updates, server } = await setUp(t);
        source.set(cds, [cluster('a'), cluster('b')]);
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'ACK');
        source.set(cds, [cluster('a'), cluster('c')]);
        for (const one of server.clients) server.disconnect(one);
        await until(() => source.acks.length === 2, 'ACK after reconnect');
        assert.equal(source.closed, 1);
        assert.deepEqual([names(updates[1]), updates[1]!.removed, updates[1]!.first], [['c'], ['b'], false]);
        assert.equal(source.sent.at(-1)!.resources, protocol === 'sotw' ? 2 : 1);
      });

      test('a refused client hears the status and tries again', async (t) => {
        const { source, client } = await setUp(t);
        source.refuse = new GrpcError(grpcStatus.permissionDenied, 'not your namespace');
        source.set(cds, []);
        client.subscribe(cds, '*');
        client.start();
        await until(() => client.state.kind === 'waiting', 'refusal');
        const { state } = client;
        assert.equal(state.kind === 'waiting' && state.error?.code, grpcStatus.permissionDenied);
        assert.equal(state.kind === 'waiting' && state.error?.message, 'not your namespace');
        source.refuse = undefined;
        await until(() => source.acks.length === 1, 'ACK');
      });

      test('close ends the stream on both sides', async (t) => {
        const { source, client, server } = await setUp(t);
        source.set(cds, []);
        client.subscribe(cds, '*');
        client.start();
        await until(() => source.acks.length === 1, 'ACK');
        client.close();
        await until(() => source.closed === 1, 'close');
        assert.deepEqual([...server.clients], []);
      });
    });
  }
}

function nameTable(octet: number): ServedResource {
  const message = create(NameTableSchema, { table: { 'a.b': { ips: [`10.0.0.${octet}`] } } });
  return encodeResource(NameTableSchema, '', message);
}
