import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { StatsMatcherSchema } from '#api/gen/envoy/config/metrics/v3/stats_pb.ts';
import type { Labels } from '#telemetry/metrics.ts';
import { dottedName } from '../admin/stat_names.ts';
import { StatInclusion } from './stat_inclusion.ts';

test("names with their labels inside, as Envoy's /stats", () => {
  const cases: [string, Labels, string][] = [
    ['envoy_cluster_upstream_rq_total', { cluster_name: 'a.b' }, 'cluster.a.b.upstream_rq_total'],
    [
      'envoy_listener_downstream_cx_active',
      { listener_address: '0.0.0.0_80' },
      'listener.0.0.0.0_80.downstream_cx_active',
    ],
    [
      'envoy_http_downstream_rq_total',
      { envoy_http_conn_manager_prefix: 'in' },
      'http.in.downstream_rq_total',
    ],
    ['envoy_cluster_manager_cds_update_success', {}, 'cluster_manager.cds_update_success'],
    ['envoy_server_live', {}, 'server.live'],
    ['istio_build', { component: 'proxy' }, 'istio_build.component.proxy'],
  ];
  for (const [name, labels, expected] of cases) assert.equal(dottedName(name, labels), expected);
});

test('stats_matcher keeps what it says, and always the metrics of Istio', () => {
  const inclusion = (json: JsonValue): StatInclusion => new StatInclusion(fromJson(StatsMatcherSchema, json));
  const patterns = { patterns: [{ prefix: 'cluster.xds-grpc' }, { suffix: 'downstream_cx_active' }] };
  const cases: [JsonValue, name: string, Labels, kept: boolean][] = [
    [{ inclusion_list: patterns }, 'envoy_cluster_upstream_rq_total', { cluster_name: 'xds-grpc' }, true],
    [{ inclusion_list: patterns }, 'envoy_cluster_upstream_rq_total', { cluster_name: 'other' }, false],
    [{ inclusion_list: patterns }, 'envoy_listener_downstream_cx_active', { listener_address: 'x' }, true],
    [{ inclusion_list: patterns }, 'istio_requests_total', {}, true],
    [{ exclusion_list: patterns }, 'envoy_cluster_upstream_rq_total', { cluster_name: 'other' }, true],
    [{ exclusion_list: patterns }, 'envoy_cluster_upstream_rq_total', { cluster_name: 'xds-grpc' }, false],
    [{ reject_all: true }, 'envoy_server_live', {}, false],
    [{ reject_all: true }, 'istio_requests_total', {}, true],
  ];
  for (const [json, name, labels, kept] of cases)
    assert.equal(inclusion(json).includes(name, labels), kept, `${JSON.stringify(json)} ${name}`);
  assert.equal(new StatInclusion(undefined).includes('envoy_server_live', {}), true);
  const series = (name: string): { labels: Labels; value: number } => ({
    labels: { cluster_name: name },
    value: 1,
  });
  const family = { name: 'envoy_cluster_x', type: 'counter' as const, help: '' };
  assert.deepEqual(
    inclusion({ inclusion_list: patterns }).filter([
      { ...family, series: [series('xds-grpc'), series('other')] },
      { ...family, name: 'envoy_server_live', series: [{ labels: {}, value: 1 }] },
    ]),
    [{ ...family, series: [series('xds-grpc')] }],
  );
});
