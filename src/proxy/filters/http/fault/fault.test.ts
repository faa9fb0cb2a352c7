import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { HTTPFaultSchema } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import {
  FilterStatus,
  type FilterCallbacks,
  type FilterRoute,
  type LocalReply,
} from '../../../http/filter.ts';
import { RequestHeaderMap } from '../../../http/header_map.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { formatResponseFlags } from '../../../stream_info/response_flags.ts';
import { StreamInfo } from '../../../stream_info/stream_info.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { RuntimeValues } from '../../../network/runtime.ts';
import { compileFault, FaultFilter, type FaultShared } from './fault.ts';

const all = { numerator: 100, denominator: 0 } as const;
const name = 'envoy.filters.http.fault';

type Init = MessageInitShape<typeof HTTPFaultSchema>;

function run(
  route: Init | undefined,
  options: { random?: number; header?: [string, string]; active?: number; own?: Init } = {},
) {
  const replies: LocalReply[] = [];
  let continued = 0;
  const address = { ip: '127.0.0.1', port: 1 };
  const streamInfo = new StreamInfo(new AcceptedConnectionInfo(address, address), 'HTTP/1.1');
  const compiled = route === undefined ? undefined : compileFault(create(HTTPFaultSchema, route));
  const found: FilterRoute = {
    name: 'r',
    clusterName: 'c',
    metadata: undefined,
    perFilterConfig: (filter) => (filter === name ? compiled : undefined),
  };
  const callbacks = {
    streamInfo,
    route: () => found,
    continueDecoding: () => void continued++,
    sendLocalReply: (reply: LocalReply) => void replies.push(reply),
  } as unknown as FilterCallbacks;
  const own = compileFault(create(HTTPFaultSchema, options.own ?? {}));
  const metrics = new MetricsRegistry();
  const shared: FaultShared = {
    filterName: name,
    own,
    runtime: new RuntimeValues(),
    active: metrics.gauge('active', {}),
    aborts: metrics.counter('aborts', {}),
    delays: metrics.counter('delays', {}),
    overflow: metrics.counter('overflow', {}),
    random: () => options.random ?? 0,
  };
  shared.active.add(options.active ?? 0);
  const filter = new FaultFilter(callbacks, shared);
  const headers = new RequestHeaderMap();
  if (options.header !== undefined) headers.add(...options.header);
  const status = filter.decodeHeaders(headers);
  return { status, replies, filter, streamInfo, shared, continued: () => continued };
}

test('a share of requests is aborted', () => {
  const abort: Init = {
    abort: { errorType: { case: 'httpStatus', value: 555 }, percentage: { numerator: 50, denominator: 0 } },
  };
  const hit = run(abort, { random: 0.49 });
  assert.equal(hit.status, FilterStatus.stopIteration);
  assert.deepEqual(
    hit.replies.map(({ status, body, details, flags }) => [
      status,
      body,
      details,
      formatResponseFlags(flags),
    ]),
    [[555, 'fault filter abort', 'fault_filter_abort', 'FI']],
  );
  assert.equal(run(abort, { random: 0.5 }).status, FilterStatus.continue);
});

test('gRPC status', () => {
  const { replies } = run({ abort: { errorType: { case: 'grpcStatus', value: 14 }, percentage: all } });
  assert.deepEqual([replies[0]!.status, replies[0]!.grpcStatus], [200, 14]);
});

test('a delay holds the request, then lets it go or aborts it', async () => {
  const delay: Init = {
    delay: {
      faultDelaySecifier: { case: 'fixedDelay', value: { seconds: 0n, nanos: 30_000_000 } },
      percentage: all,
    },
  };
  const held = run(delay);
  assert.equal(held.status, FilterStatus.stopIteration);
  assert.equal(held.continued(), 0);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(held.continued(), 1);
  assert.equal(formatResponseFlags(held.streamInfo.responseFlags), 'DI');
  const both = run({ ...delay, abort: { errorType: { case: 'httpStatus', value: 500 }, percentage: all } });
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.deepEqual([both.continued(), both.replies.length], [0, 1]);
  const gone = run(delay);
  gone.filter.onDestroy();
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.deepEqual([gone.continued(), gone.shared.active.value], [0, 0]);
});

test('conditions: headers, cluster, faults under way; the route beats the filter', () => {
  const abort: Init = { abort: { errorType: { case: 'httpStatus', value: 500 }, percentage: all } };
  const forJason: Init = {
    ...abort,
    headers: [{ name: 'end-user', headerMatchSpecifier: { case: 'exactMatch', value: 'jason' } }],
  };
  assert.equal(run(forJason).status, FilterStatus.continue);
  assert.equal(run(forJason, { header: ['end-user', 'jason'] }).status, FilterStatus.stopIteration);
  assert.equal(run({ ...abort, upstreamCluster: 'other' }).status, FilterStatus.continue);
  assert.equal(run({ ...abort, maxActiveFaults: 1 }, { active: 1 }).status, FilterStatus.continue);
  assert.equal(run(undefined, { own: abort }).status, FilterStatus.stopIteration);
  assert.equal(run({}, { own: abort }).status, FilterStatus.continue);
});

test('headers ask for faults, up to the share that is allowed', () => {
  const byHeader: Init = { abort: { errorType: { case: 'headerAbort', value: {} }, percentage: all } };
  const status = (route: Init, header: [string, string], random = 0) =>
    run(route, { header, random }).replies[0]?.status;
  assert.equal(status(byHeader, ['x-envoy-fault-abort-request', '503']), 503);
  assert.equal(status(byHeader, ['x-envoy-fault-abort-request', '600']), undefined);
  assert.equal(status(byHeader, ['x-other', '503']), undefined);
  assert.deepEqual(
    run(byHeader, { header: ['x-envoy-fault-abort-grpc-request', '7'] }).replies.map(
      ({ grpcStatus }) => grpcStatus,
    ),
    [7],
  );
  const half: Init = {
    abort: { errorType: { case: 'headerAbort', value: {} }, percentage: { numerator: 50, denominator: 0 } },
  };
  assert.equal(status(half, ['x-envoy-fault-abort-request', '503'], 0.6), undefined);
});

test('what is refused', () => {
  assert.throws(
    () => compileFault(create(HTTPFaultSchema, { responseRateLimit: {} })),
    /response_rate_limit is not supported/,
  );
});
