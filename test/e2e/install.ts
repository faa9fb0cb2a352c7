/** Installing, labelling a namespace, and the pods that come up in it. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { proves } from './diagnosis.ts';
import { app, client, sample } from './manifests.ts';
import {
  type Pod,
  apply,
  kubectl,
  mesh,
  other,
  plain,
  podsOf,
  read,
  readyColumn,
  rolledOut,
  system,
  trysail,
} from './kubectl.ts';

const bookinfo = ['details-v1', 'ratings-v1', 'reviews-v1', 'reviews-v2', 'reviews-v3', 'productpage-v1'];

/** Seconds from being scheduled to being ready, as the API server tells them. */
function secondsToReady({ status }: Pod): number {
  const at = (type: string): number =>
    Date.parse(status.conditions?.find((condition) => condition.type === type)?.lastTransitionTime ?? '');
  return (at('Ready') - at('PodScheduled')) / 1000;
}

describe('install', () => {
  proves(
    'install makes the control plane available',
    async (t) => {
      const begun = performance.now();
      await trysail(['install'], { timeoutMs: 240_000 });
      t.diagnostic(`available after ${((performance.now() - begun) / 1000).toFixed(1)} s`);
      const [istiod] = await podsOf(system, 'app=istiod');
      assert.equal(istiod && readyColumn(istiod), '1/1');
    },
    240_000,
  );

  proves(
    'a label on the namespace is all: bookinfo comes up 2/2',
    async (t) => {
      for (const namespace of [mesh, other, plain]) await kubectl(['create', 'namespace', namespace]);
      for (const namespace of [mesh, other])
        await kubectl(['label', 'namespace', namespace, 'istio-injection=enabled']);
      await apply(mesh, sample('bookinfo/bookinfo.yaml'));
      await rolledOut(mesh, ...bookinfo);
      for (const name of ['details', 'ratings', 'reviews', 'productpage'])
        for (const pod of await podsOf(mesh, `app=${name}`)) {
          assert.equal(readyColumn(pod), '2/2', pod.metadata.name);
          t.diagnostic(`${pod.metadata.name}: ready ${secondsToReady(pod)} s after it was scheduled`);
        }
    },
    300_000,
  );

  proves(
    "the seed's nginx comes up 2/2, three times",
    async () => {
      await apply(mesh, sample('nginx/nginx-deployment.yaml'));
      await rolledOut(mesh, 'nginx-deployment');
      const pods = await podsOf(mesh, 'app=nginx');
      assert.deepEqual(pods.map(readyColumn), ['2/2', '2/2', '2/2']);
      await kubectl(['-n', mesh, 'delete', 'deployment', 'nginx-deployment', '--wait=false']);
    },
    300_000,
  );

  proves('a pod alone: time to ready and memory of its sidecar', async (t) => {
    for (const namespace of [mesh, other, plain]) await apply(namespace, client);
    await apply(mesh, app('app'));
    await apply(other, app('app'));
    for (const namespace of [mesh, other, plain])
      await kubectl(['-n', namespace, 'wait', '--for=condition=ready', 'pod/client', '--timeout=120s'], {
        timeoutMs: 130_000,
      });
    await rolledOut(mesh, 'app');
    await rolledOut(other, 'app');
    await kubectl(['-n', mesh, 'delete', 'pod', 'client']);
    await apply(mesh, client);
    await kubectl(['-n', mesh, 'wait', '--for=condition=ready', 'pod/client', '--timeout=120s'], {
      timeoutMs: 130_000,
    });
    const pod = await read<Pod>(mesh, 'pod', 'client');
    assert.equal(readyColumn(pod), '2/2');
    assert.equal(readyColumn(await read<Pod>(plain, 'pod', 'client')), '1/1');
    const log = await kubectl(['-n', mesh, 'logs', 'client', '-c', 'istio-proxy']);
    const afterMs = /proxy is ready afterMs=(\d+)/.exec(log)?.[1];
    assert.ok(afterMs !== undefined, log);
    const status = await kubectl(
      ['-n', mesh, 'exec', 'client', '-c', 'istio-proxy', '--', 'node', '-p'].concat(
        'require("fs").readFileSync("/proc/1/status", "utf8")',
      ),
    );
    const megabytes = (name: string): string =>
      (Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024).toFixed(0);
    t.diagnostic(
      `pod ready ${secondsToReady(pod)} s after it was scheduled; sidecar ready ${afterMs} ms after its start`,
    );
    t.diagnostic(
      `resident memory of the sidecar: ${megabytes('VmRSS')} MB, ${megabytes('RssAnon')} MB of it its own`,
    );
  });
});
