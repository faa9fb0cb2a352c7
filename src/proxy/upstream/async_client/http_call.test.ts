import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { roundRobin } from '../../load_balancing_policies/round_robin/round_robin.ts';
import { RequestHeaderMap } from '../../http/header_map.ts';
import type { LiveClusterManager } from '../cluster_manager.ts';
import { answering, serve, until } from '../testing.ts';
import { HttpCall, type HttpCallOptions } from './http_call.ts';
import { managerWith } from './testing.ts';

interface Outcome {
  status?: number;
  body?: string;
  failure?: string;
  details?: string;
}

function headersOf(method: string, path: string): RequestHeaderMap {
  return Object.assign(new RequestHeaderMap(), { method, path, scheme: 'http', authority: 'service' });
}

function call(
  manager: LiveClusterManager,
  more: Partial<HttpCallOptions> = {},
): { outcome: Promise<Outcome>; call: HttpCall } {
  let resolve: (outcome: Outcome) => void = () => {};
  const outcome = new Promise<Outcome>((done) => {
    resolve = done;
  });
  const options = { clusterName: 'c', headers: headersOf('GET', '/'), timeoutMs: 1000, ...more };
  const made = new HttpCall(options, {
    onResponse: (headers, body) => resolve({ status: headers.status, body: body.toString() }),
    onFailure: (failure, details) => resolve({ failure, details }),
  });
  made.start(manager);
  return { outcome, call: made };
}

test('a call with a body, and one that reuses its connection', async (t) => {
  let seen = '';
  const server = await serve(t, (socket: Socket) => {
    socket.on('data', (data: Buffer) => {
      seen += data.toString();
      socket.write('HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok');
    });
  });
  const manager = managerWith(t, roundRobin, [server.at]);
  const headers = headersOf('POST', '/check?x=1');
  assert.deepEqual(await call(manager, { headers, body: Buffer.from('question') }).outcome, {
    status: 201,
    body: 'ok',
  });
  assert.match(seen, /^POST \/check\?x=1 HTTP\/1\.1\r\nhost: service\r\ncontent-length: 8\r\n\r\nquestion$/);
  assert.deepEqual(await call(manager).outcome, { status: 201, body: 'ok' });
  assert.equal(server.sockets.length, 1);
  const cluster = manager.get('c');
  assert.equal(cluster?.stats.upstreamRqTotal, 2);
  await until(() => cluster?.stats.upstreamRqActive === 0);
});

test('what keeps a call from a response', async (t) => {
  const silent = await serve(t, () => {});
  const chatty = await serve(t, answering('x'.repeat(100)));
  const rude = await serve(t, (socket) => void socket.on('data', () => socket.destroy()));
  const gone = await serve(t, () => {});
  gone.server.close();
  const cases: [string, readonly string[], Partial<HttpCallOptions>, object, string][] = [
    ['no such cluster', [], { clusterName: 'other' }, {}, 'no_cluster'],
    ['no host', [], {}, {}, 'no_healthy_host'],
    ['no answer', [silent.at], { timeoutMs: 20 }, {}, 'timeout'],
    ['a long answer', [chatty.at], { maxResponseBytes: 99 }, {}, 'response_too_large'],
    ['closed without an answer', [rude.at], {}, {}, 'reset'],
    ['nobody listens', [gone.at], {}, {}, 'connection_failure'],
    [
      'circuit breaker',
      [silent.at],
      {},
      { circuitBreakers: { thresholds: [{ maxPendingRequests: 0 }] } },
      'overflow',
    ],
  ];
  for (const [name, endpoints, options, cluster, failure] of cases) {
    const manager = managerWith(t, roundRobin, endpoints, cluster);
    const outcome = await call(manager, options).outcome;
    assert.equal(outcome.failure, failure, name);
    await until(() => manager.get('c')?.stats.upstreamRqActive === 0, name);
  }
});

test('a timeout is counted, and a body up to the bound is taken', async (t) => {
  const silent = await serve(t, () => {});
  const manager = managerWith(t, roundRobin, [silent.at]);
  await call(manager, { timeoutMs: 10 }).outcome;
  const stats = manager.get('c')?.stats;
  assert.equal(stats?.upstreamRqTimeout, 1);
  const chatty = await serve(t, answering('x'.repeat(100)));
  const outcome = await call(managerWith(t, roundRobin, [chatty.at]), { maxResponseBytes: 100 }).outcome;
  assert.equal(outcome.body?.length, 100);
});

test('a cancelled call is silent and leaves no stream behind', async (t) => {
  let asked = 0;
  const silent = await serve(t, (socket) => void socket.on('data', () => asked++));
  const manager = managerWith(t, roundRobin, [silent.at]);
  const waiting = call(manager);
  waiting.call.cancel();
  const sent = call(manager);
  await until(() => asked === 1);
  sent.call.cancel();
  sent.call.cancel();
  const stats = manager.get('c')?.stats;
  await until(() => stats?.upstreamRqActive === 0 && stats.upstreamCxActive === 0);
  const silence = Symbol('silence');
  const spoken = await Promise.race([waiting.outcome, sent.outcome, Promise.resolve(silence)]);
  assert.equal(spoken, silence);
});
