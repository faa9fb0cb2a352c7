import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { type Cluster as ClusterProto, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { HttpProtocolOptionsSchema } from '#api/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts';
import { leastRequest } from '../load_balancing_policies/least_request/least_request.ts';
import { maglev } from '../load_balancing_policies/maglev/maglev.ts';
import { random } from '../load_balancing_policies/random/random.ts';
import { ringHash } from '../load_balancing_policies/ring_hash/ring_hash.ts';
import { roundRobin } from '../load_balancing_policies/round_robin/round_robin.ts';
import { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { RequestHeaderMap } from '../http/header_map.ts';
import { noSecrets } from '../network/secret.ts';
import type { UpstreamTransportOptions } from '../network/transport_socket.ts';
import { ExtensionRegistry } from '../registry.ts';
import { LiveClusterManager } from './cluster_manager.ts';
import type { ResolveName } from './dns.ts';
import {
  type ClusterInit,
  answering,
  assignment,
  loadContext,
  request,
  serve,
  staticCluster,
  until,
} from './testing.ts';
import type { Cluster } from './upstream.ts';

/** Transport sockets that only count: `ready` and the options they were asked with. */
function fakeSockets() {
  const made: {
    name: string;
    ready: boolean;
    closed: boolean;
    announce: () => void;
    options: UpstreamTransportOptions[];
  }[] = [];
  const extension = (name: string, ready: boolean) => ({
    name,
    typeUrls: [],
    create() {
      const waiting: (() => void)[] = [];
      const entry = {
        name,
        ready,
        closed: false,
        options: [] as UpstreamTransportOptions[],
        announce() {
          entry.ready = true;
          for (const callback of waiting) callback();
        },
      };
      made.push(entry);
      return {
        secure: true,
        applicationProtocols: [],
        get ready() {
          return entry.ready;
        },
        onReady: (callback: () => void) => void waiting.push(callback),
        wrap(
          socket: Socket,
          options: UpstreamTransportOptions,
          callbacks: { onTransportReady(s: Socket, t: undefined, p: string): void },
        ) {
          entry.options.push(options);
          callbacks.onTransportReady(socket, undefined, '');
        },
        close() {
          entry.closed = true;
        },
      };
    },
  });
  return { made, list: [extension('tls', true), extension('plain', true), extension('slow', false)] };
}

function managerOf(t: TestContext, sockets = fakeSockets(), resolve?: ResolveName): LiveClusterManager {
  const registry = new ExtensionRegistry({
    load_balancing_policy: [roundRobin, leastRequest, random, ringHash, maglev],
    'transport_socket.upstream': sockets.list,
  });
  const manager = new LiveClusterManager({
    registry,
    sockets: { secrets: noSecrets },
    ...(resolve === undefined ? {} : { resolve }),
  });
  t.after(() => manager.close());
  return manager;
}

function eds(more: ClusterInit = {}): ClusterProto {
  const type = { case: 'type', value: 3 };
  return create(ClusterSchema, {
    name: 'c',
    clusterDiscoveryType: type,
    edsClusterConfig: { serviceName: 'svc' },
    ...more,
  } as never);
}

function ask(on: Cluster) {
  const host = on.chooseHost(loadContext());
  assert.ok(host !== undefined, 'no host');
  return request(on.httpPool(host, 'default', 'HTTP/1.1', loadContext()));
}

test('EDS: a cluster warms until it hears of its endpoints; hosts that stay keep their connections', async (t) => {
  const [a, b, c] = [
    await serve(t, answering('a')),
    await serve(t, answering('b')),
    await serve(t, answering('c')),
  ];
  const manager = managerOf(t);
  const staged = manager.stage(eds());
  assert.equal(staged.edsServiceName, 'svc');
  let ready = 0;
  staged.onReady(() => ready++);
  assert.equal(manager.get('c'), undefined);
  manager.updateEndpoints(assignment('svc', [{ at: a.at }, { at: b.at }]));
  assert.deepEqual([staged.ready, ready], [true, 1]);
  staged.activate();
  const cluster = manager.get('c')!;
  for (let i = 0; i < 4; i++) await ask(cluster);
  assert.deepEqual([a.sockets.length, b.sockets.length], [1, 1]);
  const kept = cluster.hosts().find((host) => host.address.port === b.port);
  manager.updateEndpoints(assignment('svc', [{ at: b.at }, { at: c.at, more: { loadBalancingWeight: 7 } }]));
  assert.equal(
    cluster.hosts().find((host) => host.address.port === b.port),
    kept,
  );
  await until(
    () => a.sockets[0]!.readableEnded || a.sockets[0]!.destroyed,
    'connection of the removed host closed',
  );
  const bodies = new Set<string | undefined>();
  for (let i = 0; i < 20; i++) bodies.add((await ask(cluster)).body);
  assert.deepEqual([...bodies].toSorted(), ['b', 'c']);
  assert.equal(b.sockets.length, 1);
  // A newer version of the cluster starts with the endpoints that are known.
  const next = manager.stage(eds({ connectTimeout: { seconds: 9n, nanos: 0 } } as ClusterInit));
  assert.equal(next.ready, true);
  next.activate();
  assert.notEqual(manager.get('c'), cluster);
  assert.equal(manager.get('c')?.hosts().length, 2);
  assert.equal(manager.get('c')?.stats, cluster.stats);
  assert.equal(
    manager.stage(eds({ connectTimeout: { seconds: 9n, nanos: 0 } } as ClusterInit)).unchanged,
    true,
  );
});

test('EDS: a request in flight finishes on a host that was removed', async (t) => {
  const held: Socket[] = [];
  const a = await serve(t, (socket) => socket.on('data', () => held.push(socket)));
  const manager = managerOf(t);
  manager.stage(eds()).activate();
  manager.updateEndpoints(assignment('svc', [{ at: a.at }]));
  const outcome = ask(manager.get('c')!);
  await until(() => held.length === 1);
  manager.updateEndpoints(assignment('svc', []));
  assert.equal(manager.get('c')?.chooseHost(loadContext()), undefined);
  held[0]!.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone');
  assert.equal((await outcome).body, 'done');
  await until(() => a.sockets[0]!.readableEnded, 'closed after the response');
});

test('EDS: health, missing resource, bad endpoints', async (t) => {
  const manager = managerOf(t);
  const staged = manager.stage(
    eds({ commonLbConfig: { healthyPanicThreshold: { value: 0 } } } as ClusterInit),
  );
  manager.endpointsUnavailable('svc');
  assert.equal(staged.ready, true);
  staged.activate();
  const cluster = manager.get('c')!;
  assert.equal(cluster.chooseHost(loadContext()), undefined);
  const statuses = [0, 1, 2, 3, 4, 5];
  manager.updateEndpoints(
    assignment(
      'svc',
      statuses.map((healthStatus) => ({ at: `10.0.0.${healthStatus}:80`, more: { healthStatus } })),
    ),
  );
  assert.deepEqual(
    cluster.hosts().map((host) => host.healthy),
    [true, true, false, false, false, false],
  );
  assert.deepEqual(
    cluster.hosts().map((host) => host.degraded),
    [false, false, false, false, false, true],
  );
  assert.throws(
    () => manager.updateEndpoints(assignment('svc', [{ at: 'name.example:80' }])),
    /endpoints\[0\]\.lb_endpoints\[0\]: malformed IP address: name\.example/,
  );
  assert.throws(
    () => manager.updateEndpoints(assignment('svc', [{ at: '1.2.3.4:1', priority: 200 }])),
    /priority/,
  );
  assert.equal(cluster.hosts().length, 6);
});

test('priorities fail over', async (t) => {
  const manager = managerOf(t);
  manager.stage(eds()).activate();
  const endpoints = (status: number) =>
    assignment('svc', [
      { at: '10.0.0.1:80', more: { healthStatus: status } },
      { at: '10.0.1.1:80', priority: 1 },
    ]);
  manager.updateEndpoints(endpoints(1));
  const chosen = () => manager.get('c')!.chooseHost(loadContext())?.address.ip;
  assert.equal(chosen(), '10.0.0.1');
  manager.updateEndpoints(endpoints(2));
  assert.equal(chosen(), '10.0.1.1');
});

test('transport_socket_matches choose by metadata; secrets hold the cluster back', async (t) => {
  const server = await serve(t, answering('x'));
  const sockets = fakeSockets();
  const manager = managerOf(t, sockets);
  const match = (name: string, fields: object) => ({ name, match: fields, transportSocket: { name } });
  const config = eds({
    transportSocketMatches: [match('tls', { tlsMode: 'istio' }), match('plain', {})],
  } as ClusterInit);
  const staged = manager.stage(config);
  const metadata = { filterMetadata: { 'envoy.transport_socket_match': { tlsMode: 'istio' } } };
  manager.updateEndpoints(assignment('svc', [{ at: server.at, more: { metadata } }]));
  staged.activate();
  await ask(manager.get('c')!);
  const uses = () => Object.fromEntries(sockets.made.map((entry) => [entry.name, entry.options.length]));
  assert.deepEqual(uses(), { tls: 1, plain: 0 });
  // The endpoint loses its label: other connections, so another host.
  manager.updateEndpoints(assignment('svc', [{ at: server.at }]));
  await ask(manager.get('c')!);
  assert.deepEqual(uses(), { tls: 1, plain: 1 });
  const slow = manager.stage(
    staticCluster([server.at], { name: 'slow', transportSocket: { name: 'slow' } } as ClusterInit),
  );
  let ready = 0;
  slow.onReady(() => ready++);
  assert.deepEqual([slow.ready, ready], [false, 0]);
  sockets.made.at(-1)!.announce();
  assert.deepEqual([slow.ready, ready], [true, 1]);
  slow.discard();
  assert.equal(sockets.made.at(-1)!.closed, true);
});

test('auto_sni, ALPN and overrides make connections of their own', async (t) => {
  const server = await serve(t, answering('x'));
  const sockets = fakeSockets();
  const manager = managerOf(t, sockets);
  const http = anyPack(
    HttpProtocolOptionsSchema,
    create(HttpProtocolOptionsSchema, {
      upstreamHttpProtocolOptions: { autoSni: true, autoSanValidation: true },
      upstreamProtocolOptions: {
        case: 'explicitHttpConfig',
        value: { protocolConfig: { case: 'httpProtocolOptions', value: {} } },
      },
    } as never),
  );
  manager
    .stage(
      staticCluster([server.at], {
        transportSocket: { name: 'tls' },
        typedExtensionProtocolOptions: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http },
      } as ClusterInit),
    )
    .activate();
  const cluster = manager.get('c')!;
  const host = cluster.chooseHost(loadContext())!;
  const headers = (authority: string) => Object.assign(new RequestHeaderMap(), { authority });
  const pool = (authority: string, more: object = {}) =>
    cluster.httpPool(
      host,
      'default',
      'HTTP/1.1',
      loadContext({ requestHeaders: headers(authority), ...more }),
    );
  assert.equal(pool('a.example:443'), pool('a.example:80'));
  assert.notEqual(pool('a.example'), pool('b.example'));
  await request(pool('a.example:443'));
  const alpn = {
    serverName: undefined,
    applicationProtocols: ['istio-http/1.1'],
    verifySubjectAltNames: undefined,
  };
  await request(pool('a.example', { transportOptions: alpn }));
  assert.deepEqual(sockets.made[0]!.options, [
    { serverName: 'a.example', applicationProtocols: ['http/1.1'], verifySubjectAltNames: ['a.example'] },
    {
      serverName: 'a.example',
      applicationProtocols: ['istio-http/1.1'],
      verifySubjectAltNames: ['a.example'],
    },
  ]);
});

test('ORIGINAL_DST: hosts from the destination, header, port override; forgotten when unused', async (t) => {
  const server = await serve(t, answering('direct'));
  const manager = managerOf(t);
  const config = (name: string, lb: object = {}) =>
    create(ClusterSchema, {
      name,
      clusterDiscoveryType: { case: 'type', value: 4 },
      lbPolicy: 6,
      cleanupInterval: { seconds: 0n, nanos: 50_000_000 },
      lbConfig: { case: 'originalDstLbConfig', value: lb },
    } as never);
  manager.stage(config('c')).activate();
  const cluster = manager.get('c')!;
  const downstream = new AcceptedConnectionInfo(
    { ip: '127.0.0.1', port: server.port },
    { ip: '10.0.0.9', port: 1 },
  );
  assert.equal(cluster.chooseHost(loadContext({ downstream })), undefined);
  downstream.localAddressRestored = true;
  const host = cluster.chooseHost(loadContext({ downstream }))!;
  assert.equal(cluster.chooseHost(loadContext({ downstream })), host);
  assert.equal((await request(cluster.httpPool(host, 'default', '', loadContext()))).body, 'direct');
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(cluster.hosts().length, 1, 'an idle connection keeps the host');
  server.sockets[0]!.destroy();
  await until(() => cluster.hosts().length === 0, 'the host is forgotten');
  manager.stage(config('h', { useHttpHeader: true, upstreamPortOverride: 81 })).activate();
  const headers = new RequestHeaderMap(['x-envoy-original-dst-host'], ['[2001:db8::1]:80']);
  assert.deepEqual(manager.get('h')!.chooseHost(loadContext({ requestHeaders: headers }))?.address, {
    ip: '2001:db8::1',
    port: 81,
  });
  headers.values[0] = 'no address';
  assert.equal(manager.get('h')!.chooseHost(loadContext({ requestHeaders: headers })), undefined);
});

test('DNS clusters resolve, refresh, keep the last good answer', async (t) => {
  let answer: readonly string[] | undefined = ['10.0.0.1', '10.0.0.2'];
  let asked = 0;
  const manager = managerOf(t, fakeSockets(), async (name) => {
    asked++;
    assert.equal(name, 'svc.example');
    if (answer === undefined) throw new Error('SERVFAIL');
    return { addresses: answer, ttlMs: 1000 };
  });
  const config = (name: string, type: number) =>
    staticCluster([], {
      name,
      clusterDiscoveryType: { case: 'type', value: type },
      respectDnsTtl: true,
      loadAssignment: assignment(name, [{ at: 'svc.example:80' }, { at: '10.9.9.9:81' }]),
    } as ClusterInit);
  const staged = manager.stage(config('strict', 1));
  assert.equal(staged.ready, false);
  await new Promise<void>((resolve) => staged.onReady(resolve));
  staged.activate();
  const strict = manager.get('strict')!;
  const hosts = () =>
    strict.hosts().map(({ address, hostname }) => `${hostname} ${address.ip}:${address.port}`);
  assert.deepEqual(hosts(), ['svc.example 10.0.0.1:80', 'svc.example 10.0.0.2:80', ' 10.9.9.9:81']);
  const survivor = strict.hosts()[1];
  answer = ['10.0.0.2', '10.0.0.3'];
  await until(() => asked >= 2 && hosts()[1] === 'svc.example 10.0.0.3:80', 'refreshed', 4000);
  assert.equal(strict.hosts()[0], survivor);
  answer = undefined;
  await until(() => asked >= 3, 'asked again', 4000);
  assert.equal(hosts().length, 3);
  answer = ['10.0.0.7', '10.0.0.8'];
  const logical = manager.stage(config('logical', 2));
  await new Promise<void>((resolve) => logical.onReady(resolve));
  logical.activate();
  assert.deepEqual(
    manager
      .get('logical')!
      .hosts()
      .map((host) => host.address.ip),
    ['10.0.0.7', '10.9.9.9'],
  );
  // The same host at another address: connections that are open stay.
  const first = manager.get('logical')!.hosts()[0];
  answer = ['10.0.0.8', '10.0.0.7'];
  await until(() => first!.address.ip === '10.0.0.8', 'the address follows', 4000);
  assert.equal(manager.get('logical')!.hosts()[0], first);
});

test('the system resolver', async (t) => {
  const manager = managerOf(t);
  const staged = manager.stage(
    staticCluster([], {
      clusterDiscoveryType: { case: 'type', value: 1 },
      dnsLookupFamily: 1,
      loadAssignment: assignment('c', [{ at: 'localhost:80' }]),
    } as ClusterInit),
  );
  await new Promise<void>((resolve) => staged.onReady(resolve));
  staged.activate();
  assert.deepEqual(
    manager
      .get('c')!
      .hosts()
      .map((host) => host.address),
    [{ ip: '127.0.0.1', port: 80 }],
  );
});

test('outlier detection takes failing hosts out and lets them back', async (t) => {
  const bad = await serve(t, (socket) =>
    socket.on('data', () => socket.write('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n')),
  );
  const good = await serve(t, answering('good'));
  const manager = managerOf(t);
  manager
    .stage(
      staticCluster([bad.at, good.at], {
        outlierDetection: {
          consecutive5xx: 3,
          interval: { seconds: 0n, nanos: 50_000_000 },
          baseEjectionTime: { seconds: 0n, nanos: 150_000_000 },
          maxEjectionPercent: 50,
        },
      } as ClusterInit),
    )
    .activate();
  const cluster = manager.get('c')!;
  const ask5 = async (): Promise<(number | undefined)[]> => {
    const statuses: (number | undefined)[] = [];
    for (let i = 0; i < 10; i++) {
      const host = cluster.chooseHost(loadContext())!;
      const outcome = await request(cluster.httpPool(host, 'default', '', loadContext()));
      // The router reports what came back.
      host.report({ kind: 'http', status: outcome.status ?? 0, localOrigin: false });
      statuses.push(outcome.status);
    }
    return statuses;
  };
  assert.equal((await ask5()).filter((status) => status === 503).length, 3);
  assert.equal(cluster.detector?.stats.ejectionsActive, 1);
  assert.equal(cluster.hosts().filter((host) => host.healthy).length, 1);
  await until(() => cluster.hosts().every((host) => host.healthy), 'the host is back');
  assert.equal(cluster.detector?.stats.ejectionsActive, 0);
  // The second ejection lasts twice as long.
  for (let i = 0; i < 3; i++) cluster.hosts()[0]!.report({ kind: 'http', status: 503, localOrigin: false });
  assert.equal(cluster.hosts()[0]!.healthy, false);
  const start = performance.now();
  await until(() => cluster.hosts().every((host) => host.healthy), 'the host is back again');
  assert.ok(performance.now() - start > 200);
});

test('outlier detection obeys its bound as Envoy 1.40 counts it', async (t) => {
  const manager = managerOf(t);
  for (const [percent, always, ejected] of [
    [10, false, 0],
    [33, false, 0],
    [34, false, 1],
    [67, false, 2],
    [100, false, 3],
    [10, true, 1],
  ] as const) {
    const outlierDetection = { consecutive5xx: 1, maxEjectionPercent: percent, alwaysEjectOneHost: always };
    const name = `c${percent}${always}`;
    const endpoints = ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80'];
    manager.stage(staticCluster(endpoints, { name, outlierDetection } as ClusterInit)).activate();
    const cluster = manager.get(name)!;
    for (const host of cluster.hosts()) host.report({ kind: 'connect_failure' });
    assert.equal(cluster.detector?.stats.ejectionsActive, ejected, name);
  }
});

test('consecutive gateway and local origin failures', async (t) => {
  const manager = managerOf(t);
  const outlierDetection = {
    consecutive5xx: 100,
    consecutiveGatewayFailure: 2,
    enforcingConsecutiveGatewayFailure: 100,
    splitExternalLocalOriginErrors: true,
    consecutiveLocalOriginFailure: 3,
    maxEjectionPercent: 100,
  };
  manager
    .stage(staticCluster(['10.0.0.1:80', '10.0.0.2:80'], { outlierDetection } as ClusterInit))
    .activate();
  const [one, two] = manager.get('c')!.hosts();
  const http = (status: number) => ({ kind: 'http', status, localOrigin: false }) as const;
  one!.report(http(503));
  one!.report(http(500));
  one!.report(http(503));
  assert.equal(one!.healthy, true);
  one!.report(http(502));
  assert.equal(one!.healthy, false);
  two!.report({ kind: 'connect_failure' });
  two!.report({ kind: 'connect_timeout' });
  two!.report({ kind: 'connect_success' });
  two!.report({ kind: 'timeout' });
  assert.equal(two!.healthy, true);
  two!.report({ kind: 'connect_failure' });
  two!.report({ kind: 'connect_failure' });
  assert.equal(two!.healthy, false);
});

test('what is not there is refused with its name', (t) => {
  const manager = managerOf(t);
  assert.throws(
    () => manager.stage(staticCluster(['1.2.3.4:1'], { transportSocket: { name: 'quic' } } as ClusterInit)),
    /transport socket quic: nothing is compiled in/,
  );
  const http2 = { http2ProtocolOptions: { allowMetadata: true } } as ClusterInit;
  assert.throws(
    () => manager.stage(staticCluster(['1.2.3.4:1'], http2)),
    /http2_protocol_options.allow_metadata is not supported/,
  );
  const redis = { clusterDiscoveryType: { case: 'clusterType', value: { name: 'envoy.clusters.redis' } } };
  assert.throws(
    () => manager.stage(staticCluster([], redis as ClusterInit)),
    /cluster type envoy.clusters.redis/,
  );
  assert.equal(manager.get('c'), undefined);
});

test('lb_policy and load_balancing_policy', (t) => {
  const manager = managerOf(t);
  for (const [name, more] of Object.entries({
    rr: {},
    lr: { lbPolicy: 1, lbConfig: { case: 'leastRequestLbConfig', value: { choiceCount: 3 } } },
    ring: { lbPolicy: 2, lbConfig: { case: 'ringHashLbConfig', value: { minimumRingSize: 64n } } },
    random: {
      lbPolicy: 3,
      commonLbConfig: { localityConfigSpecifier: { case: 'localityWeightedLbConfig', value: {} } },
    },
    maglev: { lbPolicy: 5, lbConfig: { case: 'maglevLbConfig', value: { tableSize: 101n } } },
  })) {
    manager.stage(staticCluster(['10.0.0.1:80'], { name, ...more } as ClusterInit)).activate();
    assert.equal(manager.get(name)!.chooseHost(loadContext())?.address.ip, '10.0.0.1', name);
  }
  assert.throws(
    () =>
      manager.stage(
        staticCluster([], {
          lbPolicy: 5,
          lbConfig: { case: 'maglevLbConfig', value: { tableSize: 100n } },
        } as ClusterInit),
      ),
    /prime/,
  );
});
