import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { InjectorConfig, injectorConfigMap } from './injector_config.ts';

const hub = (config: InjectorConfig) => config.current?.settings.values.values.global.hub;

describe('InjectorConfig', () => {
  test('without texts the built-in settings are in force', () => {
    const config = new InjectorConfig({});
    assert.equal(hub(config), 'trysail');
    assert.equal(config.current?.policy.policy, 'enabled');
  });

  test('a broken text leaves the last good settings, a good one replaces them', () => {
    const config = new InjectorConfig({ values: 'global: { hub: one }' });
    config.update({ values: 'global: { hub: [' });
    assert.equal(hub(config), 'one');
    assert.match(config.error, /values/);
    config.update({ values: 'global: { hub: two }', injectConfig: 'policy: disabled' });
    assert.equal(hub(config), 'two');
    assert.equal(config.current?.policy.policy, 'disabled');
    assert.equal(config.error, '');
    config.update({});
    assert.equal(hub(config), 'trysail');
  });

  test('the same texts are no change', () => {
    const config = new InjectorConfig({ values: 'global: { hub: one }' });
    const { current } = config;
    config.update({ values: 'global: { hub: one }' });
    assert.equal(config.current, current);
  });

  test('texts that never were good give no settings', () => {
    const config = new InjectorConfig({ injectConfig: 'templates: { sidecar: 5 }' });
    assert.equal(config.current, undefined);
    assert.match(config.error, /templates\.sidecar/);
  });

  test('each revision has its ConfigMap', () => {
    const names = ['', 'default', 'canary'].map(injectorConfigMap.nameOf);
    assert.deepEqual(names, [
      'istio-sidecar-injector',
      'istio-sidecar-injector',
      'istio-sidecar-injector-canary',
    ]);
  });
});
