import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createAggregateStore } from './aggregate.ts';
import { account, describeConfigStore } from './contract.ts';
import { createMemoryStore } from './memory.ts';

describeConfigStore('aggregate', async () => {
  const own = createMemoryStore();
  const store = createAggregateStore([createMemoryStore(), own]);
  return {
    store,
    async put(...resources) {
      own.put(...resources);
    },
    async remove({ kind, metadata }) {
      own.remove(kind, metadata.namespace, metadata.name);
    },
    async close() {
      store.close();
    },
  };
});

it('the first store hides an equal name of the second, which appears when it goes', () => {
  const first = createMemoryStore();
  const second = createMemoryStore({ resources: [account('a', 'second')] });
  const store = createAggregateStore([first, second]);
  const heard: string[] = [];
  store.subscribe((changes) => {
    for (const { type, resource } of changes) heard.push(`${type} ${resource.metadata.resourceVersion}`);
  });
  const seen = (): string | undefined =>
    store.get('ServiceAccount', 'default', 'a')?.metadata.resourceVersion;
  assert.equal(seen(), 'second');
  first.put(account('a', 'first'));
  assert.equal(seen(), 'first');
  assert.equal(store.list('ServiceAccount').length, 1);
  second.put(account('a', 'hidden'));
  first.remove('ServiceAccount', 'default', 'a');
  assert.equal(seen(), 'hidden');
  assert.deepEqual(heard, ['update first', 'update hidden']);
});

it('is synced when all stores are', () => {
  const late = createMemoryStore({ synced: false });
  const store = createAggregateStore([createMemoryStore(), late]);
  assert.equal(store.synced, false);
  late.markSynced();
  assert.equal(store.synced, true);
});

it('hears nothing after close', () => {
  const memory = createMemoryStore();
  const store = createAggregateStore([memory]);
  let calls = 0;
  store.subscribe(() => calls++);
  store.close();
  memory.put(account('a'));
  assert.equal(calls, 0);
});
