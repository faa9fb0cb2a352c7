import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { JsonObject } from './pod/shape.ts';
import { type ReviewResult, type ReviewSettings, reviewPod } from './review.ts';
import { readSettings } from './settings.ts';

const { settings: injector, policy } = readSettings({});
const settings: ReviewSettings = { injector, policy };
const pod: JsonObject = {
  metadata: { generateName: 'web-6d4cf56db6-', labels: { app: 'web', 'pod-template-hash': '6d4cf56db6' } },
  spec: { containers: [{ name: 'web', image: 'web:1' }] },
};

function review(object: unknown, path = '/inject', more: Partial<ReviewSettings> = {}): ReviewResult {
  const request = { uid: 'u1', namespace: 'shop', object };
  return reviewPod({ kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1', request }, path, {
    ...settings,
    ...more,
  });
}

/** A variable of the proxy, in the text of the patch. */
function patchText(result: ReviewResult): string {
  assert.equal(result.outcome, 'injected', result.reason);
  return JSON.stringify(result.patch);
}

describe('review', () => {
  test('the answer has the uid and a patch', () => {
    const { status, body, patch } = review(pod);
    assert.equal(status, 200);
    const { response, ...rest } = body as unknown as { response: JsonObject };
    assert.deepEqual(rest, { kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1' });
    const { patch: encoded, ...answer } = response;
    assert.deepEqual(answer, { uid: 'u1', allowed: true, patchType: 'JSONPatch' });
    assert.deepEqual(JSON.parse(Buffer.from(String(encoded), 'base64').toString()), patch);
  });

  test('a pod that is not injected is allowed unchanged', () => {
    const { body, outcome, decision } = review({
      ...pod,
      spec: { ...(pod['spec'] as JsonObject), hostNetwork: true },
    });
    assert.deepEqual((body as unknown as { response: unknown }).response, { uid: 'u1', allowed: true });
    assert.equal(outcome, 'skipped');
    assert.equal(decision?.cause, 'host_network');
  });

  test('a pod that cannot be injected is refused with the reason', () => {
    const annotations = { 'sidecar.istio.io/proxyCPU': 'lots' };
    const { status, body, outcome } = review({ ...pod, metadata: { annotations } });
    assert.equal(status, 200);
    assert.equal(outcome, 'failed');
    const { response } = body as unknown as {
      response: { allowed: boolean; status: { message: string; code: number } };
    };
    assert.equal(response.allowed, false);
    assert.equal(response.status.code, 400);
    assert.match(
      response.status.message,
      /annotation sidecar\.istio\.io\/proxyCPU: "lots": expected a quantity/,
    );
  });

  test('the URL names cluster and network, the label wins', () => {
    const text = patchText(review(pod, '/inject/cluster/east/net/n1'));
    assert.match(text, /"name":"ISTIO_META_CLUSTER_ID","value":"east"/);
    assert.match(text, /"name":"ISTIO_META_NETWORK","value":"n1"/);
    assert.match(text, /labels\/topology\.istio\.io~1network","value":"n1"/);
    const labels = { 'topology.istio.io/network': 'n2' };
    assert.match(
      patchText(review({ ...pod, metadata: { labels } }, '/inject/net/n1')),
      /"ISTIO_META_NETWORK","value":"n2"/,
    );
  });

  test('the controller of a ReplicaSet is the owner', () => {
    const ownerReferences = [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-6d4cf56db6', controller: true },
    ];
    const metadata = { ...(pod['metadata'] as JsonObject), ownerReferences };
    const text = patchText(review({ ...pod, metadata }));
    assert.match(text, /kubernetes:\/\/apis\/apps\/v1\/namespaces\/shop\/deployments\/web"/);
  });

  test('OpenShift prescribes user and group', () => {
    const annotations = {
      'openshift.io/sa.scc.uid-range': '1000620000/10000',
      'openshift.io/sa.scc.supplemental-groups': '1000620000/5,7/1',
    };
    const text = patchText(review(pod, '/inject', { namespaceAnnotations: () => annotations }));
    assert.match(text, /"-u","1000629999"/);
    assert.match(text, /"runAsGroup":1000620004,"runAsNonRoot":true,"runAsUser":1000629999/);
  });
});

/** What is no review of a pod. */
const bad: readonly (readonly [string, unknown, RegExp])[] = [
  ['nothing', undefined, /expected an AdmissionReview/],
  ['text', 'x', /expected an AdmissionReview/],
  ['another kind', { kind: 'Pod' }, /expected kind AdmissionReview/],
  ['another version', { kind: 'AdmissionReview', apiVersion: 'v0' }, /expected apiVersion/],
  ['no request', { kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1' }, /expected a request/],
];

describe('review: bad requests', () => {
  for (const [name, value, reason] of bad)
    test(name, () => {
      const result = reviewPod(value, '/inject', settings);
      assert.equal(result.status, 400);
      assert.match(result.reason, reason);
    });

  const objects: readonly (readonly [string, unknown, RegExp])[] = [
    ['no pod', undefined, /request\.object: expected a pod/],
    ['a wrong type', { spec: { containers: 'x' } }, /request\.object\.spec\.containers: expected a list/],
    ['a pod without end', JSON.parse(`${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}`), /levels of nesting/],
    [
      'a pod of very many annotations',
      {
        metadata: {
          annotations: Object.fromEntries(Array.from({ length: 20_001 }, (_, i) => [`a${i}`, ''])),
        },
      },
      /at most 20000 values/,
    ],
  ];
  for (const [name, object, reason] of objects)
    test(name, () => {
      const result = review(object);
      assert.equal(result.status, 400);
      assert.match(result.reason, reason);
    });
});
