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

test('no value breaks a line or throws', () => {
  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  const throwing = Object.defineProperty({}, 'x', {
    enumerable: true,
    get: () => {
      throw new Error('no');
    },
  });
  const fields = {
    cycle,
    throwing,
    big: 1n,
    gone: undefined,
    nested: { error: new Error('inner') },
    text: 'a\nb',
  };
  for (const asJson of [true, false]) {
    const lines: string[] = [];
    createLogger({ asJson, write: (line) => lines.push(line) }).error('two\nlines', fields);
    assert.equal(lines.length, 1);
    assert.equal(lines[0]!.split('\n').length, 2, 'one newline, at the end');
    if (asJson) {
      const line = JSON.parse(lines[0]!) as Record<string, unknown>;
      assert.deepEqual([line['big'], line['nested'], line['msg']], ['1', { error: 'inner' }, 'two\nlines']);
      assert.ok(!('gone' in line));
    } else
      assert.match(lines[0]!, / cycle="\[no JSON\]" .* big="1" nested=\{"error":"inner"\} text="a\\nb"\n$/);
  }
});

test('level none is silent', () => {
  const lines: string[] = [];
  createLogger({ level: 'none', write: (line) => lines.push(line) }).error('dropped');
  assert.deepEqual(lines, []);
});
