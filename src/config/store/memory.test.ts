import assert from 'node:assert/strict';
import { it } from 'node:test';
import { account, describeConfigStore } from './contract.ts';
import { createMemoryStore } from './memory.ts';
import type { ConfigChange } from './store.ts';

describeConfigStore('memory', async () => {
  const store = createMemoryStore();
  return {
    store,
    async put(...resources) {
      store.put(...resources);
    },
    async remove({ kind, metadata }) {
      store.remove(kind, metadata.namespace, metadata.name);
    },
    async close() {},
  };
});

it('an equal version tells nobody, but the newer place is kept', () => {
  const store = createMemoryStore({ resources: [account('a')] });
  let calls = 0;
  store.subscribe(() => calls++);
  const source = { file: 'x.yaml', line: 7, column: 1 };
  store.put({ ...account('a'), source });
  store.remove('ServiceAccount', 'default', 'unknown');
  assert.equal(calls, 0);
  assert.deepEqual(store.get('ServiceAccount', 'default', 'a')?.source, source);
});

it('replaceAll tells only the differences, in one batch', () => {
  const store = createMemoryStore({ resources: [account('a'), account('b'), account('c')] });
  const batches: (readonly ConfigChange[])[] = [];
  store.subscribe((changes) => batches.push(changes));
  store.replaceAll([account('b'), account('c', '2'), account('d')]);
  assert.deepEqual(
    batches.map((changes) => changes.map(({ type, resource }) => `${type} ${resource.metadata.name}`)),
    [['delete a', 'update c', 'add d']],
  );
});

it('can start unsynced', () => {
  const store = createMemoryStore({ synced: false });
  assert.equal(store.synced, false);
  store.markSynced();
  assert.equal(store.synced, true);
});
