import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { startFakeKubeApi, status } from '../../../test/harness/fake_kube_api.ts';
import { secretKeeper } from './ca_secret.ts';
import { CertificateAuthority } from './certificate_authority.ts';

interface Stored {
  metadata: { name: string; namespace: string; resourceVersion: string };
  data: Record<string, string>;
}

/** The Secrets of a namespace, with the server's rules of versions. */
async function secrets(t: TestContext) {
  const held = new Map<string, Stored>();
  let version = 0;
  const api = await startFakeKubeApi(t, ({ method, path, body }) => {
    const name = path.split('/')[6] ?? '';
    const object = body as Stored;
    const put = (): Stored => {
      const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++version) } };
      held.set(stored.metadata.name, stored);
      return stored;
    };
    if (method === 'POST') {
      if (held.has(object.metadata.name)) return { status: 409, json: status(409, 'AlreadyExists') };
      return { status: 201, json: put() };
    }
    const found = held.get(name);
    if (found === undefined) return { status: 404, json: status(404, 'NotFound') };
    if (method === 'GET') return { json: found };
    if (object.metadata.resourceVersion !== found.metadata.resourceVersion)
      return { status: 409, json: status(409, 'Conflict') };
    return { json: put() };
  });
  const lead = { is: true };
  const keeper = () =>
    secretKeeper({ client: api.client(), namespace: 'istio-system', mayReplace: () => lead.is });
  return { held, keeper, lead };
}

const trustDomain = 'cluster.local';
const dayMs = 86_400_000;

test('control planes that start at one time have one root, also after a restart', async (t) => {
  const { held, keeper } = await secrets(t);
  const all = await Promise.all(
    [1, 2, 3].map(() => CertificateAuthority.open({ trustDomain, keeper: keeper() })),
  );
  const roots = new Set(all.map(({ rootPem }) => rootPem));
  assert.equal(roots.size, 1);
  assert.deepEqual([...held.keys()], ['istio-ca-secret']);
  const later = await CertificateAuthority.open({ trustDomain, keeper: keeper() });
  assert.ok(roots.has(later.rootPem));
});

test('only the leader renews the root; the others take it over', async (t) => {
  const { keeper, lead } = await secrets(t);
  let now = Date.now();
  const open = () =>
    CertificateAuthority.open({ trustDomain, keeper: keeper(), rootTtlMs: 100 * dayMs, now: () => now });
  const [a, b] = [await open(), await open()];
  const old = a.rootPem;
  now += 90 * dayMs;
  lead.is = false;
  assert.equal(await a.refresh(), 'unchanged');
  lead.is = true;
  assert.equal(await a.refresh(), 'renewed');
  assert.notEqual(a.rootPem, old);
  assert.equal(await b.refresh(), 'reloaded');
  assert.equal(b.rootPem, a.rootPem);
});

test('the authority of an operator counts, and is never replaced or made anew', async (t) => {
  const { held, keeper } = await secrets(t);
  await CertificateAuthority.open({ trustDomain, keeper: keeper() });
  const own = held.get('istio-ca-secret')!;
  held.clear();
  held.set('cacerts', { ...own, metadata: { ...own.metadata, name: 'cacerts' } });
  const plugged = keeper();
  const files = await plugged.read();
  assert.equal(await plugged.replace(files!), false);
  held.clear();
  assert.equal(await plugged.read(), undefined);
  await assert.rejects(plugged.create(files!), /cacerts has gone/);
  assert.equal(held.size, 0);
});

test("Istio's own secret is read: an empty chain, no root beside the certificate", async (t) => {
  const { held, keeper } = await secrets(t);
  const first = await CertificateAuthority.open({ trustDomain, keeper: keeper() });
  const secret = held.get('istio-ca-secret')!;
  const { 'root-cert.pem': _, ...data } = secret.data;
  held.set('istio-ca-secret', { ...secret, data: { ...data, 'cert-chain.pem': '' } });
  const second = await CertificateAuthority.open({ trustDomain, keeper: keeper() });
  assert.equal(second.rootPem, first.rootPem);
  delete secret.data['ca-key.pem'];
  held.set('istio-ca-secret', secret);
  await assert.rejects(keeper().read(), /istio-system\/istio-ca-secret: ca-key.pem is missing/);
});
