import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from './log.ts';

test('text lines carry time, level, scope, message and fields', () => {
  const lines: string[] = [];
  const log = createLogger({ write: (line) => lines.push(line) }).scope('ads');
  log.info('push', { proxy: 'a.b', took: 3, why: 'two words' });
  assert.match(lines[0]!, /^\d{4}-.*Z\tinfo\tads\tpush proxy=a\.b took=3 why="two words"\n$/);
});

test('levels are per scope and JSON keeps fields', () => {
  const lines: string[] = [];
  const log = createLogger({
    asJson: true,
    level: 'warn',
    scopeLevels: { ca: 'debug' },
    write: (line) => lines.push(line),
  });
  log.info('dropped');
  log.scope('ca').debug('kept', { error: new Error('boom') });
  assert.equal(lines.length, 1);
  const line = JSON.parse(lines[0]!) as Record<string, unknown>;
  assert.deepEqual(
    [line['level'], line['scope'], line['msg'], line['error']],
    ['debug', 'ca', 'kept', 'boom'],
  );
});
