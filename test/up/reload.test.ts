/** A mesh that changes while it carries traffic: nothing is lost, nothing closes, bad files are named and ignored. */
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { ask, MeshProcess } from '../harness/mesh_process.ts';

/** A steady load over kept connections; counts failures, and connections that were closed under it. */
class Load {
  sent = 0;
  readonly failures: string[] = [];
  readonly statuses = new Map<number, number>();
  readonly agent: Agent = new Agent({ keepAlive: true, maxSockets: 50 });
  connections = 0;
  #timer: NodeJS.Timeout;
  #pending = new Set<Promise<void>>();

  constructor(url: string, requestsPerSecond: number) {
    const create = this.agent.createConnection.bind(this.agent);
    this.agent.createConnection = (...args: Parameters<typeof create>) => {
      this.connections++;
      return create(...args);
    };
    const perTick = Math.max(1, Math.round(requestsPerSecond / 100));
    this.#timer = setInterval(() => {
      for (let i = 0; i < perTick; i++) this.#send(url);
    }, 10);
  }

  #send(url: string): void {
    if (this.#pending.size > 400) return;
    this.sent++;
    const request = ask(url, {}, this.agent)
      .then(
        ({ status }) => void this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1),
        (error: Error) => void this.failures.push(error.message),
      )
      .finally(() => this.#pending.delete(request));
    this.#pending.add(request);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
    this.agent.destroy();
  }
}

const meta = (name: string): object => ({ name, namespace: 'default' });

function weights(v1: number, v3: number): string {
  const documents = [
    {
      apiVersion: 'networking.istio.io/v1',
      kind: 'DestinationRule',
      metadata: meta('reviews'),
      spec: {
        host: 'reviews',
        subsets: ['v1', 'v2', 'v3'].map((version) => ({ name: version, labels: { version } })),
      },
    },
    {
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: meta('reviews'),
      spec: {
        hosts: ['reviews'],
        http: [
          {
            route: [
              { destination: { host: 'reviews', subset: 'v1' }, weight: v1 },
              { destination: { host: 'reviews', subset: 'v3' }, weight: v3 },
            ],
          },
        ],
      },
    },
  ];
  return documents.map((document) => `${JSON.stringify(document)}\n`).join('---\n');
}

describe('a mesh that changes under load', () => {
  test('weights, broken files, denials, new versions', { timeout: 290_000 }, async (t) => {
    const mesh = new MeshProcess({ args: ['--capture', 'off'] });
    try {
      const url = await mesh.ready();
      const reviews = new URL('/api/v1/products/0/reviews', url).href;
      const details = new URL('/api/v1/products/0', url).href;

      await t.test(
        'editing weights under 500 requests/s loses no request and closes no connection',
        async () => {
          mesh.write('reviews.yaml', weights(50, 50));
          await new Promise((resolve) => setTimeout(resolve, 1500));
          // the path through the mesh without the page: three hops less to starve on a small machine
          const load = new Load(details, 500);
          for (let round = 0; round < 8; round++) {
            mesh.write('reviews.yaml', weights(10 + round * 10, 90 - round * 10));
            await new Promise((resolve) => setTimeout(resolve, 500));
          }
          await load.stop();
          assert.deepEqual(load.failures, []);
          assert.deepEqual([...load.statuses.keys()], [200]);
          assert.ok(load.sent > 1000, `only ${load.sent} requests were sent`);
          assert.ok(load.connections <= 50, `${load.connections} connections were opened for 50 places`);
        },
      );

      await t.test('a saved weight is in force within a second', async () => {
        mesh.write('reviews.yaml', weights(0, 100));
        await new Promise((resolve) => setTimeout(resolve, 1000));
        for (let i = 0; i < 20; i++) assert.match((await ask(reviews)).body, /"color": ?"red"/);
      });

      await t.test('a broken file is named by line and column and changes nothing', async () => {
        const from = mesh.events.length;
        mesh.write('reviews.yaml', weights(100, 0).replace('"weight":100', '"weight":"abc"'));
        const problem = await mesh.until(
          () =>
            mesh.events
              .slice(from)
              .find(({ type, message }) => type === 'problem' && String(message).includes('reviews.yaml')),
          'the problem of the broken file',
        );
        assert.match(String(problem['message']), /reviews\.yaml:\d+:\d+: .*weight.*expected.*number.*abc/s);
        assert.match((await ask(reviews)).body, /"color": ?"red"/);
        mesh.write('reviews.yaml', '{ this is not: yaml: [');
        await new Promise((resolve) => setTimeout(resolve, 1000));
        assert.match((await ask(reviews)).body, /"color": ?"red"/);
        mesh.write('reviews.yaml', weights(0, 100));
      });

      await t.test('an open connection outlives every change', async () => {
        const { hostname, port } = new URL(url);
        const socket = connect(Number(port), hostname);
        const answers: string[] = [];
        socket.setEncoding('utf8').on('data', (chunk: string) => answers.push(chunk));
        let closed = false;
        socket.on('close', () => (closed = true));
        const request = 'GET /api/v1/products HTTP/1.1\r\nhost: localhost\r\n\r\n';
        for (let round = 0; round < 4; round++) {
          answers.length = 0;
          socket.write(request);
          await mesh.until(
            () => answers.join('').startsWith('HTTP/1.1 200'),
            'an answer on the old connection',
          );
          mesh.write('reviews.yaml', weights(round * 10, 100 - round * 10));
          await new Promise((resolve) => setTimeout(resolve, 700));
        }
        assert.equal(closed, false);
        socket.destroy();
      });

      await t.test('a policy denies what it names and nothing else', async () => {
        const load = new Load(reviews, 50);
        mesh.write(
          'deny.yaml',
          JSON.stringify({
            apiVersion: 'security.istio.io/v1',
            kind: 'AuthorizationPolicy',
            metadata: meta('details'),
            spec: {
              selector: { matchLabels: { app: 'details' } },
              action: 'DENY',
              rules: [{ to: [{ operation: { methods: ['GET'] } }] }],
            },
          }),
        );
        await new Promise((resolve) => setTimeout(resolve, 1000));
        assert.notEqual((await ask(details)).status, 200);
        mesh.write('deny.yaml', '');
        await new Promise((resolve) => setTimeout(resolve, 1000));
        assert.equal((await ask(details)).status, 200);
        await load.stop();
        assert.deepEqual(load.failures, []);
        assert.deepEqual([...load.statuses.keys()], [200]);
      });

      await t.test('a new version of a workload takes over without a lost request', async () => {
        const load = new Load(reviews, 50);
        const old = mesh.status?.pods.find(({ name }) => name.startsWith('details-v1'))?.name ?? '';
        const loadDetails = new Load(details, 50);
        const text = mesh.read('bookinfo.yaml');
        const changed = text.replace(
          /(name: details-v1[\s\S]*?containers:[\s\S]*?image: \S+)/,
          '$1\n        env:\n        - name: RELEASE\n          value: second',
        );
        assert.notEqual(changed, text);
        mesh.write('bookinfo.yaml', changed);
        await mesh.until(() => {
          const pods = mesh.status?.pods.filter(({ name }) => name.startsWith('details-v1')) ?? [];
          return pods.length === 1 && pods[0]?.name !== old && pods[0]?.phase === 'ready' && pods[0];
        }, 'the new pod alone');
        await new Promise((resolve) => setTimeout(resolve, 3000));
        await load.stop();
        await loadDetails.stop();
        assert.deepEqual([...load.failures, ...loadDetails.failures], []);
        assert.deepEqual([...load.statuses.keys()], [200]);
        assert.deepEqual([...loadDetails.statuses.keys()], [200]);
      });
    } finally {
      assert.equal(await mesh.stop(), 0);
    }
  });
});
