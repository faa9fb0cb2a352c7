/** The webhook and arbitrary input: it answers each request with a review or a reason, in time, and never half-injects. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { mutate, randomFrom } from './mutate.ts';
import { reviewPod } from '#inject/review.ts';
import { readSettings } from '#inject/settings.ts';
import {
  type TestWebhook,
  applyPatch,
  reviewText,
  smallPod,
  startTestWebhook,
} from '#inject/webhook/testing.ts';

const { settings: injector, policy } = readSettings({});
const settings = { injector, policy };

interface Injected {
  readonly spec?: {
    readonly containers?: readonly { readonly name?: string }[];
    readonly initContainers?: readonly { readonly name?: string }[];
    readonly volumes?: readonly { readonly name?: string }[];
  };
}

/** Reviews a value and checks what holds for every answer. */
function check(review: unknown, withinMs = 2000): string {
  const start = performance.now();
  const { status, body, outcome, reason, patch } = reviewPod(review, '/inject', settings);
  // Far above what any review takes on a busy machine, far below what an API server waits.
  assert.ok(performance.now() - start < withinMs, 'slow');
  if (outcome === 'bad_request') {
    assert.equal(status, 400);
    assert.ok(reason.length > 0);
    assert.equal((body as { code?: number }).code, 400);
    return outcome;
  }
  assert.equal(status, 200);
  const { response } = body as unknown as {
    response: { allowed: boolean; patch?: string; status?: { code: number } };
  };
  assert.equal(response.allowed, outcome !== 'failed');
  assert.equal(response.patch !== undefined, outcome === 'injected');
  if (outcome === 'failed')
    assert.equal(response.status?.code, 400, `an error that is no fault of the pod: ${reason}`);
  if (patch === undefined) return outcome;
  const { object } = (review as { request: { object: unknown } }).request;
  const { spec = {} } = applyPatch(object, patch) as Injected;
  const names = (list: readonly { readonly name?: string }[] = []) => list.map(({ name }) => name);
  const containers = names(spec.containers);
  assert.equal(containers.filter((name) => name === 'istio-proxy').length, 1);
  assert.ok(names(spec.initContainers).includes('istio-init') && names(spec.volumes).includes('istio-token'));
  return outcome;
}

/** A right value, seldom any other one. */
function mostly<T>(right: fc.Arbitrary<T>): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 60, arbitrary: right },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
    { weight: 1, arbitrary: fc.constantFrom(0, -1, 1e300, null, true, '', '__proto__', [], {}) },
  );
}
const text = mostly(
  fc.constantFrom('web', '8080', 'true', 'false', '100m', '__proto__', 'istio-proxy', 'auto', ''),
);
const whole = mostly(fc.constantFrom(0, 1, 80, 8080, 15_020, 65_536, -1));
const key = fc.constantFrom(
  'sidecar.istio.io/inject',
  'sidecar.istio.io/status',
  'sidecar.istio.io/proxyCPU',
  'sidecar.istio.io/userVolume',
  'sidecar.istio.io/rewriteAppHTTPProbers',
  'proxy.istio.io/config',
  'proxy.istio.io/overrides',
  'inject.istio.io/templates',
  'prometheus.io/scrape',
  'prometheus.io/port',
  'traffic.sidecar.istio.io/includeInboundPorts',
  'k8s.v1.cni.cncf.io/networks',
  'app',
  '__proto__',
  'constructor',
);
const annotationText = fc.oneof(
  text,
  fc.constantFrom(
    'sidecar',
    'nothing',
    '{"containers":["istio-proxy"]}',
    '{',
    '[]',
    'concurrency: 2',
    '{"x":null}',
  ),
);
const labels = mostly(fc.dictionary(key, text, { maxKeys: 2 }));
const annotations = mostly(fc.dictionary(key, annotationText, { maxKeys: 2 }));
const some = (fields: Record<string, fc.Arbitrary<unknown>>) =>
  mostly(fc.record(fields, { requiredKeys: [] }));
const listOf = (item: fc.Arbitrary<unknown>) => mostly(fc.array(item, { maxLength: 2 }));
const probe = some({
  httpGet: some({ path: text, port: whole, scheme: text }),
  tcpSocket: some({ port: whole }),
  periodSeconds: whole,
});
const container = mostly(
  fc.record(
    {
      name: fc.constantFrom('web', 'db', 'istio-proxy', 'istio-init', ''),
      image: text,
      ports: listOf(some({ containerPort: whole, name: text, protocol: text })),
      env: listOf(some({ name: text, value: text, valueFrom: some({}) })),
      readinessProbe: probe,
      livenessProbe: probe,
      securityContext: some({ runAsUser: whole, runAsGroup: whole }),
      unknownField: fc.jsonValue({ maxDepth: 2 }),
    },
    { requiredKeys: ['name'] },
  ),
);
const pod = fc.record(
  {
    metadata: some({
      labels,
      annotations,
      name: text,
      ownerReferences: listOf(some({ kind: text, name: text, apiVersion: text })),
    }),
    spec: some({
      containers: listOf(container),
      initContainers: listOf(container),
      volumes: listOf(some({ name: text, emptyDir: some({}) })),
      securityContext: some({ runAsUser: whole, fsGroup: whole }),
      hostNetwork: mostly(fc.constantFrom(false, false, false, true)),
    }),
    status: fc.jsonValue({ maxDepth: 2 }),
  },
  { requiredKeys: ['spec'] },
);

/** As it comes from a parser: no prototypes, no undefined. */
function review(object: unknown): unknown {
  return JSON.parse(reviewText(object));
}

describe('webhook: fuzz', () => {
  let webhook: TestWebhook;
  before(async () => {
    webhook = await startTestWebhook();
  });
  after(() => webhook.close());

  test('arbitrary JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        check(value);
        check(review(value));
      }),
      { numRuns: 1000, seed: 1 },
    );
  });

  test('pods of right and wrong fields', () => {
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(pod, (value) => {
        const outcome = check(review(value));
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }),
      { numRuns: 3000, seed: 2 },
    );
    // The generator reaches every end.
    for (const outcome of ['injected', 'skipped', 'failed', 'bad_request'])
      assert.ok((outcomes.get(outcome) ?? 0) > 10, `${outcome}: ${JSON.stringify([...outcomes])}`);
  });

  test('fields that nobody knows stay, whatever they are', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const [web] = (smallPod['spec'] as { containers: object[] }).containers;
        const spec = { containers: [{ ...web, xField: value }], yField: value };
        const object: unknown = JSON.parse(JSON.stringify({ ...smallPod, spec, zField: value }));
        const { patch = [] } = reviewPod(review(object), '/inject', settings);
        const after = applyPatch(object, patch) as {
          zField: unknown;
          spec: { yField: unknown; containers: { name: string; xField?: unknown }[] };
        };
        const same = JSON.parse(JSON.stringify(value)) as unknown;
        assert.deepEqual(after.zField, same);
        assert.deepEqual(after.spec.yField, same);
        assert.deepEqual(after.spec.containers.find(({ name }) => name === 'web')?.xField, same);
      }),
      { numRuns: 500, seed: 3 },
    );
  });

  test('bodies that are cut or changed, over HTTPS', async () => {
    const whole = Buffer.from(reviewText(smallPod));
    const random = randomFrom(4);
    for (let i = 0; i < 600; i++) {
      const body =
        i % 3 === 0 ? whole.subarray(0, Math.floor(random() * whole.length)) : mutate(random, whole);
      const { status, text } = await webhook.send(body);
      assert.ok(status === 200 || status === 400, `${status} ${text}`);
      assert.equal(typeof JSON.parse(text), 'object');
    }
    assert.equal((await webhook.send(whole)).status, 200);
  });

  test('paths', async () => {
    await fc.assert(
      fc.asyncProperty(fc.webPath(), async (path) => {
        const { status, text } = await webhook.send(reviewText(smallPod), {
          path: `/inject${path === '' ? '/' : path}`,
        });
        assert.equal(status, 200, text);
      }),
      { numRuns: 100, seed: 5 },
    );
  });

  const many = (count: number, item: (index: number) => object) =>
    Array.from({ length: count }, (_, index) => item(index));
  const large: readonly (readonly [string, () => unknown])[] = [
    [
      'containers',
      () => ({ spec: { containers: many(40_000, (i) => ({ name: `c${i}`, image: 'web:1' })) } }),
    ],
    [
      'ports and probes',
      () => ({
        spec: {
          containers: many(8000, (i) => ({
            name: `c${i}`,
            ports: [{ containerPort: i + 1 }],
            readinessProbe: { httpGet: { port: i + 1 } },
          })),
        },
      }),
    ],
    [
      'variables',
      () => ({
        spec: { containers: [{ name: 'web', env: many(60_000, (i) => ({ name: `V${i}`, value: 'v' })) }] },
      }),
    ],
    [
      'volumes',
      () => ({
        spec: {
          containers: [{ name: 'web' }],
          volumes: many(60_000, (i) => ({ name: `v${i}`, emptyDir: {} })),
        },
      }),
    ],
    [
      'annotations',
      () => ({
        metadata: {
          annotations: Object.fromEntries(
            many(80_000, (i) => [`a${i}`, 'x'] as object) as [string, string][],
          ),
        },
        spec: { containers: [{ name: 'web' }] },
      }),
    ],
    [
      'an overlay in an annotation',
      () => ({
        metadata: {
          annotations: { 'proxy.istio.io/config': `proxyMetadata: {${'a: b, '.repeat(100_000)}}` },
        },
        spec: { containers: [{ name: 'web' }] },
      }),
    ],
  ];
  for (const [name, make] of large)
    test(`3 MiB of ${name}`, () => {
      const text = reviewText(make());
      assert.ok(text.length > 500_000 && text.length < 3 * 1024 * 1024, String(text.length));
      // What an API server waits: linear in its size, a body of this kind takes seconds on a busy machine.
      check(JSON.parse(text), 10_000);
    });
});
