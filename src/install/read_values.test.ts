/** Values of an installation: what is read, and what is refused. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readInstallValues, setValue } from './read_values.ts';

describe('--set', () => {
  const cases: readonly (readonly [text: string, expected: object])[] = [
    ['a.b=c', { a: { b: 'c' } }],
    ['a=true,b=false,c=null', { a: true, b: false, c: null }],
    ['a=1,b=-2,c=007,d=1.5,e=', { a: 1, b: -2, c: '007', d: '1.5', e: '' }],
    ['a={x,y},b={}', { a: ['x', 'y'], b: [] }],
    ['a[1].b=2', { a: [null, { b: 2 }] }],
    ['a\\.b=c\\,d', { 'a.b': 'c,d' }],
    ['a=b=c', { a: 'b=c' }],
    ['__proto__.x=1', JSON.parse('{"__proto__": {"x": 1}}') as object],
  ];
  for (const [text, expected] of cases) it(text, () => assert.deepEqual(setValue({}, text), expected));

  it('lies over what is there', () => {
    assert.deepEqual(setValue({ a: { b: 1, c: 2 } }, 'a.b=3'), { a: { b: 3, c: 2 } });
  });

  for (const text of ['a', '=b', 'a.=b', 'a[x]=b', 'a[5000]=b'])
    it(`${text} is refused`, () => assert.throws(() => setValue({}, text), /--set/));
});

describe('values', () => {
  it('come from files, then --set, then --revision', () => {
    const files = [
      { name: 'a.yaml', text: 'global: {hub: one, tag: 1}\nrevision: a\n' },
      { name: 'b.yaml', text: 'global: {tag: 2}\n' },
    ];
    const { istiod } = readInstallValues({ files, set: ['global.logAsJson=true'], revision: 'b' });
    assert.deepEqual(istiod, { global: { hub: 'one', tag: 2, logAsJson: true }, revision: 'b' });
  });

  it('have the forms of Istio: an IstioOperator, `values.`, hub and tag', () => {
    const operator = `apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  hub: own
  meshConfig: {accessLogFile: /dev/stdout}
  values: {pilot: {replicaCount: 2}}
`;
    const { istiod } = readInstallValues({
      files: [{ name: 'o.yaml', text: operator }],
      set: ['tag=3', 'values.global.logAsJson=true'],
    });
    assert.deepEqual(istiod, {
      global: { hub: 'own', tag: 3, logAsJson: true },
      meshConfig: { accessLogFile: '/dev/stdout' },
      pilot: { replicaCount: 2 },
    });
  });

  it('tell unknown fields of MeshConfig', () => {
    assert.match(readInstallValues({ set: ['meshConfig.nothing=1'] }).warnings.join(), /meshConfig\.nothing/);
  });

  const refused: readonly (readonly [set: string, message: RegExp])[] = [
    ['global.hbu=x', /global\.hbu: unknown field, did you mean "hub"/],
    ['pilot.replicaCount=0', /pilot\.replicaCount: expected a whole number from 1 to 100/],
    ['global.imagePullPolicy=Sometimes', /global\.imagePullPolicy: expected one of/],
    ['revision=Canary', /revision: expected the name of a revision/],
    ['meshConfig.enableTracing=perhaps', /meshConfig\.enableTracing: expected true or false/],
    ['global.proxy.statusPort=x', /global\.proxy\.statusPort/],
    ['gateways.istio-egressgateway.enabled=true', /gateways\.istio-egressgateway: unknown field/],
    ['gateways.istio-ingressgateway.servce.type=x', /service/],
    ['profile=demo', /profile: unknown field/],
  ];
  for (const [set, message] of refused)
    it(`${set} is refused`, () => assert.throws(() => readInstallValues({ set: [set] }), message));

  it('of an IstioOperator that asks for more are refused by name', () => {
    const text = 'kind: IstioOperator\nspec: {components: {}}\n';
    assert.throws(
      () => readInstallValues({ files: [{ name: 'o.yaml', text }] }),
      /spec\.components: not impl/,
    );
  });
});
