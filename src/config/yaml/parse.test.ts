import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatConfigError } from './config_error.ts';
import { maxTextLength, parseResources } from './parse.ts';

const errorsOf = (text: string): string[] => parseResources(text, 'x.yaml').errors.map(formatConfigError);
const warningsOf = (text: string): string[] => parseResources(text, 'x.yaml').warnings.map(formatConfigError);
const namesOf = (text: string): string[] =>
  parseResources(text, 'x.yaml').resources.map(({ metadata }) => metadata.name);
const account = (name: string): string => `apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: ${name}}\n`;
const data = (yaml: string): unknown =>
  parseResources(`apiVersion: v1\nkind: Node\nmetadata: {name: a}\nx: ${yaml}\n`, 'x.yaml').resources[0]
    ?.body['x' as never];

describe('parseResources: objects', () => {
  it('reads every document, lists and JSON', () => {
    assert.deepEqual(
      namesOf(`# comment\n---\n${account('a')}---\n# nothing\n---\n---\n${account('b')}...\n`),
      ['a', 'b'],
    );
    assert.deepEqual(
      namesOf(
        JSON.stringify({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'j' } }, null, '\t'),
      ),
      ['j'],
    );
    assert.deepEqual(
      namesOf(
        `apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ServiceAccount, metadata: {name: c}}\n- apiVersion: v1\n  kind: ServiceAccountList\n  items:\n  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: d}}\n`,
      ),
      ['c', 'd'],
    );
    assert.deepEqual(namesOf(`%YAML 1.1\n---\n${account('e')}`), ['e']);
    assert.deepEqual(namesOf(`\uFEFF${account('f')}`), ['f']);
    assert.deepEqual(namesOf(account('g').replaceAll('\n', '\r\n')), ['g']);
    assert.deepEqual(namesOf(''), []);
  });

  it('fills metadata, normalises versions, keeps the body', () => {
    const text = `apiVersion: networking.istio.io/v1alpha3
kind: Sidecar
metadata:
  name: s
  labels: {a: b}
  creationTimestamp: "2026-01-02T03:04:05Z"
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, controller: true, uid: u}]
spec: {egress: [{hosts: ["./*"]}]}
`;
    const [resource] = parseResources(text, 'x.yaml', { defaultNamespace: 'own' }).resources;
    const { resourceVersion, ...metadata } = resource!.metadata;
    assert.match(resourceVersion, /^[0-9a-f]{16}$/);
    assert.deepEqual(metadata, {
      name: 's',
      namespace: 'own',
      labels: { a: 'b' },
      annotations: {},
      creationTimestamp: Date.UTC(2026, 0, 2, 3, 4, 5),
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'r', controller: true }],
    });
    assert.equal(resource!.apiVersion, 'networking.istio.io/v1');
    assert.deepEqual(resource!.body, { spec: { egress: [{ hosts: ['./*'] }] } });
    assert.deepEqual(resource!.source, { file: 'x.yaml', line: 1, column: 1 });
  });

  it('gives equal content equal versions', () => {
    const version = (text: string): string =>
      parseResources(text, 'x.yaml').resources[0]!.metadata.resourceVersion;
    assert.equal(version(account('a')), version(`# moved\n\n${account('a')}`));
    assert.notEqual(version(account('a')), version(account('b')));
  });

  it('puts cluster-scoped objects into no namespace', () => {
    const [resource] = parseResources(
      'apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n',
      'x',
    ).resources;
    assert.equal(resource!.metadata.namespace, '');
  });
});

describe('parseResources: scalars are those of kubectl', () => {
  for (const [yaml, expected] of [
    ['yes', true],
    ['off', false],
    ['012', 10],
    ['0x10', 16],
    ['0o17', 15],
    ['1_000', 1000],
    ['1e3', 1000],
    ['.5', 0.5],
    ['.', '.'],
    ['12:30', '12:30'],
    ['2026-01-02', '2026-01-02'],
    ['"yes"', 'yes'],
    ['[1.2.3.4, 001:db8::]', ['1.2.3.4', '001:db8::']],
    ['[fe80::, a: 1, b: , c]', ['fe80::', { a: 1 }, {}, 'c']],
    ['{a: fe80::, b: [c:d, ::1]}', { a: 'fe80::', b: ['c:d', '::1'] }],
    ['{<<: {a: 1}, b: 2}', { a: 1, b: 2 }],
    ['~', undefined],
  ] as const) {
    it(yaml, () => assert.deepEqual(data(yaml), expected));
  }
});

describe('parseResources: what is wrong', () => {
  it('names file, line, column, object, field, expected and found', () => {
    const text = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v1}
      weight: 90
    - destination: {host: reviews, subset: v2}
      weight: "abc"
      wieght: 1
`;
    const { errors, rejected, complete } = parseResources(text, 'samples/x.yaml');
    assert.deepEqual(errors.map(formatConfigError), [
      'samples/x.yaml:12:15: VirtualService default/reviews: spec.http[0].route[1].weight: expected a whole number of at least 0, found "abc"',
      'samples/x.yaml:13:7: VirtualService default/reviews: spec.http[0].route[1].wieght: unknown field, did you mean "weight"?',
    ]);
    assert.equal(errors[0]?.code, 'wrong_type');
    assert.equal(errors[0]?.expected, 'a whole number of at least 0');
    assert.deepEqual(rejected, [
      { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', namespace: 'default', name: 'reviews' },
    ]);
    assert.equal(complete, true);
  });

  it('keeps the neighbours of a broken document', () => {
    const text = `${account('a')}---\nkind: "not closed\n---\n${account('b')}---\na: [1\n---\n${account('c')}`;
    const { resources, errors, complete } = parseResources(text, 'x.yaml');
    assert.deepEqual(
      resources.map(({ metadata }) => metadata.name),
      ['a', 'b', 'c'],
    );
    assert.deepEqual(
      errors.map(({ code, line }) => [code, line]),
      [
        ['syntax', 5],
        ['syntax', 11],
      ],
    );
    assert.equal(complete, false);
  });

  for (const [text, expected] of [
    ['- a\n', 'x.yaml:1:1: expected an object with apiVersion and kind, found a list'],
    ['apiVersion: v1\n', 'x.yaml:1:1: kind: required: expected a string, found nothing'],
    [
      'apiVersion: v1\nkind: ServiceAccount\nmetadata: {}\n',
      'x.yaml:3:1: metadata.name: required: expected a lower-case name such as "reviews-v1", found nothing',
    ],
    [
      'apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: A\n',
      'x.yaml:4:9: ServiceAccount default/A: metadata.name: expected a lower-case name such as "reviews-v1", found "A"',
    ],
    [
      'apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n  labels: {v: 1}\n',
      'x.yaml:5:15: ServiceAccount default/a: metadata.labels.v: expected a string, found 1',
    ],
    ['a: 1\na: 2\n', 'x.yaml:2:1: Map keys must be unique'],
    [
      'apiVersion: networking.istio.io/v2\nkind: Gateway\nmetadata: {name: a}\n',
      'x.yaml:1:13: Gateway default/a: apiVersion: expected one of networking.istio.io/v1alpha3, networking.istio.io/v1beta1, networking.istio.io/v1, found "networking.istio.io/v2"',
    ],
    [
      `${account('a')}---\n${account('a')}`,
      'x.yaml:5:1: ServiceAccount default/a: the same object stands already at x.yaml:1:1: the first one stays',
    ],
  ] as const) {
    it(JSON.stringify(text), () => assert.deepEqual(errorsOf(text), [expected]));
  }

  it('warns of kinds that are not read', () => {
    assert.deepEqual(
      warningsOf('apiVersion: networking.istio.io/v1\nkind: EnvoyFilter\nmetadata: {name: a}\n'),
      ['x.yaml:1:1: kind EnvoyFilter of networking.istio.io/v1 is not supported yet: ignored'],
    );
    assert.deepEqual(warningsOf('apiVersion: networking.istio.io/v1\nkind: VirtualServce\n'), [
      'x.yaml:1:1: kind VirtualServce of networking.istio.io/v1 is not supported yet: ignored (did you mean VirtualService?)',
    ]);
    assert.deepEqual(warningsOf('apiVersion: v1\nkind: Deployment\n'), [
      'x.yaml:1:1: kind Deployment of v1 is not supported yet: ignored (did you mean apiVersion apps/v1?)',
    ]);
    const foreign = parseResources('{"name": "x"}', 'package.json', { allowForeign: true });
    assert.deepEqual([foreign.errors.length, foreign.warnings.length], [0, 1]);
  });

  it('does not print secrets', () => {
    const text = 'apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: 12345}\n';
    assert.deepEqual(errorsOf(text), ['x.yaml:4:17: Secret default/s: stringData.a: expected a string']);
  });
});

describe('parseResources: positions', () => {
  const text = `apiVersion: v1
kind: List
items:
- apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: {name: v}
  spec:
    hosts: &h [a]
    http:
    - match:
      - headers:
          end-user: {exact: x}
      route:
      - destination: {host: a}
    - route:
      - destination:
          host: b
`;
  const parsed = parseResources(text, 'x.yaml');
  const [resource] = parsed.resources;
  for (const [path, line, column] of [
    ['', 4, 3],
    ['spec.http[1].route[0].destination.host', 17, 17],
    ['spec.http[0].match[0].headers["end-user"].exact', 12, 29],
    ['spec.http[0].timeout', 10, 7],
    ['spec.tls[0]', 7, 3],
    ['spec.http[9]', 9, 5],
  ] as const) {
    it(path === '' ? '(the object)' : path, () =>
      assert.deepEqual(parsed.positionOf(resource!, path), { file: 'x.yaml', line, column }),
    );
  }

  it('follows aliases to their anchor, and text into the ConfigMap', () => {
    const mesh = `apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |

    accessLogFile: /dev/stdout
    defaultConfig:
      drainDuration: soon
      concurency: 3
`;
    assert.deepEqual(errorsOf(mesh), [
      'x.yaml:9:22: ConfigMap istio-system/istio: data.mesh.defaultConfig.drainDuration: expected a duration of at least 1000ms such as "1.5s", found "soon"',
      'x.yaml:10:7: ConfigMap istio-system/istio: data.mesh.defaultConfig.concurency: unknown field, did you mean "concurrency"?',
    ]);
    const aliased = `apiVersion: v1
kind: ServiceAccount
metadata:
  name: a
  labels: &l
    v: 1
  annotations: *l
`;
    assert.deepEqual(
      parseResources(aliased, 'x').errors.map(({ line }) => line),
      [6, 6],
    );
  });
});

describe('parseResources: bounds', () => {
  it('nesting', () => {
    assert.match(errorsOf(`a: ${'['.repeat(5000)}${']'.repeat(5000)}`)[0]!, /at most 100 levels of nesting$/);
    assert.match(errorsOf('['.repeat(20_000))[0]!, /at most 100 levels of nesting$|Flow sequence/);
  });

  it('aliases', () => {
    const levels = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
    for (const [name, before] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf'].map((pair) => pair.split(''))) {
      levels.push(`${name}: &${name} [${Array.from({ length: 10 }, () => `*${before}`).join(',')}]`);
    }
    assert.match(errorsOf(levels.join('\n'))[0]!, /Excessive alias count/);
  });

  it('length', () =>
    assert.match(errorsOf(' '.repeat(maxTextLength + 1))[0]!, /expected at most \d+ characters/));
});
