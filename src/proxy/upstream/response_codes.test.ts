import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CodeCounts, countCode, eachCode } from './response_codes.ts';

function read(counts: CodeCounts): Record<number, number> {
  const found: Record<number, number> = {};
  eachCode(counts, (status, count) => (found[status] = count));
  return found;
}

test('counts by status, two sets share nothing', () => {
  const a: CodeCounts = [];
  const b: CodeCounts = [];
  for (const status of [200, 503, 200, 100, 599]) countCode(a, status);
  countCode(b, 404);
  countCode(b, 200);
  assert.deepEqual(read(a), { 100: 1, 200: 2, 503: 1, 599: 1 });
  assert.deepEqual(read(b), { 200: 1, 404: 1 });
});

test('what is no status has one place', () => {
  const counts: CodeCounts = [];
  for (const status of [0, 99, 600, 100_000, -1, 2.5, Number.NaN]) countCode(counts, status);
  assert.deepEqual(read(counts), { 0: 7 });
});

test('bounded by the number of statuses', () => {
  const counts: CodeCounts = [];
  for (let status = 0; status < 5000; status++) countCode(counts, status);
  assert.equal(counts.length, 501);
});
