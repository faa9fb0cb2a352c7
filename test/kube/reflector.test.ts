/**
 * The list/watch loop against a real API server that is cut off, killed, restarted and robbed of its history under a
 * stream of changes: what is kept equals the server's state at the end, and each change is told once, in order.
 */
import assert from 'node:assert/strict';
import { type TestContext, after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needs } from '../harness/optional_parts.ts';
import { KubeApiServer, kubeBinaries } from '../harness/kube_api_server.ts';
import { TcpRelay } from '../harness/tcp_relay.ts';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResources } from '#kube/object.ts';
import { Reflector, type ReflectorChange } from '#kube/reflector.ts';

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

interface Seen {
  readonly name: string;
  readonly n: number;
}

const resource = apiResources.configMaps;
const namespace = 'default';

/** Follows the ConfigMaps of one test and writes down all that is told. */
class Recorder {
  readonly reflector: Reflector<Seen>;
  /** `add 1`, `update 2`, `delete 2` by name. */
  readonly told = new Map<string, string[]>();

  constructor(
    t: TestContext,
    client: KubeClient,
    run: string,
    options: { readonly watchSeconds?: number; readonly pageSize?: number } = {},
  ) {
    this.reflector = new Reflector<Seen>({
      client,
      resource,
      namespace,
      labelSelector: `run=${run}`,
      watchSeconds: 60,
      ...options,
      backoff: { baseMs: 20, maxMs: 500 },
      read: ({ metadata, ...rest }) => ({ name: metadata.name, n: Number((rest as ConfigMap).data?.['n']) }),
      onChanges: (changes) => changes.forEach((change) => this.#tell(change)),
    });
    this.reflector.start();
    t.after(() => this.reflector.close());
  }

  #tell({ type, value }: ReflectorChange<Seen>): void {
    const list = this.told.get(value.name) ?? [];
    list.push(`${type} ${value.n}`);
    this.told.set(value.name, list);
  }

  /** Name and number of all that is kept, sorted. */
  get kept(): string[] {
    return [...this.reflector.values()].map(({ name, n }) => `${name}=${n}`).sort();
  }

  /** No number told twice or out of order; an add first, nothing after a delete but an add. */
  checkOrder(): void {
    for (const [name, list] of this.told) {
      let alive = false;
      let last = 0;
      for (const entry of list) {
        const [type = '', text] = entry.split(' ');
        const n = Number(text);
        assert.equal(type === 'add', !alive, `${name}: ${list.join(', ')}`);
        if (type === 'delete') assert.equal(n, last, `${name}: ${list.join(', ')}`);
        else assert.ok(n > last, `${name}: ${list.join(', ')}`);
        last = n;
        alive = type !== 'delete';
      }
    }
  }
}

function configMap(run: string, name: string, n: number): ConfigMap {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace, labels: { run } },
    data: { n: String(n) },
  };
}

/** Tries until it works: a write whose answer was lost is made again, which the server takes for no change. */
async function insist(action: () => Promise<unknown>): Promise<void> {
  const end = Date.now() + 60_000;
  for (;;) {
    try {
      await action();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(30);
    }
  }
}

const skip = needs('etcd and kube-apiserver', kubeBinaries());

describe('reflector against a real API server', { skip, timeout: 280_000 }, () => {
  let server: KubeApiServer;
  /** Writes without the relay. */
  let writer: KubeClient;

  before(async () => {
    server = await KubeApiServer.start();
    writer = await server.client({ maxTries: 1, timeoutMs: 5000 });
  });
  after(async () => {
    writer?.close();
    await server?.close();
  });

  /** A client that reaches the server over a relay. */
  async function relayed(t: TestContext): Promise<{ relay: TcpRelay; client: KubeClient }> {
    const relay = await TcpRelay.start(server.port);
    const url = `https://127.0.0.1:${relay.port}`;
    const path = server.writeKubeconfig(`relay-${relay.port}`, { token: 'admintoken' }, url);
    const client = await server.client({ timeoutMs: 5000 }, path);
    t.after(async () => {
      client.close();
      await relay.close();
    });
    return { relay, client };
  }

  async function put(run: string, name: string, n: number): Promise<void> {
    const object = configMap(run, name, n);
    await insist(async () => {
      const found = await writer.find<ConfigMap>(resource, namespace, name);
      if (found === undefined) await writer.create(resource, namespace, object);
      else if (found.data?.['n'] !== String(n)) await writer.update(resource, object);
    });
  }

  async function remove(name: string): Promise<void> {
    await insist(() => writer.delete(resource, namespace, name));
  }

  async function stateOf(run: string): Promise<string[]> {
    const list = await writer.listPage<ConfigMap>(resource, { namespace, labelSelector: `run=${run}` });
    return list.items.map(({ metadata, data }) => `${metadata.name}=${data?.['n']}`).sort();
  }

  /** Waits until what is kept equals the server's state. */
  async function settle(run: string, recorder: Recorder): Promise<void> {
    const end = Date.now() + 40_000;
    for (;;) {
      const expected = await stateOf(run);
      if (JSON.stringify(recorder.kept) === JSON.stringify(expected) || Date.now() > end) {
        assert.deepEqual(recorder.kept, expected);
        return;
      }
      await sleep(50);
    }
  }

  /** Rounds of updates of some objects, one new object each round, and every third round one that goes again. */
  async function stream(run: string, rounds: number, pauseMs: number): Promise<void> {
    for (let n = 1; n <= rounds; n++) {
      for (let i = 0; i < 5; i++) await put(run, `${run}-${i}`, n);
      await put(run, `${run}-new-${n}`, n);
      if (n % 3 === 0) await remove(`${run}-new-${n - 1}`);
      await sleep(pauseMs);
    }
  }

  it('resumes after connection resets: every change exactly once, without a second list', async (t) => {
    const { relay, client } = await relayed(t);
    const recorder = new Recorder(t, client, 'cut');
    await recorder.reflector.synced();
    const timer = setInterval(() => relay.cut(), 130);
    await stream('cut', 30, 10);
    clearInterval(timer);
    await settle('cut', recorder);
    const { lists, watches } = recorder.reflector.state;
    assert.equal(lists, 1);
    assert.ok(watches > 5, `${watches} watches`);
    const all = Array.from({ length: 30 }, (_, i) => `${i === 0 ? 'add' : 'update'} ${i + 1}`);
    for (let i = 0; i < 5; i++) assert.deepEqual(recorder.told.get(`cut-${i}`), all);
    for (let n = 1; n <= 30; n++) {
      const expected = n % 3 === 2 && n < 30 ? [`add ${n}`, `delete ${n}`] : [`add ${n}`];
      assert.deepEqual(recorder.told.get(`cut-new-${n}`), expected);
    }
  });

  it('survives kill -9 of the API server under a stream of changes', async (t) => {
    const { client } = await relayed(t);
    const recorder = new Recorder(t, client, 'kill');
    await recorder.reflector.synced();
    const writing = stream('kill', 40, 150);
    for (let kill = 0; kill < 2; kill++) {
      await sleep(2500);
      await server.killApiServer();
      await server.startApiServer();
    }
    await writing;
    await settle('kill', recorder);
    recorder.checkOrder();
    for (let n = 1; n <= 40; n++) {
      const list = recorder.told.get(`kill-new-${n}`) ?? [];
      const expected = n % 3 === 2 ? [`add ${n}`, `delete ${n}`] : [`add ${n}`];
      // What came and went in a moment without history may be missing; nothing else may.
      if (list.length > 0 || n % 3 !== 2) assert.deepEqual(list, expected);
    }
  });

  it('lists again when the history is gone (410), and tells the difference once', async (t) => {
    const { relay, client } = await relayed(t);
    for (let i = 0; i < 30; i++) await put('gone', `gone-${i}`, 1);
    const recorder = new Recorder(t, client, 'gone');
    await recorder.reflector.synced();
    relay.refuse = true;
    relay.cut();
    for (let i = 0; i < 10; i++) {
      await put('gone', `gone-${i}`, 2);
      await put('gone', `gone-${i}`, 3);
    }
    for (let i = 10; i < 15; i++) await remove(`gone-${i}`);
    for (let i = 15; i < 20; i++) {
      await remove(`gone-${i}`);
      await put('gone', `gone-${i}`, 4);
    }
    for (let i = 30; i < 35; i++) await put('gone', `gone-${i}`, 1);
    await server.compact();
    await server.killApiServer();
    await server.startApiServer();
    relay.refuse = false;
    await settle('gone', recorder);
    assert.equal(recorder.reflector.state.lists, 2);
    for (let i = 0; i < 35; i++) {
      const expected =
        i < 10
          ? ['add 1', 'update 3']
          : i < 15
            ? ['add 1', 'delete 1']
            : i < 20
              ? ['add 1', 'delete 1', 'add 4']
              : ['add 1'];
      assert.deepEqual(recorder.told.get(`gone-${i}`), expected, `gone-${i}`);
    }
    await put('gone', 'gone-0', 5);
    await settle('gone', recorder);
    assert.deepEqual(recorder.told.get('gone-0'), ['add 1', 'update 3', 'update 5']);
  });

  it('starts a list over whose next page is gone (410)', async (t) => {
    for (let i = 0; i < 25; i++) await put('pages', `pages-${i}`, 1);
    const { client } = await relayed(t);
    const listPage = client.listPage.bind(client);
    let pages = 0;
    client.listPage = async (...args) => {
      const page = await listPage<never>(...args);
      if (++pages === 2) {
        await put('pages', 'pages-0', 2);
        await server.compact();
      }
      return page;
    };
    const recorder = new Recorder(t, client, 'pages', { pageSize: 10 });
    await recorder.reflector.synced();
    await settle('pages', recorder);
    assert.ok(pages >= 5, `${pages} pages`);
    assert.equal(recorder.kept.length, 25);
    recorder.checkOrder();
    for (const list of recorder.told.values()) assert.equal(list.length, 1, list.join());
  });

  it('leaves a watch that has gone silent, and hears nothing twice when it speaks again', async (t) => {
    const { relay, client } = await relayed(t);
    const recorder = new Recorder(t, client, 'silent', { watchSeconds: 2 });
    await put('silent', 'silent-0', 1);
    await recorder.reflector.synced();
    await settle('silent', recorder);
    await sleep(200);
    relay.freeze();
    for (let n = 2; n <= 6; n++) await put('silent', 'silent-0', n);
    await settle('silent', recorder);
    relay.thaw();
    await put('silent', 'silent-0', 7);
    await settle('silent', recorder);
    assert.deepEqual(recorder.told.get('silent-0'), [
      'add 1',
      ...[2, 3, 4, 5, 6, 7].map((n) => `update ${n}`),
    ]);
    assert.equal(recorder.reflector.state.lists, 1);
  });

  it('resumes from bookmarks while only objects of others change', async (t) => {
    const { client } = await relayed(t);
    const recorder = new Recorder(t, client, 'quiet', { watchSeconds: 2 });
    await put('quiet', 'quiet-0', 1);
    await recorder.reflector.synced();
    const first = Number(recorder.reflector.state.resourceVersion);
    const end = Date.now() + 30_000;
    for (let n = 1; recorder.reflector.state.bookmarks < 2 && Date.now() < end; n++) {
      await put('other', 'other-0', n);
      await sleep(50);
    }
    const { bookmarks, resourceVersion, lists } = recorder.reflector.state;
    assert.ok(bookmarks >= 2, `${bookmarks} bookmarks`);
    assert.ok(Number(resourceVersion) > first + 10, `${first} -> ${resourceVersion}`);
    assert.equal(lists, 1);
    assert.deepEqual(recorder.told.get('quiet-0'), ['add 1']);
  });

  it('keeps up with thousands of objects over a slow line', async (t) => {
    const { relay, client } = await relayed(t);
    const count = 2000;
    let next = 0;
    const work = async (): Promise<void> => {
      for (let i = next++; i < count; i = next++) await put('many', `many-${i}`, 1);
    };
    await Promise.all(Array.from({ length: 8 }, work));
    relay.slow = { chunkBytes: 32_768, delayMs: 2 };
    const recorder = new Recorder(t, client, 'many');
    const writing = (async () => {
      for (let i = 0; i < 300; i++) await put('many', `many-${i}`, 2);
      for (let i = 300; i < 400; i++) await remove(`many-${i}`);
    })();
    await recorder.reflector.synced();
    await writing;
    await settleMany(recorder, count - 100);
    recorder.checkOrder();
    assert.equal(recorder.reflector.state.lists, 1);
  });

  /** As `settle`, for more objects than one page holds. */
  async function settleMany(recorder: Recorder, count: number): Promise<void> {
    const end = Date.now() + 40_000;
    const done = (): boolean =>
      recorder.kept.length === count && recorder.kept.filter((entry) => entry.endsWith('=2')).length === 300;
    while (!done() && Date.now() < end) await sleep(100);
    assert.deepEqual(recorder.kept, await stateOf('many'));
  }
});
