/**
 * Our balancers against Envoy's on the same clusters: shares by a chi-square test, and for consistent hashing the host of
 * each single key. What our proxy did is kept until Envoy has done the same.
 */
import assert from 'node:assert/strict';
import { Agent, createServer, get, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Run, conformance } from '../harness/conformance.ts';

const names = ['a', 'b', 'c', 'd', 'e'] as const;
const servers: Server[] = [];
/** One port per application, the same for both data planes: rings are made of addresses. */
const ports: Record<string, string> = {};

async function startApplications(): Promise<Record<string, string>> {
  for (const name of names) {
    if (ports[name] !== undefined) continue;
    const server = createServer((_request, response) => response.end(name));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports[name] = String((server.address() as AddressInfo).port);
    server.unref();
  }
  return ports;
}

interface Reply {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
}

class Client {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });
  readonly #port: number;

  constructor(run: Run) {
    this.#port = run.port('in');
  }

  ask(path: string, headers: Record<string, string>): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: this.#port, path, headers, agent: this.#agent };
      get(options, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => (body += part));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body, headers: response.headers }),
        );
      }).on('error', reject);
    });
  }

  /** Bodies of many requests, eight at a time, in order. */
  async many(count: number, path: (i: number) => string, headers: (i: number) => Record<string, string>) {
    const bodies: string[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let i = next++; i < count; i = next++) {
        const reply = await this.ask(path(i), headers(i));
        bodies[i] = reply.status === 200 ? reply.body : String(reply.status);
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    return bodies;
  }

  close(): void {
    this.#agent.destroy();
  }
}

function countOf(bodies: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const body of bodies) counts[body] = (counts[body] ?? 0) + 1;
  return counts;
}

/** Chi-square of two samples; both came from one distribution when it is small. */
function chiSquare(a: Record<string, number>, b: Record<string, number>): number {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  const total = (counts: Record<string, number>): number => Object.values(counts).reduce((x, y) => x + y, 0);
  const [sizeA, sizeB] = [total(a), total(b)];
  let sum = 0;
  for (const key of keys) {
    const [x, y] = [a[key] ?? 0, b[key] ?? 0];
    const share = (x + y) / (sizeA + sizeB);
    sum += (x - sizeA * share) ** 2 / (sizeA * share) + (y - sizeB * share) ** 2 / (sizeB * share);
  }
  return sum;
}

/** Value that chi-square passes once in 100000 runs, by degrees of freedom from 0. */
const bounds = [0, 19.6, 23.1, 25.9, 28.5];
const requests = 2000;
const keys = 400;

/** By case: what our proxy did. */
const ours = new Map<string, unknown>();

async function withClient<T>(run: Run, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client(run);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Shares of a policy that does not look at requests. */
function sharesOf(cluster: string, expected: Record<string, number>) {
  return async (run: Run): Promise<void> => {
    const counts = await withClient(run, async (client) =>
      countOf(
        await client.many(
          requests,
          () => '/',
          () => ({ cluster }),
        ),
      ),
    );
    assert.deepEqual(
      Object.keys(counts).toSorted(),
      Object.keys(expected).toSorted(),
      JSON.stringify(counts),
    );
    const fair = Object.fromEntries(Object.entries(expected).map(([name, share]) => [name, share * 1e6]));
    const bound = bounds[Object.keys(expected).length - 1] ?? 0;
    assert.ok(
      chiSquare(counts, fair) <= bound,
      `${JSON.stringify(counts)} is not ${JSON.stringify(expected)}`,
    );
    if (run.dataPlane === 'trysail') ours.set(cluster, counts);
    else {
      const mine = ours.get(cluster) as Record<string, number>;
      assert.ok(
        chiSquare(mine, counts) <= bound,
        `${JSON.stringify(mine)} against ${JSON.stringify(counts)}`,
      );
    }
  };
}

/** The host of each of many keys. */
function placesOf(
  cluster: string,
  path: (key: string) => string = () => '/by_header/',
  headers: (key: string, i: number) => Record<string, string> = (key) => ({ key }),
) {
  return async (run: Run): Promise<void> => {
    const hosts = await withClient(run, (client) =>
      client.many(
        keys,
        (i) => path(`key-${i}`),
        (i) => ({ cluster, ...headers(`key-${i}`, i) }),
      ),
    );
    const id = `${cluster} ${path('')} ${JSON.stringify(headers('', 0))}`;
    if (run.dataPlane === 'trysail') {
      assert.ok(!hosts.includes('503'), 'every key has a host');
      ours.set(id, hosts);
    } else {
      const mine = ours.get(id) as string[];
      const different = hosts.filter((host, i) => host !== mine[i]).length;
      assert.equal(different, 0, `${different} of ${keys} keys are elsewhere`);
    }
  };
}

const fifth = { a: 0.2, b: 0.2, c: 0.2, d: 0.2, e: 0.2 };
const third = { a: 1 / 3, b: 1 / 3, c: 1 / 3 };
const tenths = { a: 0.1, b: 0.2, c: 0.7 };

conformance(import.meta.filename, {
  rows: ['5.30', '5.31', '5.32', '5.33'],
  backends: [],
  setUp: startApplications,
  cases: {
    'round robin': sharesOf('round_robin', fifth),
    'least request': sharesOf('least_request', fifth),
    random: sharesOf('random', fifth),
    'round robin with weights': sharesOf('round_robin_weighted', tenths),
    'random looks at no weights': sharesOf('random_weighted', third),
    // 80 * 1.4 / 2 = 56 against 20.
    'weights of localities, half of one unhealthy': sharesOf('locality_weighted', { a: 56 / 76, c: 20 / 76 }),
    'priorities with overprovisioning': sharesOf('priorities', { a: 0.7, c: 0.3 }),
    'priorities without overprovisioning': sharesOf('overprovisioned', { a: 0.33, b: 0.33, d: 0.34 }),
    'degraded hosts take what healthy ones cannot': sharesOf('degraded', { a: 0.46, b: 0.27, c: 0.27 }),
    'panic: all hosts of the priority': sharesOf('panic', third),
    'no panic: the healthy host alone': sharesOf('panic_off', { a: 1 }),
    'total panic: by number of hosts': sharesOf('total_panic', third),
    'both priorities panic: by number of hosts': sharesOf('partial_panic', fifth),
    'least request with weights': async (run) => {
      const counts = await withClient(run, async (client) =>
        countOf(
          await client.many(
            requests,
            () => '/',
            () => ({ cluster: 'least_request_weighted' }),
          ),
        ),
      );
      // Requests in flight pull the shares together: only the order is certain.
      const { a = 0, b = 0, c = 0 } = counts;
      assert.ok(a < b && b < c && c < requests * 0.75, JSON.stringify(counts));
    },
    'ring hash': placesOf('ring_hash'),
    'ring hash on a small ring': placesOf('ring_hash_small'),
    'ring hash with MurmurHash': placesOf('ring_hash_murmur'),
    'ring hash with weights': placesOf('ring_hash_weighted'),
    'ring hash with weighted localities': placesOf('ring_hash_localities'),
    'ring hash with priorities': placesOf('ring_hash_priorities'),
    'ring hash in panic': placesOf('ring_hash_panic'),
    maglev: placesOf('maglev'),
    'maglev on a small table': placesOf('maglev_small'),
    'maglev with weights': placesOf('maglev_weighted'),
    'maglev with weighted localities': placesOf('maglev_localities'),
    'hash of a query parameter': placesOf(
      'ring_hash',
      (key) => `/by_query/?x=1&key=${key}&key=other`,
      () => ({}),
    ),
    'hash of a cookie': placesOf(
      'ring_hash',
      () => '/by_cookie/',
      (key) => ({ cookie: `a=b; session=${key}` }),
    ),
    'hash of the source address': placesOf(
      'ring_hash',
      () => '/by_address/',
      () => ({}),
    ),
    'hash of two headers': placesOf(
      'ring_hash',
      () => '/by_two/',
      (key, i) => ({ key, other: String(i % 7) }),
    ),
    'a terminal hash ends the list': async (run) => {
      await withClient(run, async (client) => {
        const ask = async (other: string) =>
          (await client.ask('/by_terminal/', { cluster: 'ring_hash', key: 'k', other })).body;
        const hosts = new Set<string>();
        for (let i = 0; i < 20; i++) hosts.add(await ask(String(i)));
        assert.equal(hosts.size, 1);
      });
    },
    'a cookie is made and leads to the same host': async (run) => {
      await withClient(run, async (client) => {
        const first = await client.ask('/by_cookie/', { cluster: 'ring_hash' });
        const [cookie = ''] = first.headers['set-cookie'] ?? [];
        assert.match(cookie, /^session="[0-9a-f]{1,16}"; Max-Age=10; Path=\/; HttpOnly$/);
        const pair = cookie.slice(0, cookie.indexOf(';'));
        for (let i = 0; i < 5; i++) {
          const next = await client.ask('/by_cookie/', { cluster: 'ring_hash', cookie: pair });
          assert.equal(next.body, first.body);
          assert.equal(next.headers['set-cookie'], undefined);
        }
      });
    },
    'a session cookie has its attributes': async (run) => {
      await withClient(run, async (client) => {
        const { headers } = await client.ask('/by_cookie_attributes/', { cluster: 'ring_hash' });
        const [cookie = ''] = headers['set-cookie'] ?? [];
        assert.match(cookie, /^session="[0-9a-f]{1,16}"; Path=\/x; SameSite=Strict; Secure; HttpOnly$/);
      });
    },
  },
});
