/** Route matches: paths, headers, pseudo-headers, query parameters, cookies, gRPC, fractions with runtime keys. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { conformance, type Run } from '../harness/conformance.ts';
import { type RequestOptions, send } from '../harness/http_request.ts';

/** Name of the route that takes a request. */
async function route(run: Run, path: string, options?: RequestOptions): Promise<string> {
  return (await run.get(path, options)).body;
}

async function paths(run: Run, cases: Readonly<Record<string, string>>): Promise<void> {
  const found: Record<string, string> = {};
  for (const path of Object.keys(cases)) found[path] = await route(run, path);
  assert.deepEqual(found, cases);
}

/** Routes `/h/NAME` match by `x-match`: what they take and what they leave; undefined is no header. */
const headerCases: Readonly<
  Record<string, readonly [takes: readonly (string | undefined)[], leaves: readonly (string | undefined)[]]>
> = {
  exact: [['a'], ['A', 'ab', '', undefined]],
  prefix: [
    ['ab', 'abc'],
    ['a', 'xab', undefined],
  ],
  suffix: [
    ['yz', 'xyz'],
    ['yza', undefined],
  ],
  contains: [
    ['mid', 'amidst'],
    ['mi', undefined],
  ],
  regex: [
    ['v1', 'v22'],
    ['v', 'xv1', 'v1x', undefined],
  ],
  fold: [
    ['fold', 'FOLD'],
    ['folds', undefined],
  ],
  range: [
    ['-5', '0', '9'],
    ['10', '-6', '1.5', 'x', '', undefined],
  ],
  present: [['x', ''], [undefined]],
  absent: [[undefined], ['x', '']],
  not: [
    ['b', ''],
    ['a', undefined],
  ],
  'not-present': [[undefined], ['x']],
  missing: [['b', '', undefined], ['a']],
  empty: [['', undefined], ['a']],
  'old-exact': [['a'], ['b', undefined]],
  'old-prefix': [['abc'], ['xab', undefined]],
  'old-suffix': [['xyz'], ['yza', undefined]],
  'old-contains': [['amidst'], ['mi', undefined]],
  'old-regex': [['v1'], ['xv1', undefined]],
};

/** Status and body of a CONNECT request. */
function connectTo(run: Run): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = request({
      host: '127.0.0.1',
      port: run.port('in'),
      method: 'CONNECT',
      path: 'h.example:443',
      agent: false,
    });
    client.on('connect', (response, socket) => {
      socket.destroy();
      resolve(String(response.statusCode));
    });
    client.on('error', reject);
    client.end();
  });
}

conformance(import.meta.filename, {
  rows: ['5.15'],
  cases: {
    paths: (run) =>
      paths(run, {
        '/exact': 'exact',
        '/exact?q=1': 'exact',
        '/exact/': 'rest',
        '/Exact': 'rest',
        '/fOLD': 'fold-path',
        '/fold/x': 'fold-prefix',
        '/api/dev': 'separated',
        '/api/dev/': 'separated',
        '/api/dev/x': 'separated',
        '/api/dev?x': 'separated',
        '/api/develop': 'rest',
        '/api/CASE/x': 'fold-separated',
        '/pre': 'prefix',
        '/prefix': 'prefix',
        '/Pre': 'rest',
        '/re/12': 'regex',
        '/re/12.html?x=y': 'regex',
        '/re/12x': 'rest',
        '/x/re/12': 'rest',
        '/': 'rest',
      }),
    'path parameters': async (run) => {
      const ask = async (path: string): Promise<string> => (await send(run.port('params'), path)).body;
      assert.equal(await ask('/exact;v=1'), 'exact');
      assert.equal(await ask('/a;v=1/b;w=2/c'), 'prefix');
      assert.equal(await ask('/exactly'), 'rest');
    },
    headers: async (run) => {
      for (const [name, [takes, leaves]] of Object.entries(headerCases)) {
        const ask = (value: string | undefined): Promise<string> =>
          route(run, `/h/${name}/`, value === undefined ? {} : { headers: { 'x-match': value } });
        for (const value of takes) assert.equal(await ask(value), `h-${name}`, `${name} takes ${value}`);
        for (const value of leaves) assert.equal(await ask(value), 'rest', `${name} leaves ${value}`);
      }
    },
    'all headers must match; repeated ones are looked at one by one': async (run) => {
      assert.equal(await route(run, '/both', { headers: { 'x-a': 'a', 'x-b': 'b' } }), 'both');
      assert.equal(await route(run, '/both', { headers: { 'x-a': 'a' } }), 'rest');
      const twice = (name: string, values: readonly string[]): Promise<string> =>
        route(run, `/h/${name}/`, { headers: { 'x-match': values } });
      assert.equal(await twice('exact', ['b', 'a']), 'h-exact');
      assert.equal(await twice('exact', ['b', 'c']), 'rest');
      assert.equal(await twice('old-exact', ['b', 'a']), 'h-old-exact');
      assert.equal(await twice('not', ['b', 'c']), 'h-not');
      assert.equal(await twice('not', ['b', 'a']), 'rest');
      assert.equal(await twice('contains', ['mi', 'd']), 'rest');
      assert.equal(await twice('regex', ['x', 'v1']), 'h-regex');
      assert.equal(await twice('range', ['100', '1']), 'h-range');
    },
    'pseudo-headers': async (run) => {
      assert.equal(await route(run, '/p/method', { method: 'PUT' }), 'p-method');
      assert.equal(await route(run, '/p/method'), 'rest');
      assert.equal(await route(run, '/p/authority', { headers: { host: 'shop.example' } }), 'p-authority');
      assert.equal(await route(run, '/p/authority', { headers: { host: 'x.shop.example' } }), 'rest');
      assert.equal(await route(run, '/p/path?full'), 'p-path');
      assert.equal(await route(run, '/p/path'), 'rest');
      assert.equal(await route(run, '/p/scheme', { headers: { 'x-forwarded-proto': 'https' } }), 'p-scheme');
      assert.equal(await route(run, '/p/scheme'), 'rest');
      assert.equal(await route(run, '/p/host', { headers: { host: 'h' } }), 'p-host');
    },
    'query parameters': (run) =>
      paths(run, {
        '/q/present?qpresent': 'q-present',
        '/q/present?a=b&qpresent=x': 'q-present',
        '/q/present?a=b': 'rest',
        '/q/present': 'rest',
        '/q/bare?qbare=': 'q-bare',
        '/q/bare': 'rest',
        '/q/absent': 'q-absent',
        '/q/absent?qabsent=1': 'rest',
        '/q/exact?qexact=1': 'q-exact',
        '/q/exact?qexact=1&qexact=2': 'q-exact',
        '/q/exact?qexact=2&qexact=1': 'rest',
        '/q/exact?QEXACT=1': 'rest',
        '/q/exact?qexact=%31': 'rest',
        '/q/regex?qregex=12': 'q-regex',
        '/q/regex?qregex=1x': 'rest',
        '/q/fold?qfold=abc': 'q-fold',
        '/q/fold?qfold=xab': 'rest',
      }),
    'cookies, gRPC, client certificates': async (run) => {
      const cookie = (path: string, value: string): Promise<string> =>
        route(run, path, { headers: { cookie: value } });
      assert.equal(await cookie('/c/yes', 'a=b; who=me'), 'cookie');
      assert.equal(await cookie('/c/yes', 'who=you'), 'rest');
      assert.equal(await route(run, '/c/yes'), 'rest');
      assert.equal(await cookie('/c/not', 'who=you'), 'cookie-not');
      assert.equal(await cookie('/c/not', 'who=me'), 'rest');
      assert.equal(await route(run, '/c/not'), 'cookie-not');
      const typed = (type: string): Promise<string> =>
        route(run, '/g', { method: 'POST', headers: { 'content-type': type } });
      assert.equal(await route(run, '/tls'), 'rest');
      assert.equal(await typed('application/json'), 'rest');
      assert.equal(
        (await run.get('/g', { method: 'POST', headers: { 'content-type': 'application/grpc+proto' } }))
          .headers['grpc-message'],
        'grpc',
      );
    },
    CONNECT: async (run) => {
      assert.equal(await connectTo(run), '403');
    },
    fractions: async (run) => {
      assert.equal(await route(run, '/f/never'), 'rest');
      assert.equal(await route(run, '/f/always'), 'always');
      let half = 0;
      for (let i = 0; i < 200; i++) if ((await route(run, '/f/half')) === 'half') half++;
      assert.ok(half > 60 && half < 140, String(half));
    },
    'fractions by runtime key': async (run) => {
      assert.equal(await route(run, '/f/layer'), 'layer');
      assert.equal(await route(run, '/f/struct'), 'struct');
      assert.equal(await route(run, '/f/key'), 'rest');
      await run.admin('/runtime_modify?routes.key=100&routes.half=0', 'POST');
      assert.equal(await route(run, '/f/key'), 'key');
      assert.equal(await route(run, '/f/half'), 'rest');
      await run.admin('/runtime_modify?routes.key=&routes.half=', 'POST');
      assert.equal(await route(run, '/f/key'), 'rest');
    },
  },
});
