/** What every store of configuration must do. Tests run this suite on each implementation. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Resource } from '../resource.ts';
import type { ConfigChange, ConfigStore } from './store.ts';

/** A store under test, and the way to change what it shows. */
export interface StoreUnderTest {
  readonly store: ConfigStore;
  /** Makes changes visible as one batch; resolves when the store shows them. */
  put(...resources: readonly Resource[]): Promise<void>;
  remove(resource: Resource): Promise<void>;
  close(): Promise<void>;
}

/** A ServiceAccount with a label, so that its content can differ. */
export function account(name: string, version = '1', namespace = 'default'): Resource {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: {
      name,
      namespace,
      labels: { version },
      annotations: {},
      creationTimestamp: 0,
      resourceVersion: version,
    },
    body: {},
  };
}

function summary(changes: readonly ConfigChange[]): string[] {
  return changes.map(({ type, resource }) => `${type} ${resource.metadata.name}`).sort();
}

/** Runs the suite. */
export function describeConfigStore(name: string, open: () => Promise<StoreUnderTest>): void {
  async function use(test: (under: StoreUnderTest, heard: string[][]) => Promise<void>): Promise<void> {
    const under = await open();
    const heard: string[][] = [];
    under.store.subscribe((changes) => heard.push(summary(changes)));
    try {
      await test(under, heard);
    } finally {
      await under.close();
    }
  }
  const versionOf = (store: ConfigStore, object: string): string | undefined =>
    store.get('ServiceAccount', 'default', object)?.metadata.labels['version'];

  describe(`ConfigStore: ${name}`, () => {
    it('starts synced and empty', () =>
      use(async ({ store }) => {
        assert.equal(store.synced, true);
        assert.deepEqual(store.list('ServiceAccount'), []);
        assert.deepEqual(store.list('NoSuchKind'), []);
        assert.equal(store.get('ServiceAccount', 'default', 'a'), undefined);
      }));

    it('shows what is put, by kind and by name', () =>
      use(async ({ store, put }) => {
        await put(account('a'), account('b'));
        assert.deepEqual(
          store
            .list('ServiceAccount')
            .map((object) => object.metadata.name)
            .sort(),
          ['a', 'b'],
        );
        assert.deepEqual(store.list('Deployment'), []);
        assert.equal(versionOf(store, 'a'), '1');
      }));

    it('keeps equal names of different namespaces apart', () =>
      use(async ({ store, put }) => {
        await put(account('a'), account('a', '2', 'other'));
        assert.equal(store.list('ServiceAccount').length, 2);
        assert.equal(store.get('ServiceAccount', 'other', 'a')?.metadata.labels['version'], '2');
      }));

    it('tells listeners of adds, updates and deletes after they show', () =>
      use(async ({ store, put, remove }, heard) => {
        let seen: string | undefined = 'never called';
        store.subscribe(() => (seen = versionOf(store, 'a')));
        await put(account('a'));
        assert.equal(seen, '1');
        await put(account('a', '2'));
        assert.equal(seen, '2');
        await remove(account('a'));
        assert.equal(seen, undefined);
        assert.deepEqual(heard, [['add a'], ['update a'], ['delete a']]);
      }));

    it('gives the previous object with an update', () =>
      use(async ({ store, put }) => {
        const versions: (string | undefined)[] = [];
        store.subscribe((changes) => {
          for (const change of changes) {
            if (change.type !== 'update') continue;
            versions.push(
              change.previous.metadata.labels['version'],
              change.resource.metadata.labels['version'],
            );
          }
        });
        await put(account('a'));
        await put(account('a', '2'));
        assert.deepEqual(versions, ['1', '2']);
      }));

    it('does not call a listener after it was removed', () =>
      use(async ({ store, put }) => {
        let calls = 0;
        const stop = store.subscribe(() => calls++);
        await put(account('a'));
        stop();
        stop();
        await put(account('b'));
        assert.equal(calls, 1);
      }));

    it('does not change lists that were handed out', () =>
      use(async ({ store, put }) => {
        await put(account('a'));
        const before = store.list('ServiceAccount');
        await put(account('b'));
        assert.equal(before.length, 1);
        assert.equal(store.list('ServiceAccount').length, 2);
      }));
  });
}
