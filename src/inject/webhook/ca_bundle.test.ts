import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { caBundlePatch } from './ca_bundle.ts';

const own = 'rev.namespace.sidecar-injector.istio.io';

describe('caBundlePatch', () => {
  test('writes where the bundle lacks or differs, after a test of the name', () => {
    const webhooks = [
      { name: own, clientConfig: { caBundle: 'bmV3' } },
      { name: 'others.example.com', clientConfig: {} },
      { name: `object.${own}`, clientConfig: { caBundle: 'b2xk' } },
      { name: `third.${own}`, clientConfig: {} },
      { name: `fourth.${own}` },
    ];
    assert.deepEqual(caBundlePatch({ metadata: { name: 'x' }, webhooks }, 'bmV3'), [
      { op: 'test', path: '/webhooks/2/name', value: `object.${own}` },
      { op: 'add', path: '/webhooks/2/clientConfig/caBundle', value: 'bmV3' },
      { op: 'test', path: '/webhooks/3/name', value: `third.${own}` },
      { op: 'add', path: '/webhooks/3/clientConfig/caBundle', value: 'bmV3' },
    ]);
  });

  test('an object without webhooks needs nothing', () => {
    assert.deepEqual(caBundlePatch({ metadata: { name: 'x' } }, 'bmV3'), []);
  });
});
