import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LocalityLoadBalancerSetting } from '#config/kinds/destination_rule/types.ts';
import type { Endpoint } from '../../model/service.ts';
import { parseLocality } from '../../service_registry/locality.ts';
import { buildLoadAssignment } from './load_assignment.ts';
import { localityPolicy } from './locality_policy.ts';

const endpoint = (address: string, locality: string, labels = {}): Endpoint => ({
  address,
  port: 80,
  labels,
  serviceAccount: '',
  locality: parseLocality(locality),
  nodeName: '',
  tlsMode: 'disabled',
  healthy: true,
  weight: 0,
  workload: '',
  podHostname: '',
});

const endpoints = [
  endpoint('10.0.0.1', 'eu/eu-1/a', { version: 'v1' }),
  endpoint('10.0.0.2', 'eu/eu-1/b', { version: 'v2' }),
  endpoint('10.0.0.3', 'eu/eu-2/a'),
  endpoint('10.0.0.4', 'us/us-1/a'),
  endpoint('10.0.0.5', 'ap/ap-1/a'),
];

/** `address -> priority/weight` for a caller in eu/eu-1/a. */
function result(setting: LocalityLoadBalancerSetting): Record<string, string> {
  const caller = { locality: parseLocality('eu/eu-1/a'), nodeName: '', labels: { version: 'v1' } };
  const out: Record<string, string> = {};
  for (const group of buildLoadAssignment('c', endpoints, localityPolicy(setting, caller)).endpoints) {
    for (const { hostIdentifier } of group.lbEndpoints) {
      assert.ok(hostIdentifier.case === 'endpoint');
      const address = hostIdentifier.value.address?.address;
      assert.ok(address?.case === 'socketAddress');
      out[address.value.address] = `${group.priority}/${group.loadBalancingWeight}`;
    }
  }
  return out;
}

test('near localities first, without gaps between priorities', () => {
  assert.deepEqual(result({}), {
    '10.0.0.1': '0/1',
    '10.0.0.2': '1/1',
    '10.0.0.3': '2/1',
    '10.0.0.4': '3/1',
    '10.0.0.5': '3/1',
  });
});

test('a region to fail over to comes before the others', () => {
  const priorities = result({ failover: [{ from: 'eu', to: 'us' }] });
  assert.deepEqual([priorities['10.0.0.4'], priorities['10.0.0.5']], ['3/1', '4/1']);
});

test('shares are as spelled out; what nobody names gets nothing', () => {
  assert.deepEqual(result({ distribute: [{ from: 'eu/*', to: { 'eu/eu-1/*': 80, 'us/*': 20 } }] }), {
    '10.0.0.1': '0/40',
    '10.0.0.2': '0/40',
    '10.0.0.4': '0/20',
  });
});

test('more equal labels come first', () => {
  assert.deepEqual(result({ failoverPriority: ['topology.kubernetes.io/region', 'version'] }), {
    '10.0.0.1': '0/1',
    '10.0.0.2': '1/1',
    '10.0.0.3': '1/1',
    '10.0.0.4': '2/1',
    '10.0.0.5': '2/1',
  });
});
