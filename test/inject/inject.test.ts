/** Suite `inject`: workloads through `kube-inject` and through the webhook's function. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reviewPod } from '#inject/review.ts';
import { readSettings } from '#inject/settings.ts';
import { applyPatch } from './apply_patch.ts';
import {
  type Json,
  assertSameDocuments,
  cases,
  documents,
  listed,
  missing,
  readCase,
  suiteFolder,
  trysail,
} from './cases.ts';
import { notPassing } from './not_passing.ts';
import { podsOf } from './pods.ts';

interface Case {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly modes: readonly ('kube-inject' | 'webhook')[];
  readonly params: {
    readonly valuesFile: string;
    readonly meshConfigFile: string;
    readonly env: Readonly<Record<string, string>>;
    readonly namespaceAnnotations?: Readonly<Record<string, string>>;
  };
  readonly expected: string | null;
  readonly errorContains?: string;
  readonly warningContains?: string;
}

const all = cases<Case>('inject');
if (missing) test('suite inject', { skip: missing });

describe('suite inject: kube-inject', { concurrency: 2 }, () => {
  for (const wanted of all.filter(({ modes }) => modes.includes('kube-inject'))) {
    const key = `inject/kube-inject/${wanted.name}`;
    test(wanted.name, () =>
      listed(notPassing.get(key), async () => {
        const { valuesFile, meshConfigFile, env } = wanted.params;
        const folder = suiteFolder('inject');
        const args = ['kube-inject', '--valuesFile', valuesFile, '--meshConfigFile', meshConfigFile];
        const result = await trysail([...args, '-f', ...wanted.inputs], folder, env);
        if (wanted.errorContains !== undefined) {
          assert.notEqual(result.code, 0);
          assert.ok(result.stderr.toLowerCase().includes(wanted.errorContains), result.stderr);
          return;
        }
        assert.equal(result.code, 0, result.stderr);
        if (wanted.warningContains !== undefined)
          assert.ok(result.stderr.includes(wanted.warningContains), result.stderr);
        if (wanted.expected !== null)
          assertSameDocuments(documents(result.stdout), documents(readCase('inject', wanted.expected)));
      }),
    );
  }
});

/** What the comparison of pods leaves out. */
function comparable(pod: Json): Json {
  return JSON.parse(
    JSON.stringify(pod, (key, value: unknown) => {
      if (key === 'sidecar.istio.io/status') return undefined;
      if (key === 'fieldRef') return { ...(value as Json), apiVersion: undefined };
      if (key === 'env' && Array.isArray(value))
        return value.filter((item: Json) => item['name'] !== 'ISTIO_METAJSON_ANNOTATIONS');
      return value;
    }),
  ) as Json;
}

describe('suite inject: webhook', () => {
  for (const wanted of all.filter(({ modes }) => modes.includes('webhook'))) {
    const key = `inject/webhook/${wanted.name}`;
    test(wanted.name, () =>
      listed(notPassing.get(key), () => {
        const { valuesFile, meshConfigFile, env, namespaceAnnotations } = wanted.params;
        const { settings, policy } = readSettings({
          values: readCase('inject', valuesFile),
          mesh: readCase('inject', meshConfigFile),
          nativeSidecars: env['ENABLE_NATIVE_SIDECARS'] === 'true',
          ...(env['COMPLIANCE_POLICY'] === undefined ? {} : { compliancePolicy: env['COMPLIANCE_POLICY'] }),
        });
        const inputs = wanted.inputs.flatMap((input) => documents(readCase('inject', input))).flatMap(podsOf);
        const expected = documents(readCase('inject', wanted.expected ?? '')).flatMap(podsOf);
        assert.equal(inputs.length, expected.length);
        for (const [index, { pod, namespace }] of inputs.entries()) {
          const request = {
            uid: `${index}`,
            namespace,
            object: pod,
            kind: { group: '', version: 'v1', kind: 'Pod' },
          };
          const review = { kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1', request };
          const result = reviewPod(review, '/inject', {
            injector: settings,
            policy,
            ...(namespaceAnnotations === undefined
              ? {}
              : { namespaceAnnotations: () => namespaceAnnotations }),
          });
          assert.equal(result.status, 200, result.reason);
          assert.notEqual(result.outcome, 'failed', result.reason);
          const { response } = result.body as unknown as { response: Json };
          const patch = JSON.parse(
            Buffer.from(String(response['patch'] ?? 'W10='), 'base64').toString('utf8'),
          ) as Json[];
          assert.deepEqual(comparable(applyPatch(pod, patch)), comparable(expected[index]!.pod));
        }
      }),
    );
  }
});

test('the list names only cases that exist', { skip: missing }, () => {
  const names = new Set(all.flatMap(({ name, modes }) => modes.map((mode) => `inject/${mode}/${name}`)));
  const unknown = [...notPassing.keys()].filter((name) => name.startsWith('inject/') && !names.has(name));
  assert.deepEqual(unknown, []);
});
