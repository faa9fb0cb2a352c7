/** Nothing an API server could send makes the review fail: seeded, bounded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { jsonPatch } from '#inject/json_patch.ts';
import { type ReviewSettings, reviewPod } from '#inject/review.ts';
import { readSettings } from '#inject/settings.ts';
import { applyPatch } from './apply_patch.ts';
import type { Json } from './cases.ts';

const seed = 20_260_101;
const sources = { nativeSidecars: true, values: 'pilot: {cni: {enabled: true, provider: multus}}' };
const all: readonly ReviewSettings[] = [
  readSettings({}),
  readSettings(sources),
  readSettings({ compatibility: '1.8' }),
].map(({ settings, policy }) => ({ injector: settings, policy }));

const keys = fc.oneof(
  fc.constantFrom(
    'sidecar.istio.io/status',
    'proxy.istio.io/overrides',
    'proxy.istio.io/config',
    'inject.istio.io/templates',
    'prometheus.io/port',
    'prometheus.istio.io/scrape-targets',
    'sidecar.istio.io/userVolume',
    '__proto__',
    'k8s.v1.cni.cncf.io/networks',
    'sidecar.istio.io/nativeSidecar',
    'status.sidecar.istio.io/port',
    'app',
  ),
  fc.string({ maxLength: 8 }),
);
const texts = fc.oneof(
  fc.constantFrom(
    '',
    '{}',
    '[]',
    'null',
    'true',
    '0',
    '80',
    'sidecar,grpc-agent',
    'concurrency: 1',
    '{"containers":[{"name":"a"}]}',
    '{"containers":["istio-proxy"],"initContainers":["istio-init"]}',
    '{"containers":5}',
    'gateway',
    'x,y',
    '8080:/m',
  ),
  fc.string({ maxLength: 20 }),
);
const map = fc.dictionary(
  keys,
  fc.oneof(
    { weight: 9, arbitrary: texts as fc.Arbitrary<unknown> },
    { weight: 1, arbitrary: fc.jsonValue() },
  ),
  { maxKeys: 5 },
);
const junk = fc.jsonValue({ maxDepth: 3 });
/** A value of the right sort mostly, and now and then of any. */
const mostly = (arbitrary: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
  fc.oneof(
    { weight: 20, arbitrary },
    { weight: 1, arbitrary: junk },
    { weight: 1, arbitrary: fc.constant(null) },
  );
const probe = fc.record(
  {
    httpGet: mostly(fc.record({ port: mostly(fc.oneof(fc.nat(70_000), texts)), path: mostly(texts) })),
    tcpSocket: mostly(fc.record({ port: mostly(fc.nat(70_000)) })),
    timeoutSeconds: mostly(fc.nat(9)),
  },
  { requiredKeys: [] },
);
const names = fc.constantFrom('app', 'istio-proxy', 'istio-init', 'b', '');
const container = fc.record(
  {
    name: mostly(names),
    image: mostly(fc.constantFrom('auto', 'x:1', 'a/b@sha256:1')),
    env: mostly(fc.array(mostly(fc.record({ name: texts, value: texts })), { maxLength: 3 })),
    ports: mostly(
      fc.array(mostly(fc.record({ containerPort: fc.nat(70_000), name: texts })), { maxLength: 3 }),
    ),
    livenessProbe: mostly(probe),
    lifecycle: mostly(fc.record({ preStop: mostly(probe) })),
    securityContext: mostly(fc.record({ runAsUser: mostly(fc.nat(3000)) })),
    args: mostly(fc.array(texts, { maxLength: 3 })),
  },
  { requiredKeys: ['name'] },
);
const containers = mostly(fc.array(mostly(container), { maxLength: 4 }));
const pod = fc.record({
  metadata: mostly(
    fc.record(
      {
        labels: mostly(map),
        annotations: mostly(map),
        name: mostly(texts),
        ownerReferences: mostly(fc.array(junk, { maxLength: 2 })),
      },
      { requiredKeys: [] },
    ),
  ),
  spec: mostly(
    fc.record(
      {
        containers,
        initContainers: containers,
        volumes: mostly(fc.array(mostly(fc.record({ name: names, emptyDir: junk })), { maxLength: 3 })),
        hostNetwork: fc.constantFrom(false, false, false, true),
        other: junk,
      },
      { requiredKeys: ['containers'] },
    ),
  ),
});

test('a review of any pod is answered, and nothing is half-injected', () => {
  const seen = { injected: 0, skipped: 0, failed: 0, bad_request: 0 };
  fc.assert(
    fc.property(pod, fc.webPath(), fc.nat(all.length - 1), (object, path, index) => {
      const text = JSON.stringify(object);
      const sent = JSON.parse(text) as Json;
      const request = { uid: 'u', namespace: 'n', object: sent };
      const review = { kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1', request };
      const result = reviewPod(review, path, all[index]!);
      seen[result.outcome]++;
      // The question is not touched.
      assert.equal(JSON.stringify(sent), text);
      assert.equal(result.status, result.outcome === 'bad_request' ? 400 : 200);
      if (result.outcome !== 'injected') {
        assert.ok(result.reason !== '');
        return assert.equal(result.patch, undefined);
      }
      const patched = applyPatch(sent, result.patch as unknown as Json[]) as {
        metadata: { annotations: Json };
      };
      assert.ok('sidecar.istio.io/status' in patched.metadata.annotations);
    }),
    { seed, numRuns: 3000 },
  );
  // The generator reaches every outcome.
  for (const [outcome, count] of Object.entries(seen)) assert.ok(count > 20, `${outcome}: ${count}`);
});

test('anything that is no review is a bad request', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      assert.equal(reviewPod(value, '/inject', all[0]!).status, 400);
    }),
    { seed, numRuns: 500 },
  );
});

test('a JSON Patch gives the value it was made for', () => {
  const value = fc.dictionary(fc.string({ maxLength: 3 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 4 });
  fc.assert(
    fc.property(value, value, (from, to) => {
      const plain = (given: unknown): Json => JSON.parse(JSON.stringify(given)) as Json;
      const patch = jsonPatch(plain(from) as never, plain(to) as never);
      assert.deepEqual(applyPatch(plain(from), patch as unknown as Json[]), plain(to));
    }),
    { seed, numRuns: 500 },
  );
});
