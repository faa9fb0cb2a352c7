import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConfigChange } from '#config/store/store.ts';
import { type ChangeBatch, Debounce } from './debounce.ts';

function change(name: string): ConfigChange {
  return { type: 'add', resource: { metadata: { name } } } as unknown as ConfigChange;
}

test('a burst is one batch, after it has become quiet', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1000 });
  const batches: ChangeBatch[] = [];
  const debounce = new Debounce({}, (batch) => batches.push(batch));
  debounce.add([change('a')]);
  t.mock.timers.tick(99);
  debounce.add([change('b'), change('c')]);
  t.mock.timers.tick(99);
  assert.equal(batches.length, 0);
  t.mock.timers.tick(1);
  assert.equal(batches.length, 1);
  const [{ changes, startedAt, merged }] = batches as [ChangeBatch];
  assert.deepEqual(
    [changes.map(({ resource }) => resource.metadata.name), startedAt, merged],
    [['a', 'b', 'c'], 1000, 2],
  );
  t.mock.timers.tick(1000);
  assert.equal(batches.length, 1);
});

test('changes that never become quiet are flushed at the maximum', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 });
  const flushed: number[] = [];
  const debounce = new Debounce({ afterMs: 100, maxMs: 1000 }, () => flushed.push(Date.now()));
  for (let i = 0; i < 40; i++) {
    debounce.add([change('a')]);
    t.mock.timers.tick(50);
  }
  debounce.close();
  assert.deepEqual(flushed, [1000, 2000]);
});

test('nothing is flushed after close', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const debounce = new Debounce({}, () => assert.fail('flushed'));
  debounce.add([]);
  debounce.close();
  t.mock.timers.tick(20_000);
});
