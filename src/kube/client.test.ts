import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFakeKubeApi, status } from '../../test/harness/fake_kube_api.ts';
import { KubeError } from './kube_error.ts';
import { apiResources } from './object.ts';

const { configMaps } = apiResources;
const object = { metadata: { name: 'a', namespace: 'default', resourceVersion: '1' } };

/** The first answers fail with these statuses, then all is well. */
function failing(statuses: readonly number[], headers: Readonly<Record<string, string>> = {}) {
  let next = 0;
  return () => {
    const code = statuses[next++];
    return code === undefined ? { json: object } : { status: code, headers, json: status(code, 'Failure') };
  };
}

test('reads are tried again after 429, 5xx and broken connections', async (t) => {
  const api = await startFakeKubeApi(t, failing([429, 500, 503]));
  assert.deepEqual(await api.client().get(configMaps, 'default', 'a'), object);
  assert.equal(api.requests.length, 4);

  let first = true;
  const cut = await startFakeKubeApi(t, () => {
    if (!first) return { json: object };
    first = false;
    return (response) => void response.destroy();
  });
  assert.deepEqual(await cut.client().get(configMaps, 'default', 'a'), object);
});

test('writes are tried again only when the server says that nothing was done', async (t) => {
  const refused = await startFakeKubeApi(t, failing([429]));
  await refused.client().create(configMaps, 'default', object);
  assert.equal(refused.requests.length, 2);

  const busy = await startFakeKubeApi(t, failing([503], { 'retry-after': '0' }));
  await busy.client().create(configMaps, 'default', object);
  assert.equal(busy.requests.length, 2);

  const broken = await startFakeKubeApi(t, failing([500]));
  await assert.rejects(
    broken.client().create(configMaps, 'default', object),
    (error) => error instanceof KubeError && error.status === 500,
  );
  assert.equal(broken.requests.length, 1);
});

test('gives up after as many tries as allowed', async (t) => {
  const api = await startFakeKubeApi(t, failing([500, 500, 500, 500]));
  await assert.rejects(api.client({ maxTries: 3 }).get(configMaps, 'default', 'a'), { status: 500 });
  assert.equal(api.requests.length, 3);
});

test('a refused token is asked for anew, once', async (t) => {
  let token = 'old';
  const api = await startFakeKubeApi(
    t,
    ({ authorization }) =>
      authorization === 'Bearer new' ? { json: object } : { status: 401, json: status(401, 'Unauthorized') },
    () => ({ token }),
  );
  api.access.refresh = () => void (token = 'new');
  assert.deepEqual(await api.client().get(configMaps, 'default', 'a'), object);
  api.access.refresh = () => void (token = 'bad');
  token = 'bad';
  await assert.rejects(api.client().get(configMaps, 'default', 'a'), { status: 401 });
  assert.equal(api.requests.length, 4);
});

test('answers are bounded in size and time, and no JSON is an error', async (t) => {
  const large = await startFakeKubeApi(t, () => ({ json: { text: 'x'.repeat(2000) } }));
  await assert.rejects(large.client({ maxBytes: 1000 }).get(configMaps, 'default', 'a'), {
    code: 'too_large',
  });
  const slow = await startFakeKubeApi(t, () => () => {});
  await assert.rejects(slow.client({ timeoutMs: 30, maxTries: 1 }).get(configMaps, 'default', 'a'), {
    code: 'timeout',
  });
  const half = await startFakeKubeApi(t, () => (response) => {
    response.writeHead(200);
    response.write('{');
  });
  await assert.rejects(half.client({ timeoutMs: 30, maxTries: 1 }).get(configMaps, 'default', 'a'), {
    code: 'timeout',
  });
  const text = await startFakeKubeApi(t, () => (response) => void response.end('<html>'));
  await assert.rejects(text.client().get(configMaps, 'default', 'a'), { code: 'malformed' });
});

test('paths, queries and content types', async (t) => {
  const api = await startFakeKubeApi(t, () => ({ json: object }));
  const client = api.client();
  await client.patch(configMaps, 'a b', 'c/d', 'merge', { data: null });
  await client.patch(configMaps, 'n', 'x', 'apply', object, { force: true });
  await client.update(configMaps, object, { subresource: 'status' });
  assert.equal(await client.delete(configMaps, 'n', 'x', { uid: 'u' }), true);
  assert.deepEqual(
    api.requests.map(({ method, path, query }) => `${method} ${path}?${query.toString()}`),
    [
      'PATCH /api/v1/namespaces/a%20b/configmaps/c%2Fd?',
      'PATCH /api/v1/namespaces/n/configmaps/x?fieldManager=trysail&force=true',
      'PUT /api/v1/namespaces/default/configmaps/a/status?',
      'DELETE /api/v1/namespaces/n/configmaps/x?',
    ],
  );
  assert.deepEqual(api.requests.at(-1)?.body, { preconditions: { uid: 'u' } });
  await assert.rejects(async () => client.get(configMaps, '', 'x'), /a namespace is needed/);
});

test('messages name verb, path and reason, and no token', async (t) => {
  const api = await startFakeKubeApi(
    t,
    () => ({ status: 403, json: status(403, 'Forbidden') }),
    () => ({ token: 'secret-token' }),
  );
  await assert.rejects(api.client().get(configMaps, 'n', 'x'), (error: Error) => {
    assert.equal(error.message, 'GET /api/v1/namespaces/n/configmaps/x: 403 Forbidden');
    assert.ok(!JSON.stringify(error).includes('secret-token'));
    return true;
  });
});

test('an aborted request ends at once', async (t) => {
  const api = await startFakeKubeApi(t, () => () => {});
  const stop = new AbortController();
  const pending = api.client().get(configMaps, 'n', 'x', stop.signal);
  setImmediate(() => stop.abort());
  await assert.rejects(pending);
});
