import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryStore } from '#config/store/memory.ts';
import { createMeshIndex } from './mesh_index.ts';
import { accessLogChoices, buildTelemetryIndex, type TelemetryMode } from './telemetry_index.ts';
import { testResource } from './test_resource.ts';

type Entry = Readonly<Record<string, unknown>>;

const telemetry = (namespace: string, name: string, accessLogging: readonly Entry[], labels?: Entry) =>
  testResource({
    apiVersion: 'telemetry.istio.io/v1',
    kind: 'Telemetry',
    metadata: { name, namespace },
    spec: { accessLogging, ...(labels === undefined ? {} : { selector: { matchLabels: labels } }) },
  });

function choices(objects: ReturnType<typeof telemetry>[], mode: TelemetryMode = 'SERVER') {
  const mesh = createMeshIndex({});
  const index = buildTelemetryIndex(createMemoryStore({ resources: objects }), mesh);
  return accessLogChoices(index, mesh, 'app', { app: 'a' }, mode)?.map(({ provider }) => provider);
}

const cases: readonly [string, ReturnType<typeof telemetry>[], TelemetryMode, string[] | undefined][] = [
  ['nothing says anything', [], 'SERVER', undefined],
  ['the mesh', [telemetry('istio-system', 'm', [{ providers: [{ name: 'envoy' }] }])], 'SERVER', ['envoy']],
  [
    'an entry without providers means the default one',
    [telemetry('istio-system', 'm', [{}])],
    'SERVER',
    ['envoy'],
  ],
  [
    'the namespace replaces the providers of the mesh',
    [
      telemetry('istio-system', 'm', [{ providers: [{ name: 'envoy' }] }]),
      telemetry('app', 'n', [{ providers: [{ name: 'json' }] }]),
    ],
    'SERVER',
    ['json'],
  ],
  [
    'the workload switches off',
    [
      telemetry('istio-system', 'm', [{ providers: [{ name: 'envoy' }] }]),
      telemetry('app', 'w', [{ disabled: true }], { app: 'a' }),
    ],
    'SERVER',
    [],
  ],
  [
    'only one side',
    [telemetry('app', 'n', [{ match: { mode: 'CLIENT' }, providers: [{ name: 'envoy' }] }])],
    'SERVER',
    [],
  ],
  [
    'another workload',
    [telemetry('app', 'w', [{ providers: [{ name: 'envoy' }] }], { app: 'b' })],
    'SERVER',
    undefined,
  ],
];
for (const [name, objects, mode, expected] of cases) {
  test(`access logs: ${name}`, () => assert.deepEqual(choices(objects, mode), expected));
}
