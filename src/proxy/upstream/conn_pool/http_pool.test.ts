import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { leastRequest } from '../../load_balancing_policies/least_request/least_request.ts';
import { random } from '../../load_balancing_policies/random/random.ts';
import { roundRobin } from '../../load_balancing_policies/round_robin/round_robin.ts';
import type { RequestEncoder } from '../../http/codec.ts';
import { noSecrets } from '../../network/secret.ts';
import { ExtensionRegistry } from '../../registry.ts';
import { LiveClusterManager } from '../cluster_manager.ts';
import type { LiveCluster } from '../cluster.ts';
import {
  type ClusterInit,
  answering,
  getHeaders,
  loadContext,
  request,
  serve,
  staticCluster,
  until,
} from '../testing.ts';
import type { HttpConnPool } from './http_pool.ts';

const registry = new ExtensionRegistry({ load_balancing_policy: [roundRobin, leastRequest, random] });

function cluster(t: TestContext, endpoints: readonly string[], more: ClusterInit = {}): LiveCluster {
  const manager = new LiveClusterManager({ registry, sockets: { secrets: noSecrets } });
  t.after(() => manager.close());
  manager.stage(staticCluster(endpoints, more)).activate();
  const made = manager.get('c');
  assert.ok(made !== undefined);
  return made;
}

function poolOf(from: LiveCluster): HttpConnPool {
  const host = from.chooseHost(loadContext());
  assert.ok(host !== undefined);
  return from.httpPool(host, 'default', 'HTTP/1.1', loadContext());
}

function balanced(from: LiveCluster): void {
  const resources = from.resources('default');
  assert.deepEqual(
    [
      resources.requests,
      resources.pendingRequests,
      from.stats.upstreamRqActive,
      from.hosts()[0]?.activeRequests,
    ],
    [0, 0, 0, 0],
  );
}

test('requests one after the other share a connection, requests at once get their own', async (t) => {
  const server = await serve(t, answering('hello'));
  const on = cluster(t, [server.at]);
  const pool = poolOf(on);
  const first = await request(pool);
  assert.deepEqual([first.status, first.body, first.reused], [200, 'hello', false]);
  const second = await request(pool);
  assert.deepEqual(
    [second.body, second.reused, second.connectionId === first.connectionId],
    ['hello', true, true],
  );
  assert.equal(server.sockets.length, 1);
  const many = await Promise.all([request(pool), request(pool), request(pool)]);
  assert.ok(many.every((outcome) => outcome.status === 200));
  assert.equal(server.sockets.length, 3);
  assert.equal(on.stats.upstreamCxTotal, 3);
  assert.equal(on.stats.upstreamRqTotal, 5);
  balanced(on);
  // The connection used last is used first.
  const last = await request(pool);
  assert.equal((await request(pool)).connectionId, last.connectionId);
});

test('a refused connect fails the request with the text of Envoy', async (t) => {
  const server = await serve(t, () => {});
  await new Promise((resolve) => server.server.close(resolve));
  const on = cluster(t, [server.at]);
  assert.deepEqual(await request(poolOf(on)), {
    failure: 'remote_connection_failure',
    transportFailure: 'delayed connect error: Connection refused',
  });
  assert.equal(on.stats.upstreamCxConnectFail, 1);
  assert.equal(on.resources('default').connections, 0);
  balanced(on);
});

test('connect timeout', async (t) => {
  // A listener whose queue is full does not answer; a wrapped handshake that never ends stands for it here.
  const server = await serve(t, () => {});
  const silent = {
    name: 'silent',
    typeUrls: [],
    create: () => ({
      secure: true,
      ready: true,
      applicationProtocols: [],
      onReady: (callback: () => void) => callback(),
      wrap() {},
      close() {},
    }),
  };
  const own = new ExtensionRegistry({
    load_balancing_policy: [roundRobin],
    'transport_socket.upstream': [silent],
  });
  const manager = new LiveClusterManager({ registry: own, sockets: { secrets: noSecrets } });
  t.after(() => manager.close());
  const config = { connectTimeout: { seconds: 0n, nanos: 50_000_000 }, transportSocket: { name: 'silent' } };
  manager.stage(staticCluster([server.at], config as ClusterInit)).activate();
  const start = performance.now();
  assert.deepEqual(await request(poolOf(manager.get('c')!)), { failure: 'timeout', transportFailure: '' });
  assert.ok(performance.now() - start >= 50);
});

test('a loop that was held for longer than the connect timeout takes the connection that is there', async (t) => {
  const server = await serve(t, answering('hello'));
  const config = { connectTimeout: { seconds: 0n, nanos: 10_000_000 } };
  const pool = poolOf(cluster(t, [server.at], config as ClusterInit));
  // After immediates the loop runs timers, then polls. The kernel of this machine accepts by itself meanwhile.
  const { promise, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof request>>>();
  setImmediate(() => {
    resolve(request(pool));
    process.nextTick(() => {
      const end = performance.now() + 60;
      while (performance.now() < end);
    });
  });
  assert.equal((await promise).status, 200);
});

test('a connection that ends before the response resets the stream and says whether it was reused', async (t) => {
  let answers = 1;
  const server = await serve(t, (socket) => {
    socket.on('data', () => {
      if (answers-- > 0) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      else socket.destroy();
    });
  });
  const on = cluster(t, [server.at]);
  const pool = poolOf(on);
  assert.equal((await request(pool)).status, 200);
  const lost = await request(pool);
  assert.deepEqual([lost.reset, lost.reused], ['connection termination', true]);
  const fresh = await request(pool);
  assert.deepEqual([fresh.reset, fresh.reused], ['connection termination', false]);
  await until(() => on.resources('default').connections === 0, 'connections released');
  balanced(on);
});

test('an idle connection that the peer closes is not used again', async (t) => {
  const server = await serve(t, answering('x'));
  const pool = poolOf(cluster(t, [server.at]));
  await request(pool);
  server.sockets[0]!.end();
  await until(() => pool.size === 0, 'the pool noticed');
  assert.equal((await request(pool)).reused, false);
});

test('connection: close and max_requests_per_connection end a connection after its response', async (t) => {
  const server = await serve(t, (socket) => {
    socket.on('data', () =>
      socket.write('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok'),
    );
  });
  const closing = poolOf(cluster(t, [server.at]));
  assert.equal((await request(closing)).body, 'ok');
  await until(() => closing.size === 0, 'closed');
  const other = await serve(t, answering('x'));
  const limited = poolOf(cluster(t, [other.at], { maxRequestsPerConnection: 2 } as ClusterInit));
  const ids: unknown[] = [];
  for (let i = 0; i < 4; i++) ids.push((await request(limited)).connectionId);
  assert.deepEqual([ids[0] === ids[1], ids[1] === ids[2], ids[2] === ids[3]], [true, false, true]);
});

test('circuit breakers: requests wait, the queue is bounded, requests overflow', async (t) => {
  const open: Socket[] = [];
  const server = await serve(t, (socket) => {
    socket.on('data', () => open.push(socket));
  });
  const thresholds = [{ priority: 0, maxConnections: 1, maxPendingRequests: 1 }];
  const on = cluster(t, [server.at], { circuitBreakers: { thresholds } } as ClusterInit);
  const pool = poolOf(on);
  const first = request(pool);
  await until(() => open.length === 1, 'first request arrived');
  const second = request(pool);
  assert.deepEqual(await request(pool), { failure: 'overflow', transportFailure: '' });
  assert.equal(on.stats.upstreamRqPendingOverflow, 1);
  assert.equal(on.stats.upstreamCxOverflow, 1);
  open[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal((await first).status, 200);
  await until(() => open.length === 2, 'second request took the connection');
  open[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal((await second).reused, true);
  const tight = cluster(t, [server.at], {
    circuitBreakers: { thresholds: [{ priority: 0, maxRequests: 0 }] },
  } as ClusterInit);
  assert.equal((await request(poolOf(tight))).failure, 'overflow');
  balanced(tight);
});

test('a waiting request can be cancelled, and a connect failure fails all that wait', async (t) => {
  const server = await serve(t, () => {});
  await new Promise((resolve) => server.server.close(resolve));
  const on = cluster(t, [server.at]);
  const pool = poolOf(on);
  const outcomes = Promise.all([request(pool), request(pool), request(pool)]);
  const never = {
    onPoolReady: () => assert.fail('cancelled'),
    onPoolFailure: () => assert.fail('cancelled'),
  };
  const cancellable = pool.newStream({} as never, never);
  assert.ok(cancellable !== undefined);
  cancellable.cancel();
  assert.equal(on.resources('default').pendingRequests, 3);
  for (const outcome of await outcomes) assert.equal(outcome.failure, 'remote_connection_failure');
  balanced(on);
});

test('idle timeout closes idle connections only', async (t) => {
  const slow: Socket[] = [];
  const server = await serve(t, (socket) => {
    socket.on('data', () => slow.push(socket));
  });
  const idle = { commonHttpProtocolOptions: { idleTimeout: { seconds: 0n, nanos: 60_000_000 } } };
  const on = cluster(t, [server.at], idle as ClusterInit);
  const pool = poolOf(on);
  const busy = request(pool);
  await until(() => slow.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(pool.size, 1);
  slow[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal((await busy).status, 200);
  const start = performance.now();
  await until(() => pool.size === 0, 'idle connection closed');
  assert.ok(performance.now() - start >= 50);
});

test('draining lets requests finish and closes idle connections', async (t) => {
  const slow: Socket[] = [];
  const server = await serve(t, (socket) => {
    socket.on('data', () => slow.push(socket));
  });
  const on = cluster(t, [server.at]);
  const pool = poolOf(on);
  const pending = request(pool);
  await until(() => slow.length === 1);
  pool.drain();
  assert.equal(pool.size, 1);
  slow[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
  assert.equal((await pending).body, 'ok');
  await until(() => pool.size === 0);
});

test('a stream reset by us closes the connection and gives its counts back', async (t) => {
  const server = await serve(t, () => {});
  const on = cluster(t, [server.at]);
  const pool = poolOf(on);
  let encoder: RequestEncoder | undefined;
  void request(pool, {
    onReady(given) {
      encoder = given;
      given.encodeHeaders(getHeaders(), true);
    },
  });
  await until(() => encoder !== undefined);
  assert.equal(on.resources('default').requests, 1);
  encoder!.reset('local reset');
  await until(() => pool.size === 0);
  balanced(on);
  assert.equal(on.resources('default').connections, 0);
});

test('source address and keepalive', async (t) => {
  const server = await serve(t, answering('x'));
  const on = cluster(t, [server.at], {
    upstreamBindConfig: {
      sourceAddress: { address: '127.0.0.6', portSpecifier: { case: 'portValue', value: 0 } },
    },
    upstreamConnectionOptions: {
      tcpKeepalive: { keepaliveTime: 30, keepaliveInterval: 5, keepaliveProbes: 3 },
    },
  } as ClusterInit);
  assert.equal((await request(poolOf(on))).status, 200);
  assert.equal(server.sockets[0]?.remoteAddress, '127.0.0.6');
});

test('preconnect: connections ahead of the streams', async (t) => {
  const server = await serve(t, answering('x'));
  const on = cluster(t, [server.at], { preconnectPolicy: { perUpstreamPreconnectRatio: 2 } } as ClusterInit);
  const pool = poolOf(on);
  await request(pool);
  await until(() => server.sockets.length === 2, 'the second connection');
  await Promise.all([request(pool), request(pool)]);
  await until(() => server.sockets.length >= 4, 'two more for two at once');
  balanced(on);
  const refused = { preconnectPolicy: { perUpstreamPreconnectRatio: 4 } } as ClusterInit;
  assert.throws(
    () => cluster(t, [server.at], refused),
    /per_upstream_preconnect_ratio: 4 is not between 1 and 3/,
  );
});
