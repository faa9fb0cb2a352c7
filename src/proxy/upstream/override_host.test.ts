/** A host that a request asks for by its address, on each kind of cluster. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { type Cluster as ClusterProto, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { HealthStatus } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import { roundRobin } from '../load_balancing_policies/round_robin/round_robin.ts';
import { formatAddress } from '../network/address.ts';
import { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { noSecrets } from '../network/secret.ts';
import { ExtensionRegistry } from '../registry.ts';
import { LiveClusterManager } from './cluster_manager.ts';
import { hostKey, hostKeyOfText } from './host.ts';
import { type ClusterInit, assignment, loadContext, staticCluster, until } from './testing.ts';
import type { Cluster, LoadBalancerContext } from './upstream.ts';

function clusterOf(t: TestContext, config: ClusterProto): Cluster {
  const manager = new LiveClusterManager({
    registry: new ExtensionRegistry({ load_balancing_policy: [roundRobin] }),
    sockets: { secrets: noSecrets },
    resolve: async () => ({ addresses: ['10.0.0.7'], ttlMs: 60_000 }),
  });
  t.after(() => manager.close());
  manager.stage(config).activate();
  return manager.get('c') ?? assert.fail('no cluster');
}

function choose(
  cluster: Cluster,
  address: string,
  strict = true,
  more: Partial<LoadBalancerContext> = {},
): string | undefined {
  const overrideHost = { address, strict, missingStatus: 503 };
  const host = cluster.chooseHost(loadContext({ overrideHost, ...more }));
  return host === undefined ? undefined : formatAddress(host.address);
}

test('addresses and their keys', () => {
  for (const address of [
    { ip: '10.0.0.1', port: 80 },
    { ip: '2001:db8::1', port: 8080 },
    { ip: '/run/app:1.sock', port: -1 },
  ])
    assert.equal(hostKeyOfText(formatAddress(address)), hostKey(address));
  for (const odd of ['', ':', 'x', '[', ']:1', '[:1']) assert.equal(typeof hostKeyOfText(odd), 'string');
});

test('the host that is asked for, of any priority; else another, or none where it is strict', (t) => {
  const endpoints = [
    { at: '10.0.0.1:80' },
    { at: '2001:db8::1:80', priority: 1 },
    { at: '/run/app.sock', priority: 1 },
  ];
  const cluster = clusterOf(
    t,
    staticCluster([], { loadAssignment: assignment('c', endpoints) } as ClusterInit),
  );
  for (const address of ['10.0.0.1:80', '[2001:db8::1]:80', '/run/app.sock'])
    for (let i = 0; i < 3; i++) assert.equal(choose(cluster, address), address);
  for (const address of ['10.0.0.1:81', '10.0.0.2:80', 'x', '']) {
    assert.equal(choose(cluster, address), undefined);
    assert.equal(choose(cluster, address, false), '10.0.0.1:80');
  }
  assert.equal(cluster.stats.upstreamCxNoneHealthy, 4);
});

test('override_host_status: what is good enough', (t) => {
  const names = ['UNKNOWN', 'HEALTHY', 'UNHEALTHY', 'DRAINING', 'TIMEOUT', 'DEGRADED'] as const;
  const endpoints = names.map((name, i) => ({
    at: `10.0.0.${i + 1}:80`,
    more: { healthStatus: HealthStatus[name] },
  }));
  const taken = (commonLbConfig?: object): string[] => {
    const init = { loadAssignment: assignment('c', endpoints), ...(commonLbConfig && { commonLbConfig }) };
    const cluster = clusterOf(t, staticCluster([], init as ClusterInit));
    return names.filter((_, i) => choose(cluster, `10.0.0.${i + 1}:80`) !== undefined);
  };
  const statuses = (...list: HealthStatus[]) => ({ overrideHostStatus: { statuses: list } });
  assert.deepEqual(taken(), ['UNKNOWN', 'HEALTHY', 'DEGRADED']);
  assert.deepEqual(taken({}), ['UNKNOWN', 'HEALTHY', 'DEGRADED']);
  assert.deepEqual(taken(statuses()), []);
  assert.deepEqual(taken(statuses(HealthStatus.DRAINING, HealthStatus.HEALTHY)), ['HEALTHY', 'DRAINING']);
  assert.deepEqual(taken(statuses(HealthStatus.UNHEALTHY, HealthStatus.TIMEOUT)), ['UNHEALTHY', 'TIMEOUT']);
});

test('hosts of DNS names and of original destinations', async (t) => {
  const named = clusterOf(
    t,
    staticCluster(['app.example:80'], { clusterDiscoveryType: { case: 'type', value: 2 } } as ClusterInit),
  );
  await until(() => named.chooseHost(loadContext()) !== undefined);
  assert.equal(choose(named, '10.0.0.7:80'), '10.0.0.7:80');
  assert.equal(choose(named, '10.0.0.8:80'), undefined);
  const original = clusterOf(
    t,
    create(ClusterSchema, {
      name: 'c',
      clusterDiscoveryType: { case: 'type', value: 4 },
      lbPolicy: 6,
    } as never),
  );
  const downstream = new AcceptedConnectionInfo({ ip: '10.0.0.3', port: 80 }, { ip: '10.0.0.9', port: 1 });
  downstream.localAddressRestored = true;
  assert.equal(choose(original, '10.0.0.3:80'), undefined, 'not met yet');
  assert.equal(choose(original, '10.0.0.4:80', false, { downstream }), '10.0.0.3:80');
  assert.equal(choose(original, '10.0.0.3:80'), '10.0.0.3:80');
});
