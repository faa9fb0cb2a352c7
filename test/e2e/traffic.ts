/** Requests between pods: mutual TLS, weights, denial, strangers, probes. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { proves } from './diagnosis.ts';
import {
  type Pod,
  apply,
  ask,
  askUntil,
  during,
  kubectl,
  mesh,
  other,
  plain,
  podsOf,
  read,
  rolledOut,
  until,
} from './kubectl.ts';
import { sample, strict } from './manifests.ts';

const page = 'http://productpage:9080/productpage';
const reviews = 'http://reviews:9080/reviews/0';

/** Version of reviews by what it tells of the stars. */
function versionOf(body: string): string {
  return body.includes('"red"') ? 'v3' : body.includes('"black"') ? 'v2' : 'v1';
}

async function share(version: string, count: number): Promise<number> {
  const answers = await ask(mesh, reviews, count);
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  return answers.filter(({ body }) => versionOf(body) === version).length / count;
}

describe('traffic', () => {
  proves('the page is made of all services', async () => {
    const { body } = await askUntil(mesh, page, 200);
    assert.match(body, /The Comedy of Errors/);
    const [details] = await ask(mesh, 'http://details:9080/details/0');
    assert.equal((JSON.parse(details!.body) as { author: string }).author, 'William Shakespeare');
  });

  proves('pods speak mutual TLS with each other', async () => {
    const { body } = await askUntil(mesh, 'http://app:8080/', 200);
    const { headers } = JSON.parse(body) as { headers: Record<string, string> };
    const peer = headers['x-forwarded-client-cert'] ?? '';
    assert.match(peer, new RegExp(`URI=spiffe://cluster.local/ns/${mesh}/sa/client`));
    const [far] = await ask(other, `http://app.${mesh}:8080/`);
    assert.match(far!.body, new RegExp(`spiffe://cluster.local/ns/${other}/sa/client`));
  });

  proves('a pod without a sidecar reaches the same Services through kube-proxy', async () => {
    const [found] = await ask(plain, `http://productpage.${mesh}:9080/productpage`);
    assert.equal(found!.status, 200);
    assert.match(found!.body, /The Comedy of Errors/);
    const [direct] = await ask(plain, `http://app.${mesh}:8080/`);
    const { headers } = JSON.parse(direct!.body) as { headers: Record<string, string> };
    assert.equal(headers['x-forwarded-client-cert'], undefined);
  });

  proves('a pod with a sidecar reaches Services of the cluster that are not in the mesh', async () => {
    // The API server: TLS to a Service whose endpoints have no sidecar. Its answer without a token is 401 or 403.
    const code = `process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; fetch('https://kubernetes.default/api').then((r) => console.log(r.status))`;
    const text = await kubectl(['-n', mesh, 'exec', 'client', '-c', 'client', '--', 'node', '-e', code]);
    assert.match(text, /^40[13]\s*$/);
  });

  proves('weights shift', async (t) => {
    await during(mesh, sample('bookinfo/networking/reviews-90-10.yaml'), async () => {
      await until('no more v3', async () => ((await share('v3', 20)) === 0 ? true : undefined));
      const before = await share('v1', 200);
      assert.ok(before > 0.8 && before < 0.98, `90 % to v1: ${before}`);
      // The same objects with other weights.
      await apply(mesh, sample('bookinfo/networking/reviews-50-v3.yaml'));
      await until('v3 again', async () => ((await share('v3', 20)) > 0 ? true : undefined));
      const after = await share('v3', 200);
      assert.ok(after > 0.35 && after < 0.65, `50 % to v3: ${after}`);
      t.diagnostic(`v1 of 90 %: ${before * 100} %; v3 of 50 %: ${after * 100} %`);
    });
  });

  proves('an AuthorizationPolicy denies whom it names, and only those', async () => {
    const products = 'http://productpage:9080/api/v1/products/0';
    await during(mesh, sample('bookinfo/networking/authorization-deny-details.yaml'), async () => {
      await askUntil(mesh, products, 403);
      const [direct] = await ask(mesh, 'http://details:9080/details/0');
      assert.equal(direct!.status, 200);
    });
    await askUntil(mesh, products, 200);
  });

  proves(
    'STRICT refuses plain text; the mesh and the probes of the kubelet pass',
    async () => {
      const url = `http://app.${mesh}:8080/`;
      await during(mesh, strict, async () => {
        await askUntil(plain, url, 0);
        for (const namespace of [mesh, other]) assert.equal((await ask(namespace, url))[0]!.status, 200);
        // A pod that comes up under STRICT, and is probed for longer than it takes the kubelet to give it up.
        const [pod] = await podsOf(mesh, 'app=app');
        await kubectl(['-n', mesh, 'delete', 'pod', pod!.metadata.name]);
        await rolledOut(mesh, 'app');
        const [fresh] = await podsOf(mesh, 'app=app');
        const readings = async (): Promise<unknown> => {
          const { status } = await read<Pod>(mesh, 'pod', fresh!.metadata.name);
          return status.containerStatuses?.map(({ name, ready, restartCount }) => ({
            name,
            ready,
            restartCount,
          }));
        };
        const before = await readings();
        await sleep(35_000);
        assert.deepEqual(await readings(), before);
        assert.match(JSON.stringify(before), /"name":"app","ready":true.*"name":"istio-proxy","ready":true/);
      });
      await askUntil(plain, url, 200);
    },
    300_000,
  );
});
