import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { canonical, orderedJson } from './canonical.ts';
import { checkShape } from './check.ts';
import { strategicMerge } from './merge.ts';
import { containerShape, podShape, podSpecShape } from './pod_shape.ts';
import { canonicalQuantity, isQuantity } from './quantity.ts';
import type { JsonObject } from './shape.ts';

describe('quantities', () => {
  const spellings: readonly (readonly [string, string])[] = [
    ['2000m', '2'],
    ['1500m', '1500m'],
    ['0.5', '500m'],
    ['1024Mi', '1Gi'],
    ['1536Mi', '1536Mi'],
    ['0.5Gi', '512Mi'],
    ['512', '512'],
    ['1000', '1k'],
    ['12e3', '12e3'],
    ['0', '0'],
    ['0.0001', '100u'],
    ['1000Ki', '1000Ki'],
    ['-2000m', '-2'],
    ['+4', '4'],
    ['.5', '500m'],
  ];
  for (const [given, expected] of spellings)
    test(`${given} is ${expected}`, () => {
      assert.equal(canonicalQuantity(given), expected);
      assert.equal(canonicalQuantity(expected), expected);
    });
  for (const wrong of ['', 'm', '1 Gi', '1mm', '100m\r', '1e', 'abc', '1e99'])
    test(`${JSON.stringify(wrong)} is none`, () => assert.equal(isQuantity(wrong), false));
});

describe('strategic merge', () => {
  const cases: readonly (readonly [string, JsonObject, JsonObject, JsonObject])[] = [
    ['maps merge, null takes away', { a: { b: 1, c: 2 } }, { a: { c: null, d: 3 } }, { a: { b: 1, d: 3 } }],
    [
      'lists merge by key: new ones first, then those that stay',
      { volumes: [{ name: 'own' }] },
      { volumes: [{ name: 'new', emptyDir: {} }] },
      { volumes: [{ name: 'new', emptyDir: {} }, { name: 'own' }] },
    ],
    [
      'elements of the original keep their places around those of the patch',
      { containers: [{ name: 'a' }, { name: 'b', image: 'x' }, { name: 'c' }] },
      { containers: [{ name: 'b', image: 'y' }] },
      { containers: [{ name: 'a' }, { name: 'b', image: 'y' }, { name: 'c' }] },
    ],
    [
      'lists within lists',
      { containers: [{ name: 'a', env: [{ name: 'X', value: '1' }], args: ['1'] }] },
      { containers: [{ name: 'a', env: [{ name: 'Y' }], args: ['2'] }] },
      { containers: [{ name: 'a', env: [{ name: 'Y' }, { name: 'X', value: '1' }], args: ['2'] }] },
    ],
    [
      'an element is deleted',
      { containers: [{ name: 'a' }, { name: 'b' }] },
      { containers: [{ $patch: 'delete', name: 'a' }] },
      { containers: [{ name: 'b' }] },
    ],
    [
      'a list is replaced',
      { containers: [{ name: 'a' }] },
      { containers: [{ $patch: 'replace' }, { name: 'b' }] },
      { containers: [{ name: 'b' }] },
    ],
    [
      'a map is replaced, or cut to some keys',
      { securityContext: { a: 1 }, nodeSelector: { x: '1', y: '2' } },
      { securityContext: { $patch: 'replace', b: 2 }, nodeSelector: { $retainKeys: ['y', 'z'], z: '3' } },
      { securityContext: { b: 2 }, nodeSelector: { y: '2', z: '3' } },
    ],
    [
      'lists without a key are replaced',
      { tolerations: [{ key: 'a' }] },
      { tolerations: [] },
      { tolerations: [] },
    ],
  ];
  for (const [name, original, patch, expected] of cases)
    test(name, () => assert.deepEqual(strategicMerge(original, patch, podSpecShape), expected));

  test('what has no key is refused', () => {
    const merge = (): JsonObject => strategicMerge({}, { containers: [{ image: 'x' }] }, podSpecShape);
    assert.throws(merge, { message: 'an element of containers has no name, by which it is merged' });
  });
});

describe('the form of Kubernetes', () => {
  test('zero values go, quantities have one spelling, unknown fields stay, order stays', () => {
    const given: JsonObject = {
      later: { zero: 0, none: null },
      image: 'x',
      name: 'a',
      command: [],
      env: [{ name: 'A', value: '' }],
      readinessProbe: { httpGet: { path: '', port: 0 }, initialDelaySeconds: 0 },
      securityContext: { privileged: false, runAsUser: 0 },
      resources: { limits: { cpu: 2, memory: '1024Mi' }, requests: {} },
    };
    const expected: JsonObject = {
      later: { zero: 0, none: null },
      image: 'x',
      name: 'a',
      env: [{ name: 'A' }],
      readinessProbe: { httpGet: { port: 0 } },
      securityContext: { privileged: false, runAsUser: 0 },
      resources: { limits: { cpu: '2', memory: '1Gi' } },
    };
    const once = canonical(given, containerShape);
    assert.equal(JSON.stringify(once), JSON.stringify(expected));
    assert.deepEqual(canonical(once, containerShape), once);
  });

  test('a field called __proto__ is a field', () => {
    const given = JSON.parse(
      '{"metadata":{"labels":{"__proto__":"x"}},"__proto__":{"polluted":true}}',
    ) as JsonObject;
    const text = JSON.stringify(strategicMerge(canonical(given, podShape) as JsonObject, given, podShape));
    assert.match(text, /"__proto__":"x"/);
    assert.match(text, /"__proto__":\{"polluted":true\}/);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  });

  test('JSON has the order of the types', () => {
    const value: JsonObject = {
      resources: {},
      image: 'x',
      own: 1,
      name: 'a',
      ports: [{ containerPort: 1, name: 'p' }],
    };
    assert.equal(
      orderedJson(value, containerShape),
      '{"name":"a","image":"x","ports":[{"name":"p","containerPort":1}],"resources":{},"own":1}',
    );
  });
});

test('wrong types are told with their paths', () => {
  const pod: JsonObject = {
    metadata: { labels: { a: 1 }, annotations: [] },
    spec: {
      containers: [
        null,
        { name: 5, env: {}, resources: { limits: { cpu: 'much' } }, ports: [{ containerPort: '80' }] },
      ],
      hostNetwork: 'yes',
    },
  };
  assert.deepEqual(checkShape(pod, podShape), [
    'metadata.labels.a: expected text, found 1',
    'metadata.annotations: expected an object, found a list',
    'spec.containers[0]: expected an object, found null',
    'spec.containers[1].name: expected text, found 5',
    'spec.containers[1].env: expected a list, found an object',
    'spec.containers[1].resources.limits.cpu: expected a quantity such as 100m or 1Gi, found "much"',
    'spec.containers[1].ports[0].containerPort: expected a whole number, found "80"',
    'spec.hostNetwork: expected true or false, found "yes"',
  ]);
});
