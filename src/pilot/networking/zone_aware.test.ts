import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import type { ClusterLoadAssignment } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { buildClusters } from './clusters.ts';
import { buildEndpoints } from './endpoints.ts';
import { readGoldenCase, testNode } from './golden_case.ts';

const name = 'outbound|80||b.default.svc.cluster.local';

function caller(metadata: JsonObject) {
  return readGoldenCase({
    name: 'zone_aware',
    input: 'zone_aware',
    node: testNode({
      address: '10.244.4.1',
      pod: 'a-v1-1',
      namespace: 'default',
      labels: { app: 'a', 'pod-template-hash': 'x' },
      region: 'eu',
      metadata,
    }),
  });
}

/** Zones with their priorities and addresses. */
function places(assignment: ClusterLoadAssignment | undefined): string[] {
  return (assignment?.endpoints ?? []).map(({ locality, priority, lbEndpoints }) => {
    const addresses = lbEndpoints.map(({ hostIdentifier: id }) => {
      const address = id.case === 'endpoint' ? id.value.address?.address : undefined;
      return address?.case === 'socketAddress' ? address.value.address : '';
    });
    return `${locality?.zone} ${priority} ${addresses.join(' ')}`;
  });
}

test('a proxy that knows its workload balances over zones itself; regions are priorities', () => {
  const { proxy, push } = caller({ ENABLE_SELF_DISCOVERY: 'true' });
  const cluster = buildClusters(proxy, push).find((one) => one.name === name);
  const specifier = cluster?.commonLbConfig?.localityConfigSpecifier;
  assert.equal(specifier?.case, 'zoneAwareLbConfig');
  assert.equal(specifier.value.minClusterSize, 2n);
  assert.deepEqual(places(buildEndpoints(proxy, push, [name])[0]), [
    'ap-1 2 10.244.4.14',
    'eu-1 0 10.244.4.11',
    'eu-2 0 10.244.4.12',
    'us-1 1 10.244.4.13',
  ]);
});

test('the own workload: its region and revision', () => {
  const { proxy, push } = caller({ ENABLE_SELF_DISCOVERY: 'true' });
  assert.deepEqual(places(buildEndpoints(proxy, push, ['local_cluster'])[0]), [
    'eu-1 0 10.244.4.1',
    'eu-2 0 10.244.4.2',
  ]);
});

test('a proxy that does not know its workload does without', () => {
  const { proxy, push } = caller({});
  const cluster = buildClusters(proxy, push).find((one) => one.name === name);
  assert.equal(cluster?.commonLbConfig?.localityConfigSpecifier.case, undefined);
  assert.ok(buildEndpoints(proxy, push, [name])[0]?.endpoints.every(({ priority }) => priority === 0));
});
