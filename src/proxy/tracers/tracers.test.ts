import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap } from '../http/header_map.ts';
import { readTraceparent } from './open_telemetry/traceparent.ts';
import { SpanQueue } from './span_queue.ts';
import { isHexId, randomHex } from './tracer.ts';
import { readB3, writeB3 } from './zipkin/b3.ts';

const trace = '463ac35c9f6413ad48485a3953bb6124';
const span = 'a2fb4a1d1a96d312';

test('traceparent', () => {
  assert.deepEqual(readTraceparent(`00-${trace}-${span}-01`), {
    traceId: trace,
    spanId: span,
    sampled: true,
  });
  assert.equal(readTraceparent(`01-${trace}-${span}-fe`)?.sampled, false);
  for (const bad of [
    '',
    'x',
    `ff-${trace}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${trace}-${span}-0x`,
    `00-${trace}-${span}-011`,
    `00_${trace}-${span}-01`,
  ])
    assert.equal(readTraceparent(bad), undefined, bad);
});

test('B3: one header and several', () => {
  const read = (fields: Record<string, string>): ReturnType<typeof readB3> =>
    readB3(new HeaderMap(Object.keys(fields), Object.values(fields)));
  const none = { traceId: '', spanId: '', parentId: '' };
  const whole = { traceId: trace, spanId: span, parentId: '' };
  for (const [fields, expected] of [
    [{}, { ...none, sampled: undefined }],
    [{ 'x-b3-sampled': '1' }, { ...none, sampled: true }],
    [
      { 'x-b3-flags': '1', 'x-b3-sampled': '0' },
      { ...none, sampled: true },
    ],
    [
      { 'x-b3-traceid': trace, 'x-b3-spanid': span },
      { ...whole, sampled: undefined },
    ],
    [
      { 'x-b3-traceid': trace, 'x-b3-spanid': span, 'x-b3-parentspanid': span, 'x-b3-sampled': 'false' },
      { ...whole, parentId: span, sampled: false },
    ],
    [{ 'x-b3-traceid': 'xyz', 'x-b3-spanid': span }, 'refused'],
    [{ 'x-b3-traceid': trace, 'x-b3-spanid': '1' }, 'refused'],
    [{ b3: '0' }, { ...none, sampled: false }],
    [{ b3: 'd' }, { ...none, sampled: true }],
    [{ b3: `${trace}-${span}` }, { ...whole, sampled: undefined }],
    [{ b3: `${trace}-${span}-1-${span}` }, { ...whole, parentId: span, sampled: true }],
    [{ b3: `${trace}-${span}-1-x` }, 'refused'],
    [{ b3: trace }, 'refused'],
  ] as const)
    assert.deepEqual(read(fields as Record<string, string>), expected, JSON.stringify(fields));
});

test('B3 is passed on in the form in which it came', () => {
  const one = new HeaderMap(['b3'], ['0']);
  writeB3(one, { traceId: trace, spanId: span, parentId: '', sampled: false });
  assert.deepEqual(one.names, ['b3']);
  assert.equal(one.getFirst('b3'), `${trace}-${span}-0`);
  const many = new HeaderMap();
  writeB3(many, { traceId: trace, spanId: span, parentId: span, sampled: true });
  assert.deepEqual(many.names, ['x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled']);
});

test('ids are random and of their length', () => {
  const ids = new Set(Array.from({ length: 2000 }, () => randomHex(8)));
  assert.equal(ids.size, 2000);
  for (const id of ids) assert.ok(isHexId(id, 16), id);
});

test('spans leave when enough wait; what cannot be sent is counted', () => {
  const sent: number[][] = [];
  let dropped = 0;
  let open = true;
  const queue = new SpanQueue<number>({
    minFlush: () => 3,
    flushIntervalMs: () => 60_000,
    send: (spans) => {
      if (open) sent.push(spans);
      return open;
    },
    onDropped: (count) => (dropped += count),
  });
  for (let i = 0; i < 7; i++) queue.push(i);
  assert.deepEqual(sent, [
    [0, 1, 2],
    [3, 4, 5],
  ]);
  open = false;
  queue.flush(true);
  assert.equal(dropped, 1);
  queue.flush(true);
  assert.equal(dropped, 1);
});
