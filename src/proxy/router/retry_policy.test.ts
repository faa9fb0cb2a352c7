import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { RetryPolicySchema } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { ResetReason } from '../http/codec.ts';
import { HeaderMap, ResponseHeaderMap } from '../http/header_map.ts';
import {
  compileRetryPolicy,
  parseRetryOn,
  rateLimitedDelayMs,
  retriesOnHeaders,
  retriesOnReset,
  retryDelayMs,
} from './retry_policy.ts';

function response(status: number, fields: Record<string, string> = {}): ResponseHeaderMap {
  const headers = new ResponseHeaderMap(Object.keys(fields), Object.values(fields));
  headers.status = status;
  return headers;
}

const onHeaders: readonly (readonly [
  retryOn: string,
  status: number,
  fields: Record<string, string>,
  retry: boolean,
])[] = [
  ['5xx', 500, {}, true],
  ['5xx', 499, {}, false],
  ['gateway-error', 502, {}, true],
  ['gateway-error', 500, {}, false],
  ['retriable-4xx', 409, {}, true],
  ['retriable-4xx', 404, {}, false],
  ['retriable-status-codes', 418, {}, true],
  ['retriable-status-codes', 419, {}, false],
  ['retriable-headers', 200, { 'x-again': '1' }, true],
  ['retriable-headers', 200, {}, false],
  ['connect-failure', 503, {}, false],
  ['cancelled', 200, { 'grpc-status': '1' }, true],
  ['deadline-exceeded', 200, { 'grpc-status': '4' }, true],
  ['resource-exhausted', 200, { 'grpc-status': '8' }, true],
  ['internal', 200, { 'grpc-status': '13' }, true],
  ['unavailable', 200, { 'grpc-status': '14' }, true],
  ['unavailable', 200, { 'grpc-status': '0' }, false],
  ['5xx', 503, { 'x-envoy-ratelimited': 'true' }, false],
  ['envoy-ratelimited', 503, { 'x-envoy-ratelimited': 'true' }, true],
];

for (const [retryOn, status, fields, retry] of onHeaders) {
  test(`${retryOn} and ${status} ${JSON.stringify(fields)}: ${retry ? 'again' : 'enough'}`, () => {
    const again = [(headers: HeaderMap) => headers.has('x-again')];
    assert.equal(retriesOnHeaders(parseRetryOn(retryOn), response(status, fields), [418], again), retry);
  });
}

const onReset: readonly (readonly [
  retryOn: string,
  reason: ResetReason,
  started: boolean,
  retry: boolean,
])[] = [
  ['connect-failure', ResetReason.remoteConnectionFailure, false, true],
  ['connect-failure', ResetReason.localConnectionFailure, false, true],
  ['connect-failure', ResetReason.connectionTimeout, false, true],
  ['connect-failure', ResetReason.connectionTermination, true, false],
  ['refused-stream', ResetReason.remoteRefusedStreamReset, true, true],
  ['refused-stream', ResetReason.remoteReset, true, false],
  ['reset', ResetReason.connectionTermination, true, true],
  ['reset-before-request', ResetReason.connectionTermination, true, false],
  ['reset-before-request', ResetReason.remoteConnectionFailure, false, true],
  ['5xx', ResetReason.remoteReset, true, true],
  ['gateway-error', ResetReason.remoteReset, true, true],
  ['reset', ResetReason.overflow, false, false],
  ['5xx', ResetReason.overflow, false, false],
];

for (const [retryOn, reason, started, retry] of onReset) {
  test(`${retryOn} and ${reason}: ${retry ? 'again' : 'enough'}`, () => {
    assert.equal(retriesOnReset(parseRetryOn(retryOn), reason, started), retry);
  });
}

test('unknown names are ignored, lists may have spaces', () => {
  assert.equal(parseRetryOn('5xx, reset,nonsense'), parseRetryOn('reset,5xx'));
  assert.equal(parseRetryOn(''), 0);
});

test('waits double up to the bound and spread from nothing', () => {
  const policy = compileRetryPolicy(create(RetryPolicySchema, {}));
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].map((n) => retryDelayMs(policy, n, 0.9999)),
    [24, 49, 99, 199, 249, 249],
  );
  assert.equal(retryDelayMs(policy, 3, 0), 0);
});

test('the upstream may ask for a wait', () => {
  const policy = compileRetryPolicy(
    create(RetryPolicySchema, {
      rateLimitedRetryBackOff: {
        resetHeaders: [
          { name: 'Retry-After', format: 0 },
          { name: 'X-Reset', format: 1 },
        ],
        maxInterval: { seconds: 60n },
      },
    }),
  );
  assert.ok(policy.rateLimited !== undefined);
  const wait = (fields: Record<string, string>): number | undefined =>
    rateLimitedDelayMs(policy.rateLimited!, response(503, fields), 1_000_000, 0);
  assert.equal(wait({ 'retry-after': '2' }), 2000);
  assert.equal(wait({ 'retry-after': '61' }), undefined);
  assert.equal(wait({ 'x-reset': '1005' }), 5000);
  assert.equal(wait({ 'retry-after': 'soon' }), undefined);
});

test('bad policies are refused', () => {
  const bad = (init: Parameters<typeof create<typeof RetryPolicySchema>>[1], message: RegExp): void =>
    assert.throws(() => compileRetryPolicy(create(RetryPolicySchema, init)), message);
  bad({ retryHostPredicate: [{ name: 'nobody' }] }, /nobody/);
  bad({ retryBackOff: { baseInterval: { nanos: 1 } } }, /below 1 ms/);
  bad({ retryBackOff: { baseInterval: { seconds: 2n }, maxInterval: { seconds: 1n } } }, /max_interval/);
});
