import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExtensionRegistry, type LazyExtension } from './registry.ts';

function lazy(name: string, type: string, loaded: string[]): LazyExtension {
  const typeUrls = [`type.googleapis.com/${type}`];
  return {
    kind: 'http_filter',
    name,
    typeUrls,
    load: () => {
      loaded.push(name);
      return Promise.resolve({ name, typeUrls });
    },
  };
}

test('a lazy extension is loaded once, when a resource names it', async () => {
  const loaded: string[] = [];
  const eager = { name: 'eager', typeUrls: ['type.googleapis.com/x.Eager'] };
  const registry = new ExtensionRegistry({ http_filter: [eager] }, [
    lazy('one', 'x.One', loaded),
    lazy('two', 'x.Two', loaded),
  ]);
  assert.deepEqual(
    registry.all().map(({ factory }) => factory.name),
    ['eager', 'one', 'two'],
  );
  assert.equal(registry.load(Buffer.from('\n\x05eager type.googleapis.com/x.Eager')), undefined);
  assert.equal(registry.find('http_filter', 'type.googleapis.com/x.One'), undefined);
  const bytes = Buffer.from('..type.googleapis.com/x.One..');
  await Promise.all([registry.load(bytes), registry.load(bytes)]);
  assert.equal(registry.find('http_filter', 'type.googleapis.com/x.One')?.name, 'one');
  assert.equal(registry.findByName('http_filter', 'one')?.name, 'one');
  assert.equal(registry.load(bytes), undefined);
  assert.deepEqual(new Set(loaded), new Set(['one']));
  await registry.load(Buffer.from('name: two'));
  assert.equal(registry.findByName('http_filter', 'two')?.name, 'two');
  assert.deepEqual(registry.all().length, 3);
});
