import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LabelSelector } from '../../mesh_config/types.ts';
import type { Resource } from '../../resource.ts';
import { account, describeConfigStore } from '../contract.ts';
import { createMemoryStore } from '../memory.ts';
import { createSelectedStore, labelSelectorMatches } from './selected_namespaces.ts';

describeConfigStore('selected namespaces', async () => {
  const inner = createMemoryStore({
    resources: [namespace('default', { mesh: 'yes' }), namespace('other', { mesh: 'yes' })],
  });
  const store = createSelectedStore(inner, 'istio-system', () => [{ matchLabels: { mesh: 'yes' } }]);
  return {
    store,
    put: async (...resources) => inner.put(...resources),
    remove: async ({ kind, metadata }) => inner.remove(kind, metadata.namespace, metadata.name),
    close: async () => store.close(),
  };
});

function namespace(name: string, labels: Readonly<Record<string, string>>): Resource {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name,
      namespace: '',
      labels,
      annotations: {},
      creationTimestamp: 0,
      resourceVersion: JSON.stringify(labels),
    },
    body: {},
  };
}

test('objects come and go with their namespace, and with the selectors', () => {
  const inner = createMemoryStore({
    resources: [
      namespace('a', {}),
      namespace('b', { mesh: 'yes' }),
      account('in-a', '1', 'a'),
      account('in-b', '1', 'b'),
      account('in-root', '1', 'istio-system'),
    ],
  });
  let selectors: LabelSelector[] = [{ matchLabels: { mesh: 'yes' } }];
  const store = createSelectedStore(inner, 'istio-system', () => selectors);
  const heard: string[] = [];
  store.subscribe((changes) => {
    for (const { type, resource } of changes)
      if (resource.kind === 'ServiceAccount') heard.push(`${type} ${resource.metadata.name}`);
  });
  const names = (): string[] =>
    store
      .list('ServiceAccount')
      .map(({ metadata }) => metadata.name)
      .sort();
  assert.deepEqual(names(), ['in-b', 'in-root']);
  assert.equal(store.get('ServiceAccount', 'a', 'in-a'), undefined);
  inner.put(account('in-a', '2', 'a'));
  inner.put(namespace('a', { mesh: 'yes' }));
  assert.deepEqual(names(), ['in-a', 'in-b', 'in-root']);
  inner.put(namespace('b', {}));
  inner.remove('ServiceAccount', 'b', 'in-b');
  assert.deepEqual(names(), ['in-a', 'in-root']);
  selectors = [];
  store.refresh();
  assert.equal(store.selects('anything'), true);
  inner.put(account('in-b', '3', 'b'));
  assert.deepEqual(heard, ['add in-a', 'delete in-b', 'add in-b']);
  assert.deepEqual(names(), ['in-a', 'in-b', 'in-root']);
});

test('label selectors', () => {
  const labels = { app: 'web', tier: 'front' };
  const expression = (operator: string, key: string, ...values: string[]): LabelSelector => ({
    matchExpressions: [{ key, operator, values }],
  });
  for (const [selector, expected] of [
    [{}, true],
    [{ matchLabels: { app: 'web' } }, true],
    [{ matchLabels: { app: 'db' } }, false],
    [expression('In', 'app', 'db', 'web'), true],
    [expression('In', 'none', 'x'), false],
    [expression('NotIn', 'app', 'web'), false],
    [expression('NotIn', 'none', 'x'), true],
    [expression('Exists', 'tier'), true],
    [expression('Exists', 'none'), false],
    [expression('DoesNotExist', 'none'), true],
    [expression('DoesNotExist', 'tier'), false],
    [expression('Like', 'app', 'w'), false],
  ] as const) {
    assert.equal(labelSelectorMatches(selector, labels), expected, JSON.stringify(selector));
  }
});
