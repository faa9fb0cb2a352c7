/** Sticky sessions: the client brings the address of its host along, in a cookie or a header. */
import assert from 'node:assert/strict';
import { type Run, conformance } from '../harness/conformance.ts';

const gone = '127.0.0.9:1';

function at(run: Run, backend: string): string {
  return `127.0.0.1:${run.port(backend)}`;
}

function base64(value: string | Uint8Array): string {
  return Buffer.from(value).toString('base64');
}

/** The message in a cookie: `string address = 1; int64 expires = 2`. */
function message(address: string, expires = 0): Buffer {
  const bytes = [10, address.length, ...Buffer.from(address)];
  if (expires === 0) return Buffer.from(bytes);
  bytes.push(16);
  let left = expires;
  for (; left > 127; left = Math.floor(left / 128)) bytes.push((left % 128) | 128);
  return Buffer.from([...bytes, left]);
}

interface Seen {
  readonly status: number;
  /** Who answered; empty when the proxy did. */
  readonly backend: string;
  readonly cookie: string | undefined;
  readonly header: string | undefined;
}

async function ask(
  run: Run,
  path: string,
  headers: Readonly<Record<string, string>>,
  cluster = 'turns',
): Promise<Seen> {
  const answer = await run.get(path, { headers: { cluster, ...headers } });
  return {
    status: answer.status,
    backend: answer.body.startsWith('{') ? answer.echo().backend : '',
    cookie: answer.headers['set-cookie']?.[0],
    header: answer.headers['x-session'] as string | undefined,
  };
}

/** Three requests in turn. */
async function thrice(
  run: Run,
  path: string,
  headers: Readonly<Record<string, string>>,
  cluster = 'turns',
): Promise<Seen[]> {
  const seen = [];
  for (let i = 0; i < 3; i++) seen.push(await ask(run, path, headers, cluster));
  return seen;
}

/** Every request went to one host, and the client was told nothing new. */
function stays(seen: readonly Seen[], backend: string): void {
  for (const one of seen)
    assert.deepEqual(one, { status: 200, backend, cookie: undefined, header: undefined });
}

/** Three turns of three hosts. */
function goesAround(seen: readonly Seen[]): void {
  assert.deepEqual(seen.map(({ backend }) => backend).toSorted(), ['a', 'b', 'c']);
}

const counters = ['routed', 'failed_open', 'failed_closed', 'no_session'] as const;

/** What a request adds to the counters. */
async function counted(run: Run, place: string, request: () => Promise<unknown>): Promise<string[]> {
  const read = (): Promise<number[]> => Promise.all(counters.map((name) => run.stat(`${place}.${name}`)));
  const before = await read();
  await request();
  const after = await read();
  return counters.filter((_, i) => after[i] !== before[i]);
}

conformance(import.meta.filename, {
  rows: ['5.39'],
  backends: ['a', 'b', 'c'],
  cases: {
    'a cookie is made for a client without one': async (run) => {
      const earliest = Math.floor(Date.now() / 1000) + 60;
      const { backend, cookie = '' } = await ask(run, '/shop', {});
      const parts = /^cart="([^"]+)"; Max-Age=60; Path=\/shop; SameSite=Strict; Secure; HttpOnly$/.exec(
        cookie,
      );
      const value = parts?.[1] ?? assert.fail(cookie);
      const made = [0, 1, 2, 3, 4, 5].map((late) => base64(message(at(run, backend), earliest + late)));
      assert.ok(made.includes(value), `address and end of the session: ${value}`);
      stays(await thrice(run, '/shop', { cookie: `x=1; cart="${value}"; y=2` }), backend);
    },
    'with the cookie requests stay on the host': async (run) => {
      const address = at(run, 'b');
      stays(await thrice(run, '/shop', { cookie: `cart="${base64(message(address))}"` }), 'b');
      stays(await thrice(run, '/shop', { cookie: `cart=${base64(message(address, 4e9))}` }), 'b');
      stays(await thrice(run, '/shop', { cookie: `cart=${base64(address)}` }), 'b');
    },
    'sessions are of the path of the cookie': async (run) => {
      const headers = { cookie: `cart="${base64(message(at(run, 'b')))}"` };
      for (const path of ['/shop?x=1', '/shop/', '/shop/x']) stays(await thrice(run, path, headers), 'b');
      for (const path of ['/', '/shopping']) {
        const seen = await thrice(run, path, headers);
        goesAround(seen);
        assert.ok(seen.every(({ cookie }) => cookie === undefined));
      }
    },
    'a cookie that is old, malformed or of a host that is gone is replaced': async (run) => {
      const values = [
        base64(message(at(run, 'b'), 1000)),
        base64(message(gone)),
        base64(gone),
        base64(message('')),
        base64(message(at(run, 'b'))).replace(/=*$/, '==='),
        base64(message(at(run, 'b'), 4e9)).slice(1),
        '%%%',
        '',
      ];
      for (const value of values) {
        const seen = await thrice(run, '/shop', { cookie: `cart=${value}` });
        goesAround(seen);
        for (const { backend, cookie } of seen) {
          const address = Buffer.from(cookie?.split('"')[1] ?? '', 'base64').toString('latin1');
          assert.ok(address.includes(at(run, backend)), `${value}: ${cookie}`);
        }
      }
    },
    'a header in place of a cookie': async (run) => {
      const first = await ask(run, '/header', {});
      assert.equal(first.header, base64(at(run, first.backend)));
      assert.equal(first.cookie, undefined);
      stays(await thrice(run, '/header', { 'x-session': first.header ?? '' }), first.backend);
      for (const value of ['!!', base64(gone), '']) {
        const seen = await thrice(run, '/header', { 'x-session': value });
        goesAround(seen);
        for (const { backend, header } of seen) assert.equal(header, base64(at(run, backend)));
      }
    },
    'a route without sessions': async (run) => {
      const headers = { cookie: `cart="${base64(message(at(run, 'b')))}"` };
      for (const path of ['/shop/off', '/empty']) {
        const seen = await thrice(run, path, headers);
        goesAround(seen);
        assert.ok(seen.every(({ cookie }) => cookie === undefined));
      }
    },
    'strict: no other host will do': async (run) => {
      stays(await thrice(run, '/strict', { cookie: `strict="${base64(message(at(run, 'b')))}"` }), 'b');
      const cookie = `strict="${base64(message(gone))}"`;
      const before = await run.stat('cluster.turns.upstream_cx_none_healthy');
      const refused = await run.get('/strict', { headers: { cluster: 'turns', cookie } });
      assert.equal(refused.status, 503);
      assert.equal(refused.body, 'no healthy upstream');
      assert.equal(refused.headers['set-cookie'], undefined);
      assert.equal(await run.stat('cluster.turns.upstream_cx_none_healthy'), before + 1);
      assert.equal((await ask(run, '/teapot', { cookie })).status, 418);
      const first = await ask(run, '/strict', {});
      assert.equal(first.cookie, `strict="${base64(message(at(run, first.backend)))}"; HttpOnly`);
    },
    'a retry goes where the balancer says': async (run) => {
      const cookie = `strict="${base64(message(at(run, 'b')))}"`;
      const seen = [];
      for (let i = 0; i < 3; i++) seen.push(await ask(run, '/strict', { cookie, 'x-want-status-b': '503' }));
      const others = seen.filter(({ backend }) => backend !== 'b');
      assert.ok(others.length > 0);
      for (const { backend, cookie: made = '' } of others)
        assert.equal(made, `strict="${base64(message(at(run, backend)))}"; HttpOnly`);
    },
    'with every balancer': async (run) => {
      const headers = { cookie: `cart="${base64(message(at(run, 'b')))}"` };
      for (const cluster of ['least', 'chance', 'ring', 'maglev', 'subsets'])
        stays(await thrice(run, '/shop', headers, cluster), 'b');
      stays(await thrice(run, '/shop', { cookie: `cart="${base64(at(run, 'a'))}"` }, 'by_name'), 'a');
    },
    'a host that drains keeps its sessions and gets no new ones': async (run) => {
      const to = (backend: string) => ({ cookie: `cart="${base64(message(at(run, backend)))}"` });
      stays(await thrice(run, '/shop', to('b'), 'drains'), 'b');
      for (const { backend } of await thrice(run, '/shop', {}, 'drains')) assert.equal(backend, 'a');
      const moved = await ask(run, '/shop', to('c'), 'drains');
      assert.equal(moved.backend, 'a', 'UNHEALTHY is not in the list');
      assert.notEqual(moved.cookie, undefined);
      for (const backend of ['b', 'c'])
        assert.equal((await ask(run, '/shop', to(backend), 'drains_by_default')).backend, 'a');
      const strict = { cookie: `strict="${base64(message(at(run, 'c')))}"` };
      assert.equal((await ask(run, '/strict', strict, 'drains')).status, 503);
    },
    'override_host_status is a list of what is assigned': async (run) => {
      const to = (backend: string) => ({ cookie: `strict="${base64(message(at(run, backend)))}"` });
      const status = async (backend: string, cluster: string) =>
        (await ask(run, '/strict', to(backend), cluster)).status;
      assert.equal(await status('a', 'explicit'), 200, 'HEALTHY');
      assert.equal(await status('b', 'explicit'), 503, 'UNKNOWN is not HEALTHY');
      assert.equal(await status('c', 'explicit'), 200, 'TIMEOUT');
      assert.equal(await status('a', 'nobody'), 503, 'an empty list');
    },
    counters: async (run) => {
      const to = (name: string, address: string) => ({ cookie: `${name}="${base64(message(address))}"` });
      const shop = (path: string, headers: Readonly<Record<string, string>>, cluster?: string) =>
        counted(run, 'http.in.stateful_session.shop', () => ask(run, path, headers, cluster));
      assert.deepEqual(await shop('/shop', to('cart', at(run, 'b'))), ['routed']);
      assert.deepEqual(await shop('/shop', to('cart', gone)), ['failed_open']);
      assert.deepEqual(await shop('/shop', {}), ['failed_open']);
      assert.deepEqual(await shop('/', {}), ['no_session']);
      assert.deepEqual(await shop('/shop/off', {}), []);
      assert.deepEqual(await shop('/shop', {}, 'empty'), []);
      const strict = (headers: Readonly<Record<string, string>>, cluster?: string) =>
        counted(run, 'stateful_session.strict', () => ask(run, '/strict', headers, cluster));
      assert.deepEqual(await strict(to('strict', at(run, 'b'))), ['routed']);
      assert.deepEqual(await strict(to('strict', gone)), ['failed_closed']);
      assert.deepEqual(await strict({}), []);
      assert.deepEqual(await strict({}, 'empty'), ['failed_closed'], 'no host at all');
    },
  },
});
