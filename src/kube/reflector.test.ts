/** What a real API server cannot be made to do; the rest is test/kube/reflector.test.ts. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  type FakeReply,
  type FakeRequest,
  startFakeKubeApi,
  status,
  watchReply,
} from '../../test/harness/fake_kube_api.ts';
import { type KubeObject, apiResources } from './object.ts';
import { Reflector, type ReflectorOptions } from './reflector.ts';

interface Item extends KubeObject {
  readonly text?: string;
}

function item(name: string, version: number, rest: { uid?: string; text?: string } = {}): Item {
  const { uid = `uid-${name}`, text = `v${version}` } = rest;
  return { metadata: { name, namespace: 'default', uid, resourceVersion: String(version) }, text };
}

function list(version: number, items: readonly Item[], more?: string): FakeReply {
  const metadata = { resourceVersion: String(version), ...(more === undefined ? {} : { continue: more }) };
  return { json: { kind: 'ConfigMapList', metadata, items } };
}

function event(type: string, object: unknown): unknown {
  return { type, object };
}

/** Runs a reflector against scripted lists and watches; `until` says when all has been heard. */
async function follow(
  t: TestContext,
  script: { lists: readonly FakeReply[]; watches: readonly FakeReply[] },
  until: (told: readonly string[], requests: readonly FakeRequest[]) => boolean,
  options: Partial<ReflectorOptions<string>> = {},
) {
  let lists = 0;
  let watches = 0;
  const api = await startFakeKubeApi(t, ({ isWatch }) => {
    const reply = isWatch ? script.watches[watches++] : script.lists[lists++];
    return reply ?? watchReply([]);
  });
  const told: string[] = [];
  const reflector = new Reflector<string>({
    client: api.client({
      maxTries: 1,
      timeoutMs: 500,
      ...(options.pageSize === 100 ? { maxBytes: 2000 } : {}),
    }),
    resource: apiResources.configMaps,
    backoff: { baseMs: 1, maxMs: 2 },
    read: (object) => (object as Item).text,
    onChanges: (changes) => told.push(...changes.map(({ type, value }) => `${type} ${value}`)),
    ...options,
  });
  t.after(() => reflector.close());
  reflector.start();
  const end = Date.now() + 3000;
  while (!until(told, api.requests) && Date.now() < end) await new Promise((r) => setTimeout(r, 2));
  return { told, reflector, requests: api.requests, watchesOf: () => api.requests.filter((r) => r.isWatch) };
}

test('a list of several pages is told as a whole', async (t) => {
  const { told, requests, reflector } = await follow(
    t,
    { lists: [list(5, [item('a', 1)], 'next'), list(5, [item('b', 2)])], watches: [watchReply([])] },
    (heard) => heard.length === 2,
    { pageSize: 1 },
  );
  assert.deepEqual(told, ['add v1', 'add v2']);
  assert.equal(requests[1]?.query.get('continue'), 'next');
  assert.equal(reflector.state.resourceVersion, '5');
  assert.equal(reflector.get('default', 'b'), 'v2');
});

test('goes on from the last event, also after an event that was cut in the middle', async (t) => {
  const half: FakeReply = (response) => {
    response.writeHead(200);
    const [one, two] = [event('ADDED', item('a', 6)), event('ADDED', item('é', 7))].map((e) =>
      JSON.stringify(e),
    );
    const bytes = Buffer.from(`${one}\n${two}\n`);
    // In the middle of a character, then nothing.
    const cut = bytes.indexOf('é') + 1;
    response.write(bytes.subarray(0, cut));
    setImmediate(() => response.end());
  };
  const { told, watchesOf } = await follow(
    t,
    { lists: [list(5, [])], watches: [half, watchReply([event('ADDED', item('é', 7))])] },
    (heard) => heard.length === 2,
  );
  assert.deepEqual(told, ['add v6', 'add v7']);
  assert.deepEqual(
    watchesOf().map(({ query }) => query.get('resourceVersion')),
    ['5', '6'],
  );
});

test('an event that is told twice by the server is told once', async (t) => {
  const { told } = await follow(
    t,
    {
      lists: [list(5, [item('a', 4)])],
      watches: [
        watchReply(
          [
            event('ADDED', item('a', 4)),
            event('MODIFIED', item('a', 6)),
            event('MODIFIED', item('a', 6)),
            event('DELETED', item('b', 7)),
            event('DELETED', item('a', 8)),
            event('DELETED', item('a', 8)),
            event('ADDED', item('a', 9, { uid: 'new' })),
          ],
          'open',
        ),
      ],
    },
    (heard) => heard.length >= 4,
  );
  assert.deepEqual(told, ['add v4', 'update v6', 'delete v6', 'add v9']);
});

test('an object made anew under its name is a delete and an add', async (t) => {
  const { told } = await follow(
    t,
    {
      lists: [list(5, [item('a', 4)])],
      watches: [watchReply([event('MODIFIED', item('a', 9, { uid: 'new' }))])],
    },
    (heard) => heard.length >= 3,
  );
  assert.deepEqual(told, ['add v4', 'delete v4', 'add v9']);
});

test('410 inside a watch lists again and tells the difference', async (t) => {
  const { told, requests } = await follow(
    t,
    {
      lists: [
        list(5, [item('a', 1), item('b', 2), item('c', 3)]),
        list(9, [item('a', 1), item('b', 8), item('d', 9)]),
      ],
      watches: [watchReply([event('ERROR', status(410, 'Expired'))])],
    },
    (heard) => heard.length >= 6,
  );
  assert.deepEqual(told, ['add v1', 'add v2', 'add v3', 'delete v3', 'update v8', 'add v9']);
  assert.equal(requests.filter(({ isWatch }) => !isWatch).length, 2);
});

test('a version from the future (a restored backup) lists again', async (t) => {
  const future = status(504, 'Timeout', { details: { causes: [{ reason: 'ResourceVersionTooLarge' }] } });
  const { told } = await follow(
    t,
    {
      lists: [list(50, [item('a', 40)]), list(7, [item('a', 6)])],
      watches: [{ status: 504, json: future }],
    },
    (heard) => heard.length >= 2,
  );
  assert.deepEqual(told, ['add v40', 'update v6']);
});

test('other errors inside a watch, garbage and versions that lack start the watch again, not the list', async (t) => {
  const garbage: FakeReply = (response) => {
    response.writeHead(200);
    response.end('{"type":\n');
  };
  const { told, requests, watchesOf } = await follow(
    t,
    {
      lists: [list(5, [])],
      watches: [
        watchReply([event('ERROR', status(500, 'InternalError'))]),
        garbage,
        watchReply([event('ADDED', { metadata: { name: 'x' } })]),
        watchReply([], 'end'),
        { status: 503, json: status(503, 'ServiceUnavailable') },
        watchReply([event('ADDED', item('a', 6))]),
      ],
    },
    (heard) => heard.length >= 1,
  );
  assert.deepEqual(told, ['add v6']);
  assert.equal(requests.filter(({ isWatch }) => !isWatch).length, 1);
  assert.equal(watchesOf().length, 6);
});

test('a resource that the server does not know keeps its state and says so', async (t) => {
  let unknown = 0;
  const missing: FakeReply = { status: 404, json: status(404, 'NotFound') };
  const { told, reflector } = await follow(
    t,
    {
      lists: [list(5, [item('a', 1)])],
      watches: [missing, missing, watchReply([event('ADDED', item('b', 6))])],
    },
    (heard) => heard.length >= 2,
    { onUnknown: () => unknown++ },
  );
  assert.deepEqual(told, ['add v1', 'add v6']);
  assert.equal(unknown, 2);
  assert.equal(reflector.state.objects, 2);
});

test('a page that is too large is asked for in smaller ones', async (t) => {
  const large = list(5, [item('a', 1, { text: 'x'.repeat(4000) })]);
  const { told, requests } = await follow(
    t,
    { lists: [large, list(6, [item('a', 2)])], watches: [] },
    (heard) => heard.length >= 1,
    { pageSize: 100 },
  );
  assert.deepEqual(told, ['add v2']);
  assert.deepEqual(
    requests.filter(({ isWatch }) => !isWatch).map(({ query }) => query.get('limit')),
    ['100', '25'],
  );
});

test('bookmarks move the version and are told to nobody', async (t) => {
  const { told, reflector } = await follow(
    t,
    {
      lists: [list(5, [])],
      watches: [watchReply([event('BOOKMARK', { metadata: { resourceVersion: '77' } })], 'end')],
    },
    (_, requests) => requests.filter(({ isWatch }) => isWatch).length >= 2,
  );
  assert.deepEqual(told, []);
  assert.equal(reflector.state.resourceVersion, '77');
  assert.equal(reflector.state.bookmarks, 1);
});

test('an object that does not count any more is a delete', async (t) => {
  const { told } = await follow(
    t,
    {
      lists: [list(5, [item('a', 1)])],
      watches: [
        watchReply([
          event('MODIFIED', item('a', 6, { text: '' })),
          event('MODIFIED', item('a', 7)),
          event('DELETED', item('a', 8)),
        ]),
      ],
    },
    (heard) => heard.length >= 4,
    { read: (object) => (object as Item).text || undefined },
  );
  assert.deepEqual(told, ['add v1', 'delete v1', 'add v7', 'delete v7']);
});

test('close ends a watch and nothing is told after', async (t) => {
  const { reflector, told } = await follow(
    t,
    { lists: [list(5, [item('a', 1)])], watches: [watchReply([])] },
    (heard) => heard.length === 1,
  );
  await reflector.close();
  const before = told.length;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(told.length, before);
});
