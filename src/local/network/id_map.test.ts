import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findIdRange, idMapArguments } from './id_map.ts';

test('the largest range that holds 1337 is found by name or number', () => {
  const user = { name: 'ann', id: 1000 };
  const cases: [name: string, text: string, range: { start: number; count: number } | undefined][] = [
    ['by name', 'bob:1:65536\nann:100000:65536\n', { start: 100000, count: 65535 }],
    ['by number', '1000:200000:65536', { start: 200000, count: 65535 }],
    ['largest', 'ann:100000:2000\nann:300000:9000', { start: 300000, count: 9000 }],
    ['too small', 'ann:100000:1000', undefined],
    ['none', 'bob:100000:65536', undefined],
    ['no number', 'ann:x:65536\n# comment\n\n', undefined],
    ['empty', '', undefined],
  ];
  for (const [name, text, range] of cases) assert.deepEqual(findIdRange(text, user), range, name);
});

test('the caller is root inside, its range follows', () => {
  assert.deepEqual(idMapArguments(42, 1000, { start: 100000, count: 65535 }), [
    '42',
    '0',
    '1000',
    '1',
    '1',
    '100000',
    '65535',
  ]);
});
