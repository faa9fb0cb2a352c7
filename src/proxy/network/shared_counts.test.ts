import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Counts, LocalCounts, SharedCounts } from './shared_counts.ts';

function sharedPair(capacity?: number): { a: Counts; b: Counts; main: SharedCounts } {
  const buffer = SharedCounts.allocate(2, capacity);
  const at = (worker: number): SharedCounts => new SharedCounts(buffer, 2, worker);
  return { a: at(0), b: at(1), main: at(2) };
}

for (const [title, counts] of [
  ['local', new LocalCounts()],
  ['shared', sharedPair().a],
] satisfies [string, Counts][])
  test(`${title}: counts up to a limit, past it when forced, and back`, () => {
    const block = counts.open('cluster a');
    assert.ok(block.tryAcquire(0, 2));
    assert.ok(block.tryAcquire(0, 2));
    assert.ok(!block.tryAcquire(0, 2));
    assert.equal(block.value(0), 2);
    block.acquire(0);
    assert.equal(block.value(0), 3);
    assert.equal(block.value(1), 0);
    for (let i = 0; i < 3; i++) block.release(0);
    assert.equal(counts.open('cluster a').value(0), 0);
    assert.equal(block.words.byteOffset % 8, 0);
  });

test('workers see one number per name', () => {
  const { a, b } = sharedPair();
  const [ofA, ofB, other] = [a.open('x'), b.open('x'), b.open('y')];
  assert.ok(ofA.tryAcquire(2, 2));
  assert.ok(ofB.tryAcquire(2, 2));
  assert.ok(!ofA.tryAcquire(2, 2));
  assert.equal(ofB.value(2), 2);
  assert.equal(other.value(2), 0);
  Atomics.add(ofA.words, 3, 7);
  assert.equal(ofB.words[3], 7);
});

test('a dead worker gives back what it held, state stays while another has the name', () => {
  const { a, b, main } = sharedPair();
  const [ofA, ofB] = [a.open('x'), b.open('x')];
  ofA.acquire(0);
  ofA.acquire(0);
  ofB.acquire(0);
  Atomics.store(ofA.words, 1, 5);
  main.releaseWorker(0);
  assert.equal(ofB.value(0), 1);
  assert.equal(ofB.words[1], 5);
  // Its successor has the same index.
  const again = a.open('x');
  assert.equal(again.value(0), 1);
  again.acquire(0);
  assert.equal(ofB.value(0), 2);
});

test('a worker that dies with the lock does not hold up the others', () => {
  const buffer = SharedCounts.allocate(2);
  new Int32Array(buffer)[0] = 1;
  new SharedCounts(buffer, 2, 2).releaseWorker(0);
  assert.equal(new SharedCounts(buffer, 2, 1).open('x').value(0), 0);
});

test('names that all have closed start again at zero; their place is used again', () => {
  const { a, b } = sharedPair(8);
  for (let round = 0; round < 50; round++) {
    const blocks = ['p', 'q', 'r', 's'].map((name) => [a.open(`${name}${round}`), b.open(`${name}${round}`)]);
    for (const [ofA, ofB] of blocks) {
      assert.equal(ofA!.value(0), 0);
      ofA!.acquire(0);
      assert.equal(ofB!.value(0), 1, 'shared');
      ofA!.release(0);
    }
    for (const block of blocks.flat()) block.close();
  }
});

test('a full table leaves further names to each worker', () => {
  const { a, b } = sharedPair(1);
  const kept = a.open('first');
  const [ofA, ofB] = [a.open('second'), b.open('second')];
  ofA.acquire(0);
  assert.equal(ofB.value(0), 0);
  ofA.release(0);
  ofA.close();
  ofB.close();
  kept.close();
  assert.equal(b.open('second').value(0), 0);
});
