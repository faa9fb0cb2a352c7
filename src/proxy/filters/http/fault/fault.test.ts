import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, test, type TestContext } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { listen, startProxy } from '../../network/http_connection_manager/testing.ts';
import { fault as faultExtension } from './config.ts';

const upstream = createServer((_request, response) => response.end('real'));
const upstreamPort = await listen(upstream);
upstream.unref();
after(() => upstream.close());

const type = 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault';
const always = { numerator: 100 };

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly ms: number;
  readonly headers: Headers;
  readonly info: StreamInfo | undefined;
}

/** Asks a proxy with this fault on its route. */
async function ask(
  t: TestContext,
  fault: JsonObject,
  headers: Record<string, string> = {},
  random: () => number = Math.random,
): Promise<Answer> {
  const infos: StreamInfo[] = [];
  const proxy = await startProxy({
    clusters: { a: [upstreamPort] },
    filters: [faultExtension],
    random,
    accessLoggers: [{ log: (info) => void infos.push(info) }],
    hcm: {
      http_filters: [
        { name: 'envoy.filters.http.fault', typed_config: { '@type': type } },
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
        },
      ],
    },
    routes: {
      name: 'r',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              match: { prefix: '/' },
              route: { cluster: 'a' },
              typed_per_filter_config: { 'envoy.filters.http.fault': { '@type': type, ...fault } },
            },
          ],
        },
      ],
    },
  });
  t.after(() => proxy.close());
  const start = performance.now();
  const response = await fetch(`http://127.0.0.1:${proxy.port}/`, {
    headers: { connection: 'close', ...headers },
  });
  const body = await response.text();
  return {
    status: response.status,
    body,
    ms: performance.now() - start,
    headers: response.headers,
    info: infos[0],
  };
}

test('aborts with a status', async (t) => {
  const answer = await ask(t, { abort: { http_status: 555, percentage: always } });
  assert.equal(answer.status, 555);
  assert.equal(answer.body, 'fault filter abort');
  assert.equal(answer.info?.responseCodeDetails, 'fault_filter_abort');
  assert.equal(answer.info.responseFlags, 1 << 10);
});

test('aborts gRPC with a gRPC status', async (t) => {
  const answer = await ask(
    t,
    { abort: { grpc_status: 14, percentage: always } },
    { 'content-type': 'application/grpc' },
  );
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('grpc-status'), '14');
  const plain = await ask(t, { abort: { grpc_status: 14, percentage: always } });
  assert.equal(plain.status, 503);
});

test('delays, then goes on', async (t) => {
  const answer = await ask(t, { delay: { fixed_delay: '0.15s', percentage: always } });
  assert.equal(answer.body, 'real');
  assert.ok(answer.ms >= 150, String(answer.ms));
  assert.equal(answer.info?.responseFlags, 1 << 9);
});

test('delays, then aborts', async (t) => {
  const answer = await ask(t, {
    delay: { fixed_delay: '0.05s', percentage: always },
    abort: { http_status: 418, percentage: always },
  });
  assert.equal(answer.status, 418);
  assert.ok(answer.ms >= 50);
});

test('the share decides', async (t) => {
  const fault = { abort: { http_status: 418, percentage: { numerator: 5000, denominator: 'TEN_THOUSAND' } } };
  assert.equal((await ask(t, fault, {}, () => 0.49)).status, 418);
  assert.equal((await ask(t, fault, {}, () => 0.51)).status, 200);
  assert.equal((await ask(t, { abort: { http_status: 418 } }, {}, () => 0)).status, 200);
});

test('only matching requests are hit', async (t) => {
  const abort = { http_status: 418, percentage: always };
  assert.equal((await ask(t, { abort, upstream_cluster: 'b' })).status, 200);
  assert.equal((await ask(t, { abort, upstream_cluster: 'a' })).status, 418);
  const headers = [{ name: 'end-user', string_match: { exact: 'jason' } }];
  assert.equal((await ask(t, { abort, headers })).status, 200);
  assert.equal((await ask(t, { abort, headers }, { 'end-user': 'jason' })).status, 418);
  assert.equal((await ask(t, { abort, max_active_faults: 0 })).status, 200);
});

test('headers may choose the fault where they are let', async (t) => {
  const abort = { header_abort: {}, percentage: always };
  assert.equal((await ask(t, { abort }, { 'x-envoy-fault-abort-request': '429' })).status, 429);
  assert.equal((await ask(t, { abort }, {})).status, 200);
  const delayed = await ask(
    t,
    { delay: { header_delay: {}, percentage: always } },
    { 'x-envoy-fault-delay-request': '60' },
  );
  assert.ok(delayed.ms >= 60);
});

test('configuration that cannot work is refused', async (t) => {
  await assert.rejects(ask(t, { abort: { percentage: always } }), /without a status/);
  await assert.rejects(ask(t, { abort: { http_status: 42 } }), /outside 200-599/);
  await assert.rejects(ask(t, { delay: {} }), /without fixed_delay/);
});
