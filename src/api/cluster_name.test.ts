import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildClusterName, buildSniClusterName, type ClusterName, parseClusterName } from './cluster_name.ts';

const reviews: ClusterName = {
  direction: 'outbound',
  port: 9080,
  subset: 'v1',
  host: 'reviews.default.svc.cluster.local',
};

const cases: [title: string, parts: ClusterName, name: string, sni: string][] = [
  [
    'subset',
    reviews,
    'outbound|9080|v1|reviews.default.svc.cluster.local',
    'outbound_.9080_.v1_.reviews.default.svc.cluster.local',
  ],
  [
    'no subset',
    { ...reviews, subset: '' },
    'outbound|9080||reviews.default.svc.cluster.local',
    'outbound_.9080_._.reviews.default.svc.cluster.local',
  ],
  [
    'inbound without host',
    { direction: 'inbound', port: 8080, subset: '', host: '' },
    'inbound|8080||',
    'inbound_.8080_._.',
  ],
  [
    'wildcard host',
    { ...reviews, port: 443, subset: '', host: '*.example.com' },
    'outbound|443||*.example.com',
    'outbound_.443_._.*.example.com',
  ],
  [
    'host with an underscore',
    { ...reviews, subset: 'v_1', host: 'a_b.example.com' },
    'outbound|9080|v_1|a_b.example.com',
    'outbound_.9080_.v_1_.a_b.example.com',
  ],
];

for (const [title, parts, name, sni] of cases) {
  test(`cluster name: ${title}`, () => {
    assert.equal(buildClusterName(parts), name);
    assert.equal(buildSniClusterName(parts), sni);
    assert.deepEqual(parseClusterName(name), parts);
    assert.deepEqual(parseClusterName(sni), parts);
  });
}

for (const name of [
  '',
  'PassthroughCluster',
  'BlackHoleCluster',
  'xds-grpc',
  'outbound|80|',
  'outbound|80||a|b',
  'outbound||v1|a',
  'outbound|http|v1|a',
  'outbound|65536||a',
  'outbound|-1||a',
  'sideways|80||a',
  'outbound_.80_.a',
]) {
  test(`not a cluster name: ${JSON.stringify(name)}`, () => assert.equal(parseClusterName(name), undefined));
}
