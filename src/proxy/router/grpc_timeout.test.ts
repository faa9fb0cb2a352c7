import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestHeaderMap } from '../http/header_map.ts';
import { formatGrpcTimeout, responseGrpcTimeoutMs, streamGrpcTimeoutMs } from './grpc_timeout.ts';
import type { ForwardAction } from './route_entry.ts';

function call(timeout: string | undefined, contentType = 'application/grpc'): RequestHeaderMap {
  const headers = new RequestHeaderMap(['content-type'], [contentType]);
  if (timeout !== undefined) headers.add('grpc-timeout', timeout);
  return headers;
}

function action(max: number | undefined, limitsStream: boolean, offset = 0): ForwardAction {
  const parts = { grpcTimeoutMaxMs: max, grpcLimitsStream: limitsStream, grpcTimeoutOffsetMs: offset };
  return parts as unknown as ForwardAction;
}

test('max_grpc_timeout limits the response', () => {
  const cases: readonly (readonly [number | undefined, number, string | undefined, number | undefined])[] = [
    [undefined, 0, '1S', undefined],
    [0, 0, '1S', 1000],
    [500, 0, '1S', 500],
    [5000, 0, '1S', 1000],
    [5000, 200, '1S', 800],
    [5000, 2000, '1S', 1000],
    [5000, 0, undefined, 5000],
    [5000, 0, 'soon', 5000],
  ];
  for (const [max, offset, header, expected] of cases)
    assert.equal(
      responseGrpcTimeoutMs(action(max, false, offset), call(header)),
      expected,
      `${max} ${header}`,
    );
  assert.equal(responseGrpcTimeoutMs(action(0, false), call('1S', 'text/plain')), undefined);
});

test('grpc_timeout_header_max limits the stream, and the upstream is told', () => {
  const cases: readonly (readonly [number, number, string, number])[] = [
    [0, 0, '1S', 1000],
    [300, 0, '1S', 300],
    [0, 400, '1S', 600],
    [0, 4000, '1S', 0],
  ];
  for (const [max, offset, header, expected] of cases) {
    const headers = call(header);
    assert.equal(streamGrpcTimeoutMs(action(max, true, offset), headers), expected);
    assert.equal(headers.get('grpc-timeout'), `${expected}m`);
  }
  assert.equal(streamGrpcTimeoutMs(action(0, true), call(undefined)), undefined);
  assert.equal(streamGrpcTimeoutMs(action(0, false), call('1S')), undefined);
});

test('the header has eight digits at most', () => {
  assert.deepEqual([1.2, 99_999_999, 100_000_000, 1e12, 1e15].map(formatGrpcTimeout), [
    '2m',
    '99999999m',
    '100000S',
    '16666667M',
    '99999999H',
  ]);
});
