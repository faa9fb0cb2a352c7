import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { StatsConfigSchema } from '#api/gen/envoy/config/metrics/v3/stats_pb.ts';
import { dottedName } from './stat_names.ts';
import { withTagNames } from './stat_tags.ts';

const snapshot = [
  {
    name: 'envoy_cluster_upstream_rq',
    type: 'counter' as const,
    help: '',
    series: [{ labels: { envoy_response_code: '200', cluster_name: 'a' }, value: 3 }],
  },
  {
    name: 'envoy_cluster_upstream_rq_xx',
    type: 'counter' as const,
    help: '',
    series: [{ labels: { envoy_response_code_class: '2', cluster_name: 'a' }, value: 3 }],
  },
  {
    name: 'istio_requests_total',
    type: 'counter' as const,
    help: '',
    series: [{ labels: { cluster_name: 'kept' }, value: 1 }],
  },
];

test('the default tags are those of Envoy', () => {
  assert.deepEqual(
    withTagNames(snapshot, undefined).map(({ name, series }) => [name, series[0]?.labels]),
    [
      ['envoy_cluster_upstream_rq', { envoy_response_code: '200', envoy_cluster_name: 'a' }],
      ['envoy_cluster_upstream_rq_xx', { envoy_response_code_class: '2', envoy_cluster_name: 'a' }],
      ['istio_requests_total', { cluster_name: 'kept' }],
    ],
  );
});

test("Istio's tags have their names and the class is one value", () => {
  const config = create(StatsConfigSchema, {
    statsTags: ['cluster_name', 'response_code', 'response_code_class'].map((tagName) => ({ tagName })),
  });
  assert.deepEqual(
    withTagNames(snapshot, config).map(({ name, series }) => [name, series.map(({ labels }) => labels)]),
    [
      [
        'envoy_cluster_upstream_rq',
        [
          { response_code: '200', cluster_name: 'a' },
          { response_code_class: '2xx', cluster_name: 'a' },
        ],
      ],
      ['istio_requests_total', [{ cluster_name: 'kept' }]],
    ],
  );
});

test('codes and classes stand at the end of dotted names', () => {
  for (const [name, labels, dotted] of [
    [
      'envoy_cluster_upstream_rq',
      { envoy_response_code: '503', cluster_name: 'a' },
      'cluster.a.upstream_rq_503',
    ],
    [
      'envoy_cluster_external_upstream_rq_xx',
      { envoy_response_code_class: '5', cluster_name: 'a' },
      'cluster.a.external.upstream_rq_5xx',
    ],
    [
      'envoy_cluster_retry_upstream_rq_completed',
      { cluster_name: 'a' },
      'cluster.a.retry.upstream_rq_completed',
    ],
    [
      'envoy_http_downstream_rq_xx',
      { envoy_http_conn_manager_prefix: 'in', envoy_response_code_class: '2' },
      'http.in.downstream_rq_2xx',
    ],
  ] as const)
    assert.equal(dottedName(name, labels), dotted);
});
