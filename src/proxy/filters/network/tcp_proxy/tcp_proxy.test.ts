import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { type TestContext, after, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { TcpProxySchema } from '#api/gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts';
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { ListenerManager } from '../../../listener_manager/listener_manager.ts';
import { testContext } from '../../../listener_manager/testing.ts';
import { roundRobin } from '../../../load_balancing_policies/round_robin/round_robin.ts';
import { AcceptedConnectionInfo } from '../../../network/connection_info.ts';
import { noSecrets } from '../../../network/secret.ts';
import { ExtensionRegistry } from '../../../registry.ts';
import { formatResponseFlags } from '../../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { downstreamTls } from '../../../transport_sockets/tls/downstream.ts';
import { TestAuthority, certificateOf, trust } from '../../../transport_sockets/tls/testing.ts';
import { upstreamTls } from '../../../transport_sockets/tls/upstream.ts';
import { LiveClusterManager } from '../../../upstream/cluster_manager.ts';
import { type ClusterInit, serve, staticCluster, until } from '../../../upstream/testing.ts';
import { sniCluster } from '../sni_cluster/sni_cluster.ts';
import { clusterOverride } from './cluster_override.ts';
import { tcpProxy } from './config.ts';

const authority = new TestAuthority('tcp');
after(() => authority.close());
const identity = authority.issue('URI:spiffe://td/ns/a/sa/a');

interface Proxy {
  readonly port: number;
  readonly logs: StreamInfo[];
  readonly clusters: LiveClusterManager;
}

/** A listener with tcp_proxy in front of clusters by name. */
async function proxy(
  t: TestContext,
  config: object,
  clusters: Readonly<Record<string, readonly string[]>>,
  options: { tls?: 'downstream' | 'upstream'; cluster?: ClusterInit } = {},
): Promise<Proxy> {
  const lists = {
    network_filter: [tcpProxy],
    load_balancing_policy: [roundRobin],
    'transport_socket.downstream': [downstreamTls],
    'transport_socket.upstream': [upstreamTls],
  };
  const shared = { tlsCertificates: [certificateOf(identity)], ...trust(authority.cert) };
  const upstreamAny = anyPack(
    UpstreamTlsContextSchema,
    create(UpstreamTlsContextSchema, { commonTlsContext: shared } as never),
  );
  const downstreamAny = anyPack(
    DownstreamTlsContextSchema,
    create(DownstreamTlsContextSchema, { commonTlsContext: shared, requireClientCertificate: true } as never),
  );
  const socketOf = (value: object) => ({
    transportSocket: { name: 'tls', configType: { case: 'typedConfig', value } },
  });
  const sockets = { secrets: noSecrets };
  const manager = new LiveClusterManager({ registry: new ExtensionRegistry(lists), sockets });
  for (const [name, endpoints] of Object.entries(clusters)) {
    const tls = options.tls === 'upstream' ? socketOf(upstreamAny) : {};
    manager.stage(staticCluster(endpoints, { name, ...tls, ...options.cluster } as ClusterInit)).activate();
  }
  const logs: StreamInfo[] = [];
  const listeners = new ListenerManager({ sockets });
  t.after(() => {
    listeners.close();
    manager.close();
  });
  const any = anyPack(
    TcpProxySchema,
    create(TcpProxySchema, { statPrefix: 'x', accessLog: [{ name: 'x' }], ...config } as never),
  );
  const listener = create(ListenerSchema, {
    name: 'l',
    address: {
      address: {
        case: 'socketAddress',
        value: { address: '127.0.0.1', portSpecifier: { case: 'portValue', value: 0 } },
      },
    },
    filterChains: [
      {
        filters: [{ name: 'tcp', configType: { case: 'typedConfig', value: any } }],
        ...(options.tls === 'downstream' ? socketOf(downstreamAny) : {}),
      },
    ],
  } as never);
  const context = testContext(lists, {
    clusterManager: manager,
    accessLoggers: () => [{ log: (info) => void logs.push(info) }],
  });
  const staged = listeners.stage(listener, context);
  await new Promise<void>((resolve, reject) =>
    staged.activate((error) => (error === undefined ? resolve() : reject(error))),
  );
  return { port: listeners.get('l')!.boundAddresses[0]!.port, logs, clusters: manager };
}

async function dial(t: TestContext, port: number, allowHalfOpen = false): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen });
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (data: Buffer) => (text += data.toString()));
  await once(socket, 'end');
  return text;
}

const toA = { clusterSpecifier: { case: 'cluster', value: 'a' } };

test('bytes both ways, half-close both ways, one log line', async (t) => {
  // The server answers only after the client has ended its side.
  let seenPort: number | undefined;
  const server = await serve(t, (socket) => {
    let text = '';
    seenPort = socket.remotePort;
    socket.on('data', (data: Buffer) => (text += data.toString()));
    socket.on('end', () => setTimeout(() => socket.end(`got ${text}`), 20));
  });
  const { port, logs, clusters } = await proxy(t, toA, { a: [server.at] });
  const client = await dial(t, port, true);
  client.end('hello');
  assert.equal(await readAll(client), 'got hello');
  await until(() => logs.length === 1, 'log line');
  const [info] = logs;
  assert.deepEqual(
    [info?.bytesReceived, info?.bytesSent, formatResponseFlags(info?.responseFlags ?? -1)],
    [5, 9, '-'],
  );
  assert.equal(info?.clusterName, 'a');
  assert.equal(info?.upstream?.hostAddress?.port, server.port);
  assert.equal(info?.upstream?.localAddress?.port, seenPort);
  assert.equal(clusters.get('a')?.resources('default').connections, 0);
});

test('a server that speaks first and ends first', async (t) => {
  const server = await serve(t, (socket) => {
    socket.end('220 ready');
    socket.on('data', () => {});
  });
  const { port, logs } = await proxy(t, toA, { a: [server.at] });
  const client = await dial(t, port);
  assert.equal(await readAll(client), '220 ready');
  await until(() => logs.length === 1);
});

test('no host, no cluster, refused, overflow: flags as Envoy sets them', async (t) => {
  const gone = await serve(t, () => {});
  await new Promise((resolve) => gone.server.close(resolve));
  const open = await serve(t, () => {});
  const limit = { circuitBreakers: { thresholds: [{ priority: 0, maxConnections: 0 }] } } as ClusterInit;
  const cases: [string, Proxy][] = [
    ['UH', await proxy(t, toA, { a: [] })],
    ['NC', await proxy(t, { clusterSpecifier: { case: 'cluster', value: 'none' } }, {})],
    ['UF,URX', await proxy(t, toA, { a: [gone.at] })],
    ['UF,URX', await proxy(t, { ...toA, maxConnectAttempts: 3 }, { a: [gone.at] })],
    ['UO', await proxy(t, toA, { a: [open.at] }, { cluster: limit })],
  ];
  for (const [flags, { port, logs }] of cases) {
    const client = await dial(t, port);
    assert.equal(await readAll(client), '');
    await until(() => logs.length === 1, flags);
    assert.equal(formatResponseFlags(logs[0]!.responseFlags), flags);
  }
  assert.equal(cases[3]![1].logs[0]!.attemptCount, 3);
  assert.equal(
    cases[2]![1].logs[0]!.upstream?.transportFailureReason,
    'delayed connect error: Connection refused',
  );
});

test('another attempt reaches another host', async (t) => {
  const gone = await serve(t, () => {});
  await new Promise((resolve) => gone.server.close(resolve));
  const good = await serve(t, (socket) => socket.end('ok'));
  const { port, logs } = await proxy(t, { ...toA, maxConnectAttempts: 2 }, { a: [gone.at, good.at] });
  for (let i = 0; i < 4; i++) assert.equal(await readAll(await dial(t, port)), 'ok');
  await until(() => logs.length === 4);
  assert.ok(logs.some((info) => info.attemptCount === 2));
});

test('weighted clusters', async (t) => {
  const a = await serve(t, (socket) => socket.end('a'));
  const b = await serve(t, (socket) => socket.end('b'));
  const weighted = {
    clusters: [
      { name: 'a', weight: 1 },
      { name: 'b', weight: 3 },
    ],
  };
  const config = { clusterSpecifier: { case: 'weightedClusters', value: weighted } };
  const { port } = await proxy(t, config, { a: [a.at], b: [b.at] });
  let fromA = 0;
  for (let i = 0; i < 200; i++) if ((await readAll(await dial(t, port))) === 'a') fromA++;
  assert.ok(fromA > 20 && fromA < 85, String(fromA));
});

test('idle timeout and maximum duration', async (t) => {
  const server = await serve(t, (socket) => socket.on('data', (data: Buffer) => socket.write(data)));
  const idle = await proxy(
    t,
    { ...toA, idleTimeout: { seconds: 0n, nanos: 120_000_000 } },
    { a: [server.at] },
  );
  const client = await dial(t, idle.port);
  const start = performance.now();
  for (let i = 0; i < 4; i++) {
    client.write('x');
    await once(client, 'data');
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  client.resume();
  await once(client, 'close');
  assert.ok(performance.now() - start > 300, 'traffic keeps the connection');
  await until(() => idle.logs.length === 1);
  assert.equal(idle.logs[0]!.connectionTerminationDetails, '');
  const limited = await proxy(
    t,
    { ...toA, maxDownstreamConnectionDuration: { seconds: 0n, nanos: 60_000_000 } },
    { a: [server.at] },
  );
  await once((await dial(t, limited.port)).resume(), 'close');
  await until(() => limited.logs.length === 1);
  assert.equal(formatResponseFlags(limited.logs[0]!.responseFlags), 'DT');
});

test('a reset of either side closes the other', async (t) => {
  const server = await serve(t, (socket) => {
    socket.on('data', (data: Buffer) => {
      if (data.toString() === 'reset') socket.resetAndDestroy();
    });
  });
  const { port, logs } = await proxy(t, toA, { a: [server.at] });
  const first = await dial(t, port);
  first.write('reset');
  await once(first.resume(), 'close');
  const second = await dial(t, port);
  second.write('hello');
  await until(() => server.sockets.length === 2 && server.sockets[1]!.bytesRead === 5);
  second.resetAndDestroy();
  await until(() => server.sockets[1]!.destroyed || server.sockets[1]!.readableEnded, 'upstream closed');
  await until(() => logs.length === 2);
});

test('a slow reader holds the sender back, and nothing is lost', async (t) => {
  const size = 24 * 1024 * 1024;
  const payload = randomBytes(size);
  const hash = createHash('sha256').update(payload).digest('hex');
  let received = 0;
  const digest = createHash('sha256');
  let release: () => void = () => {};
  const server = await serve(t, (socket) => {
    socket.pause();
    release = () => socket.resume();
    socket.on('data', (data: Buffer) => {
      received += data.length;
      digest.update(data);
    });
    socket.on('end', () => socket.end());
    socket.pause();
  });
  const { port, logs } = await proxy(t, toA, { a: [server.at] });
  const client = await dial(t, port, true);
  // Other tests share the process: what they left counts for nothing here.
  const before = process.memoryUsage().arrayBuffers;
  client.end(payload);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const held = process.memoryUsage().arrayBuffers;
  assert.ok(logs.length === 0 && received === 0);
  assert.ok(client.writableLength > size / 2, `the client could write ${size - client.writableLength}`);
  release();
  client.resume();
  await once(client, 'end');
  assert.equal(received, size);
  assert.equal(digest.digest('hex'), hash);
  assert.ok(held < before + size, `${held - before} bytes more`);
});

test('TLS on either side', async (t) => {
  const echo = await serve(t, (socket) => {
    socket.on('data', (data: Buffer) => socket.write(data));
    socket.on('end', () => socket.end());
  });
  // One proxy ends TLS, one begins it: client -> upstream TLS -> downstream TLS -> server.
  const inbound = await proxy(t, toA, { a: [echo.at] }, { tls: 'downstream' });
  const outbound = await proxy(t, toA, { a: [`127.0.0.1:${inbound.port}`] }, { tls: 'upstream' });
  const client = await dial(t, outbound.port, true);
  const payload = randomBytes(16 * 1024 * 1024);
  client.end(payload);
  // A reader that starts late fills every queue on the way.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const parts: Buffer[] = [];
  client.on('data', (data: Buffer) => parts.push(data));
  await once(client, 'end');
  assert.ok(Buffer.concat(parts).equals(payload));
  await until(() => inbound.logs.length === 1 && outbound.logs.length === 1);
  assert.deepEqual(inbound.logs[0]!.connection.tls?.peerUriSans, ['spiffe://td/ns/a/sa/a']);
  assert.deepEqual(outbound.logs[0]!.upstream?.tls?.peerUriSans, ['spiffe://td/ns/a/sa/a']);
  assert.equal(inbound.logs[0]!.bytesReceived, payload.length);
});

test('sni_cluster chooses the cluster by server name', () => {
  const info = new AcceptedConnectionInfo({ ip: '10.0.0.1', port: 1 }, { ip: '10.0.0.2', port: 2 });
  const made = sniCluster.create();
  assert.ok(!made.terminal);
  made.create().onNewConnection({ connection: { info } } as never);
  assert.equal(clusterOverride(info), undefined);
  info.requestedServerName = 'outbound_.80_._.a.svc';
  made.create().onNewConnection({ connection: { info } } as never);
  assert.equal(clusterOverride(info), 'outbound_.80_._.a.svc');
});

test('what is not there is refused', async (t) => {
  await assert.rejects(proxy(t, {}, {}), /neither cluster nor weighted_clusters/);
  await assert.rejects(proxy(t, { ...toA, tunnelingConfig: { hostname: 'x' } }, {}), /tunneling_config/);
});
