import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { RateLimitSchema } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { RateLimitUnit } from '#api/gen/envoy/type/v3/ratelimit_unit_pb.ts';
import { RequestHeaderMap } from '../http/header_map.ts';
import { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { StreamInfo } from '../stream_info/stream_info.ts';
import { compileRateLimits, type Descriptor } from './rate_limit_policy.ts';

type Init = MessageInitShape<typeof RateLimitSchema>;

function describe(
  init: object,
  options: { path?: string; ip?: string; metadata?: Record<string, unknown>; inFilter?: boolean } = {},
): Descriptor | undefined {
  const connection = new AcceptedConnectionInfo(
    { ip: '10.0.0.1', port: 80 },
    { ip: options.ip ?? '192.0.2.77', port: 1234 },
  );
  const info = new StreamInfo(connection, 'HTTP/1.1');
  if (options.metadata !== undefined) info.setDynamicMetadata('space', options.metadata);
  const headers = new RequestHeaderMap(['x-user', 'x-user'], ['first', 'second']);
  headers.path = options.path ?? '/';
  const [policy] = compileRateLimits([create(RateLimitSchema, init as Init)], options.inFilter);
  return policy?.describe({
    headers,
    info,
    route: { clusterName: 'to', metadata: { space: { tier: 'gold' } } },
    localCluster: 'from',
  });
}

const action = (kind: string, value: object): object => ({ actionSpecifier: { case: kind, value } });
const key = (descriptorValue: string): object => action('genericKey', { descriptorValue });

test('entries of actions that are seldom seen', () => {
  const cases: [string, object, object, string | undefined][] = [
    [
      'mask, IPv6',
      action('maskedRemoteAddress', { v6PrefixMaskLen: 64 }),
      { ip: '2001:db8::1:2' },
      '2001:db8::/64',
    ],
    ['mask, default', action('maskedRemoteAddress', {}), {}, '192.0.2.77/32'],
    [
      'address in a range',
      action('remoteAddressMatch', {
        descriptorValue: 'known',
        addressMatcher: { ranges: [{ addressPrefix: '192.0.2.0', prefixLen: 24 }] },
      }),
      {},
      'known',
    ],
    [
      'address outside',
      action('remoteAddressMatch', {
        descriptorValue: 'known',
        addressMatcher: { ranges: [{ addressPrefix: '192.0.2.0', prefixLen: 24 }], invertMatch: true },
      }),
      {},
      undefined,
    ],
    ['first of several', action('requestHeaders', { headerName: 'X-User', descriptorKey: 'k' }), {}, 'first'],
    [
      'a bad escape',
      action('queryParameters', { queryParameterName: 'q', descriptorKey: 'k' }),
      { path: '/?q=%zz' },
      '%zz',
    ],
    ['text is not formatted', key('%REQ(x-user)%'), {}, '%REQ(x-user)%'],
  ];
  for (const [name, init, options, value] of cases)
    assert.equal(describe({ actions: [init] }, options)?.entries[0]?.value, value, name);
});

test('limits and hits that the request brings along', () => {
  const metadataKey = { key: 'space', path: [{ segment: { case: 'key' as const, value: 'limit' } }] };
  const init = {
    actions: [key('a')],
    limit: { overrideSpecifier: { case: 'dynamicMetadata', value: { metadataKey } } },
    hitsAddend: { format: '%REQ(x-hits)%', number: 3n },
  };
  const metadata = { limit: { requests_per_unit: 42.9, unit: 'HOUR' } };
  assert.deepEqual(describe(init, { metadata })?.limit, { requestsPerUnit: 42, unit: RateLimitUnit.HOUR });
  assert.equal(
    describe(init, { metadata: { limit: { requests_per_unit: 1, unit: 'NONE' } } })?.limit,
    undefined,
  );
  assert.equal(describe(init)?.limit, undefined);
  const fixed = { actions: [key('a')], hitsAddend: { number: 3n } };
  assert.equal(describe(fixed, { inFilter: true })?.hits, 3);
  assert.equal(describe(fixed)?.hits, undefined);
});

test('what cannot run is refused with its place', () => {
  const cases: [object, RegExp][] = [
    [{}, /^Error: rate_limits\[0\]: actions are missing/],
    [{ stage: 11, actions: [key('a')] }, /stage must be at most 10/],
    [{ actions: [{}] }, /action without a specifier/],
    [{ actions: [action('extension', { name: 'cel' })] }, /action extension cel is not supported/],
    [{ actions: [key('a')], hitsAddend: { isNegativeHits: true } }, /is_negative_hits is not implemented/],
    [{ actions: Array.from({ length: 65 }, () => key('a')) }, /more than 64 actions/],
  ];
  for (const [init, error] of cases) assert.throws(() => describe(init), error);
});
