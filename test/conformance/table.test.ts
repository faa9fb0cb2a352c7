/** docs/conformance.md names no pair that is not there, and every fuzz test. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../harness/mesh_process.ts';

const page = readFileSync(join(packageRoot, 'docs', 'conformance.md'), 'utf8');
const [features = '', parsers = ''] = page.split('## By parser');

function filesOf(folder: string, ending: string): string[] {
  const files = readdirSync(join(packageRoot, 'test', folder));
  return files.filter((file) => file.endsWith(ending)).map((file) => file.slice(0, -ending.length));
}

/** Names in a column of the tables. */
function column(text: string, index: number): Set<string> {
  const rows = text.split('\n').filter((line) => /^\|(?!-| row| parser)/.test(line));
  return new Set(
    rows
      .flatMap((row) => (row.split('|')[index] ?? '').split(',').map((name) => name.trim()))
      .filter(Boolean),
  );
}

test('every pair of the table is there', () => {
  const pairs = new Set(filesOf('conformance', '.yaml'));
  assert.deepEqual(
    [...column(features, 3)].filter((name) => !pairs.has(name)),
    [],
  );
});

test('every fuzz test is in the table', () => {
  assert.deepEqual([...column(parsers, 2)].toSorted(), filesOf('fuzz', '.test.ts').toSorted());
});
