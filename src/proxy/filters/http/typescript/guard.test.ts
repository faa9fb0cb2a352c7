import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '#base/log.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { FilterCallbacks, HttpFilter, LocalReply } from '../../../http/filter.ts';
import { FilterStatus } from '../../../http/filter.ts';
import { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { readSettings } from './config.ts';
import { Guard, type GuardSettings } from './guard.ts';

interface Bench {
  readonly guard: Guard;
  readonly replies: LocalReply[];
  readonly lines: string[];
  /** Milliseconds that pass inside the filter. */
  takes: number;
  request(): FilterStatus;
  response(): FilterStatus;
}

function benchOf(filter: HttpFilter, settings: Partial<GuardSettings> = {}): Bench {
  const metrics = new MetricsRegistry();
  const replies: LocalReply[] = [];
  const lines: string[] = [];
  let now = 0;
  const guard = new Guard(
    { name: 'mine', budgetMs: 5, failure: 'open', ...settings },
    {
      createFilter: () => ({
        ...filter,
        decodeHeaders(headers, endStream) {
          now += bench.takes;
          return filter.decodeHeaders?.(headers, endStream) ?? FilterStatus.continue;
        },
      }),
    },
    createLogger({ level: 'debug', write: (line) => void lines.push(line) }),
    {
      errors: metrics.counter('envoy_errors', {}),
      overBudget: metrics.counter('envoy_over', {}),
      switchedOff: metrics.gauge('envoy_off', {}),
    },
    () => now,
  );
  const callbacks = { sendLocalReply: (reply: LocalReply) => void replies.push(reply) } as FilterCallbacks;
  const bench: Bench = {
    guard,
    replies,
    lines,
    takes: 0,
    request: () => guard.createFilter(callbacks).decodeHeaders(new RequestHeaderMap(), true),
    response: () => guard.createFilter(callbacks).encodeHeaders(new ResponseHeaderMap(), true),
  };
  return bench;
}

const throwing: HttpFilter = {
  decodeHeaders() {
    throw new Error('mine to mend');
  },
};

test('what throws is passed over, or answered, and named once', () => {
  const open = benchOf(throwing);
  assert.equal(open.request(), FilterStatus.continue);
  assert.equal(open.request(), FilterStatus.continue);
  assert.equal(open.lines.length, 1);
  assert.match(open.lines[0] ?? '', /mine to mend/);
  const closed = benchOf(throwing, { failure: 'closed' });
  assert.equal(closed.request(), FilterStatus.stopIteration);
  assert.deepEqual(
    closed.replies.map(({ status, details }) => [status, details]),
    [[500, 'typescript_filter_error{mine}']],
  );
});

test('a filter that fails on the response is passed over', () => {
  const bench = benchOf(
    {
      encodeHeaders() {
        throw new Error('late');
      },
    },
    { failure: 'closed' },
  );
  assert.equal(bench.response(), FilterStatus.continue);
  assert.equal(bench.replies.length, 0);
});

test('a filter that takes too long is switched off and named', () => {
  const bench = benchOf({});
  bench.takes = 6;
  for (let i = 0; i < 9; i++) bench.request();
  assert.equal(bench.guard.off, false);
  bench.request();
  assert.equal(bench.guard.off, true);
  assert.match(bench.lines.at(-1) ?? '', /switched off.*mine/);
  assert.equal(bench.request(), FilterStatus.continue);
});

test('now and then too long is forgiven', () => {
  const bench = benchOf({});
  for (let i = 0; i < 50; i++) {
    bench.takes = 6;
    bench.request();
    bench.takes = 1;
    for (let j = 0; j < 60; j++) bench.request();
  }
  assert.equal(bench.guard.off, false);
});

test('settings', () => {
  assert.deepEqual(readSettings({ path: '/a.ts' }, 'n'), {
    name: 'n',
    path: '/a.ts',
    config: {},
    failure: 'open',
    budgetMs: 5,
  });
  assert.equal(readSettings({ path: '/a.ts', time_budget: '0.5s' }, 'n').budgetMs, 500);
  const bad: [Parameters<typeof readSettings>[0], RegExp][] = [
    [{}, /path: expected/],
    [{ path: '/a', time_budget: 3 }, /time_budget: expected a duration such as "2ms", found 3/],
    [{ path: '/a', failure: 'maybe' }, /failure: expected open or closed, found "maybe"/],
    [{ path: '/a', config: [] }, /config: expected an object/],
    [{ path: '/a', budget: '1ms' }, /unknown field "budget"/],
  ];
  for (const [struct, error] of bad) assert.throws(() => readSettings(struct, 'n'), error);
});
