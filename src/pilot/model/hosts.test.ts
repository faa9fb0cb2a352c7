import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareSpecificity, hostsOverlap, hostWithin, resolveHost } from './hosts.ts';

test('short names are completed, all others stay', () => {
  const cases: readonly [string, string][] = [
    ['reviews', 'reviews.default.svc.cluster.local'],
    ['reviews.prod', 'reviews.prod'],
    ['*', '*'],
    ['10.0.0.1', '10.0.0.1'],
    ['2001:db8::1', '2001:db8::1'],
  ];
  for (const [host, full] of cases) assert.equal(resolveHost(host, 'default', 'cluster.local'), full);
});

test('wildcards overlap and lie within', () => {
  const cases: readonly [string, string, boolean, boolean][] = [
    ['a.b.c', 'a.b.c', true, true],
    ['a.b.c', '*.b.c', true, true],
    ['*.b.c', 'a.b.c', true, false],
    ['*.b.c', '*.c', true, true],
    ['*.c', '*.b.c', true, false],
    ['b.c', '*.b.c', false, false],
    ['*', 'a.b', true, false],
    ['a.b', '*', true, true],
  ];
  for (const [inner, outer, overlap, within] of cases) {
    assert.equal(hostsOverlap(inner, outer), overlap, `${inner} overlaps ${outer}`);
    assert.equal(hostWithin(inner, outer), within, `${inner} within ${outer}`);
  }
});

test('the most specific name comes first', () => {
  const names = ['*', '*.c', 'a.b.c', '*.b.c'];
  assert.deepEqual(names.sort(compareSpecificity), ['a.b.c', '*.b.c', '*.c', '*']);
});
