import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bucketText, detailText, quantile, summaryText } from './stat_values.ts';

const bounds = [1, 5, 10];

test('quantiles lie on the line between the bounds of their bucket', () => {
  const distribution = { bounds, counts: [0, 2, 2, 0] };
  assert.equal(quantile(distribution, 0), 1);
  assert.equal(quantile(distribution, 25), 3);
  assert.equal(quantile(distribution, 50), 5);
  assert.equal(quantile(distribution, 75), 7.5);
  assert.equal(quantile(distribution, 100), 10);
  assert.equal(quantile({ bounds, counts: [0, 0, 0, 3] }, 99), 10, 'larger than all bounds');
  assert.equal(quantile({ bounds, counts: [0, 0, 0, 0] }, 50), undefined);
});

test('text as Envoy prints it', () => {
  const distribution = { bounds, counts: [1, 0, 1, 0] };
  assert.equal(bucketText(distribution, true), 'B1(0,1) B5(0,1) B10(0,2)');
  assert.equal(bucketText(distribution, false), 'B1(0,1) B5(0,0) B10(0,1)');
  assert.match(summaryText(distribution), /^P0\(nan,0\) P25\(nan,0\.5\) .* P100\(nan,10\)$/);
  assert.equal(summaryText({ bounds, counts: [0, 0, 0, 0] }), 'No recorded values');
  assert.match(detailText(distribution), /^\n {2}totals=0,1:1, 5,5:1\n {2}intervals=\n {2}summary=P0/);
});
