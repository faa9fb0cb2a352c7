/** `kube-inject` and the webhook make the same pod. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { proves } from './diagnosis.ts';
import { type Pod, apply, kubectl, plain, podsOf, rolledOut, trysail } from './kubectl.ts';
import { app } from './manifests.ts';

/** What a pod is, without what each one has of its own: names made at random, the hash of its template. */
function essence({ metadata, spec }: Pod): object {
  const { 'pod-template-hash': hash = '', ...labels } = metadata.labels ?? {};
  const text = JSON.stringify({ labels, annotations: metadata.annotations ?? {}, spec })
    .replaceAll(metadata.name, 'POD')
    .replaceAll(hash === '' ? '\0' : hash, 'HASH')
    .replace(/default-token-[a-z0-9]+|kube-api-access-[a-z0-9]+/g, 'TOKEN');
  return JSON.parse(text) as object;
}

async function onlyPod(): Promise<Pod> {
  await rolledOut(plain, 'twin');
  const [pod, ...more] = await podsOf(plain, 'app=twin');
  assert.equal(more.length, 0);
  return pod!;
}

describe('kube-inject', () => {
  proves('`kube-inject -f x | kubectl apply -f -` gives the pod of the webhook', async () => {
    const manifest = app('twin');
    await kubectl(['label', 'namespace', plain, 'istio-injection=enabled']);
    await apply(plain, manifest);
    const byWebhook = await onlyPod();
    assert.deepEqual(byWebhook.spec.containers.map(({ name }) => name).sort(), ['app', 'istio-proxy']);
    await kubectl(['-n', plain, 'delete', 'deployment', 'twin', '--cascade=foreground']);
    await kubectl(['label', 'namespace', plain, 'istio-injection-']);
    // The namespace of the manifest is where its objects go.
    const namespaced = manifest.replace(
      'metadata: {name: twin}\nspec:\n  replicas',
      `metadata: {name: twin, namespace: ${plain}}\nspec:\n  replicas`,
    );
    const injected = await trysail(['kube-inject', '-f', '-'], { input: namespaced });
    await apply(plain, injected);
    const byHand = await onlyPod();
    assert.deepEqual(essence(byHand), essence(byWebhook));
    await kubectl(['-n', plain, 'delete', 'deployment,service', 'twin']);
  });
});
