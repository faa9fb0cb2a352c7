import assert from 'node:assert/strict';
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Resource } from '../resource.ts';
import { formatConfigError } from '../yaml/config_error.ts';
import { account, describeConfigStore } from './contract.ts';
import { type FileStore, type FileStoreOptions, openFileStore } from './file.ts';

let folder: string;
let stores: FileStore[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trysail-file-store-'));
});

afterEach(async () => {
  for (const store of stores) await store.close();
  stores = [];
  await rm(folder, { recursive: true, force: true });
});

/** Waits until a condition holds; fails after two seconds. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 2000;
  while (!condition()) {
    if (performance.now() > end) assert.fail(`not in two seconds: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function text(...resources: readonly Resource[]): string {
  return resources
    .map(({ apiVersion, kind, metadata: { name, namespace, labels } }) =>
      JSON.stringify({ apiVersion, kind, metadata: { name, namespace, labels } }),
    )
    .join('\n---\n');
}

async function use(options: Partial<FileStoreOptions> = {}): Promise<FileStore> {
  const store = await openFileStore({ paths: [folder], ...options });
  stores.push(store);
  return store;
}

function names(store: FileStore, kind = 'ServiceAccount'): string[] {
  return store
    .list(kind)
    .map(({ metadata }) => metadata.name)
    .sort();
}

const version = (store: FileStore, name: string): string | undefined =>
  store.get('ServiceAccount', 'default', name)?.metadata.labels['version'];
const messages = (store: FileStore): string[] =>
  store.problems().errors.map((error) => formatConfigError(error).replaceAll(`${folder}/`, ''));

describeConfigStore('file', async () => {
  const own = await mkdtemp(join(tmpdir(), 'trysail-file-store-'));
  const store = await openFileStore({ paths: [own] });
  const content = new Map<string, Resource>();
  const key = (resource: Resource): string => `${resource.metadata.namespace}/${resource.metadata.name}`;
  const write = (): Promise<void> => writeFile(join(own, 'all.yaml'), text(...content.values()));
  return {
    store,
    async put(...resources) {
      for (const resource of resources) content.set(key(resource), resource);
      await write();
      const shows = (resource: Resource): boolean =>
        store.get(resource.kind, resource.metadata.namespace, resource.metadata.name)?.metadata.labels[
          'version'
        ] === resource.metadata.labels['version'];
      await until(() => resources.every(shows), 'put shows');
    },
    async remove(resource) {
      content.delete(key(resource));
      await write();
      const { kind, metadata } = resource;
      await until(() => store.get(kind, metadata.namespace, metadata.name) === undefined, 'remove shows');
    },
    async close() {
      await store.close();
      await rm(own, { recursive: true, force: true });
    },
  };
});

describe('openFileStore: what it reads', () => {
  it('reads files, and folders with subfolders', async () => {
    await mkdir(join(folder, 'd/inner'), { recursive: true });
    await mkdir(join(folder, 'd/.hidden'));
    await writeFile(join(folder, 'named.txt'), text(account('named')));
    await writeFile(join(folder, 'd/a.yaml'), text(account('a'), account('b')));
    await writeFile(join(folder, 'd/inner/c.yml'), text(account('c')));
    await writeFile(join(folder, 'd/inner/d.json'), text(account('d')));
    await writeFile(join(folder, 'd/.hidden/x.yaml'), text(account('hidden')));
    await writeFile(join(folder, 'd/.x.yaml'), text(account('hidden')));
    await writeFile(join(folder, 'd/backup.yaml~'), text(account('backup')));
    await writeFile(join(folder, 'd/trysail.yaml'), 'apps: []\n');
    await writeFile(join(folder, 'd/package.json'), '{"name": "x"}\n');
    const store = await use({ paths: [join(folder, 'named.txt'), join(folder, 'd')] });
    assert.deepEqual(names(store), ['a', 'b', 'c', 'd', 'named']);
    assert.equal(store.synced, true);
    assert.deepEqual(messages(store), []);
    assert.equal(store.problems().warnings.length, 1, 'package.json is no object');
  });

  it('reads one folder by a pattern, and follows it', async () => {
    await mkdir(join(folder, 'inner'));
    await writeFile(join(folder, 'a.yaml'), text(account('a')));
    await writeFile(join(folder, 'trysail.yaml'), 'apps: []\n');
    await writeFile(join(folder, 'inner/b.yaml'), text(account('b')));
    const store = await use({ paths: [join(folder, '*.yaml')] });
    assert.deepEqual(names(store), ['a']);
    await writeFile(join(folder, 'c.yaml'), text(account('c')));
    await until(() => names(store).includes('c'), 'new file that fits');
    assert.deepEqual(messages(store), []);
  });

  it('reports a path that does not exist, and reads it when it appears', async () => {
    const store = await use({ paths: [join(folder, 'late.yaml')] });
    assert.deepEqual(messages(store), ['late.yaml:1:1: cannot read: no such file or folder']);
    await writeFile(join(folder, 'late.yaml'), text(account('late')));
    await until(() => names(store).length === 1, 'late file is read');
    assert.deepEqual(messages(store), []);
  });

  it('names both places of a duplicate, and the first one stays', async () => {
    await writeFile(join(folder, 'a.yaml'), text(account('x', 'a')));
    await writeFile(join(folder, 'b.yaml'), text(account('y'), account('x', 'b')));
    const store = await use();
    assert.equal(version(store, 'x'), 'a');
    assert.deepEqual(messages(store), [
      `b.yaml:3:1: ServiceAccount default/x: the same object stands already at a.yaml:1:1: the first one stays`,
    ]);
    await rm(join(folder, 'a.yaml'));
    await until(() => version(store, 'x') === 'b', 'the other takes over');
    assert.deepEqual(messages(store), []);
  });

  it('keeps the owner of an object when a file that sorts earlier copies it', async () => {
    await writeFile(join(folder, 'b.yaml'), text(account('x', 'b')));
    const store = await use();
    await writeFile(join(folder, 'a.yaml'), text(account('x', 'a'), account('new')));
    await until(() => names(store).includes('new'), 'copy is read');
    assert.equal(version(store, 'x'), 'b');
    assert.equal(messages(store).length, 1);
  });
});

describe('openFileStore: changes', () => {
  it('tells a change within 150 ms of saving', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, text(account('a')));
    const store = await use();
    const delays: number[] = [];
    for (let round = 2; round < 7; round++) {
      await sleep(120);
      const heard = new Promise<number>((resolve) => {
        const stop = store.subscribe(() => (stop(), resolve(performance.now())));
      });
      const saved = performance.now();
      await writeFile(path, text(account('a', String(round))));
      delays.push((await heard) - saved);
      assert.equal(version(store, 'a'), String(round));
    }
    // The median, as a busy machine may be late once.
    const median = delays.sort((a, b) => a - b)[2]!;
    assert.ok(median < 150, `took ${delays.map(Math.round).join(', ')} ms`);
  });

  it('follows editors that write a new file and rename it over the old one', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, text(account('a'), account('b')));
    const store = await use();
    const batches: string[][] = [];
    store.subscribe((changes) =>
      batches.push(changes.map(({ type, resource }) => `${type} ${resource.metadata.name}`)),
    );
    await rename(path, `${path}~`);
    await sleep(10);
    await writeFile(`${path}.new`, text(account('a', '2'), account('b')));
    await rename(`${path}.new`, path);
    await until(() => version(store, 'a') === '2', 'new content');
    await rm(path);
    await sleep(60);
    await writeFile(path, text(account('a', '3'), account('b')));
    await until(() => version(store, 'a') === '3', 'newer content');
    assert.deepEqual(batches, [['update a'], ['update a']]);
  });

  it('does not take a file that is being written for an empty one', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, text(account('a')));
    const store = await use();
    const batches: string[] = [];
    store.subscribe((changes) => batches.push(...changes.map(({ type }) => type)));
    const file = await open(path, 'w');
    await sleep(60);
    await file.writeFile(text(account('a', '2')));
    await file.close();
    await until(() => version(store, 'a') === '2', 'new content');
    assert.deepEqual(batches, ['update']);
  });

  it('removes objects of a file that is deleted or emptied, and reads it again', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, text(account('a')));
    await writeFile(join(folder, 'b.yaml'), text(account('b')));
    const store = await use();
    await rm(path);
    await writeFile(join(folder, 'b.yaml'), '');
    await until(() => names(store).length === 0, 'all gone');
    await writeFile(path, text(account('a')));
    await until(() => names(store).length === 1, 'back again');
  });

  it('follows folders that come and go', async () => {
    const store = await use();
    await mkdir(join(folder, 'x/y'), { recursive: true });
    await writeFile(join(folder, 'x/y/a.yaml'), text(account('a')));
    await until(() => names(store).length === 1, 'new folder');
    await sleep(60);
    await writeFile(join(folder, 'x/y/a.yaml'), text(account('a', '2')));
    await until(() => version(store, 'a') === '2', 'change in the new folder');
    await rm(join(folder, 'x'), { recursive: true });
    await until(() => names(store).length === 0, 'folder gone');
  });

  it('says nothing when a save changes nothing, or only comments', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, text(account('a')));
    const store = await use();
    let calls = 0;
    store.subscribe(() => calls++);
    await writeFile(path, text(account('a')));
    await sleep(120);
    await writeFile(path, `# moved down\n${text(account('a'))}`);
    await until(() => store.get('ServiceAccount', 'default', 'a')?.source?.line === 2, 'new position');
    assert.equal(calls, 0);
  });

  it('calls nobody after close', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, text(account('a')));
    const store = await use();
    let calls = 0;
    store.subscribe(() => calls++);
    await writeFile(path, text(account('a', '2')));
    await store.close();
    await sleep(150);
    assert.equal(calls, 0);
  });
});

describe('openFileStore: broken files', () => {
  const good = text(account('a'), account('b'));

  it('keeps the last good state of a broken document, applies its good neighbours, and reports once', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, good);
    const reports: number[] = [];
    const store = await use({ onProblem: (errors) => reports.push(errors.length) });
    await writeFile(
      path,
      `${text(account('a', '2'))}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b\n`,
    );
    await until(() => version(store, 'a') === '2', 'good neighbour');
    assert.deepEqual(names(store), ['a', 'b']);
    assert.match(messages(store)[0]!, /^a\.yaml:5:\d+: ServiceAccount default\/b: Flow map/);
    await writeFile(path, text(account('a', '2'), account('b', '2')));
    await until(() => version(store, 'b') === '2', 'mended');
    assert.deepEqual(reports, [1, 0]);
  });

  it('keeps the last good state of an invalid object, and still removes what was taken out', async () => {
    const path = join(folder, 'a.yaml');
    await writeFile(path, text(account('a'), account('b'), account('c')));
    const store = await use();
    const invalid = JSON.stringify({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'b' },
      automountServiceAccountToken: 'maybe',
    });
    await writeFile(path, `${text(account('a'))}\n---\n${invalid}\n`);
    await until(() => !names(store).includes('c'), 'c is gone');
    assert.deepEqual(names(store), ['a', 'b']);
    assert.equal(version(store, 'b'), '1');
    assert.match(messages(store)[0]!, /automountServiceAccountToken: expected true or false, found "maybe"$/);
  });

  it('leaves out what was never good', async () => {
    await writeFile(join(folder, 'a.yaml'), `${good}\n---\n{`);
    const store = await use();
    assert.deepEqual(names(store), ['a', 'b']);
    assert.equal(messages(store).length, 1);
  });
});
