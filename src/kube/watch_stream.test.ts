import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { LineSplitter } from './watch_stream.ts';

test('lines are the same however the bytes are cut', () => {
  const line = fc.string({ minLength: 1, maxLength: 20 }).map((text) => `${JSON.stringify(text)}é`);
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), fc.array(fc.nat(40), { maxLength: 30 }), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''));
      const splitter = new LineSplitter();
      const got: string[] = [];
      let start = 0;
      for (const cut of cuts) {
        got.push(...splitter.push(bytes.subarray(start, start + cut)));
        start = Math.min(bytes.length, start + cut);
      }
      got.push(...splitter.push(bytes.subarray(start)));
      assert.deepEqual(got, lines);
      assert.equal(splitter.pending, 0);
    }),
    { numRuns: 40 },
  );
});

test('a line that does not end is not kept for ever', () => {
  const splitter = new LineSplitter(10);
  assert.deepEqual(splitter.push(Buffer.from('123456789')), []);
  assert.throws(() => splitter.push(Buffer.from('ab')), { code: 'too_large' });
});
