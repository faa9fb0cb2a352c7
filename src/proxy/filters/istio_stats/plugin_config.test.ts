import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type JsonObject } from '@bufbuild/protobuf';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { metricNames } from './labels.ts';
import { constantOf, planLabels, readStatsConfig } from './plugin_config.ts';

const node = create(NodeSchema, {
  id: 'me',
  cluster: 'app.default',
  metadata: { CLUSTER_ID: 'c1', LABELS: { app: 'a' } },
});

test('defaults', () => {
  const config = readStatsConfig({}, node);
  assert.equal(config.disableHostHeaderFallback, false);
  assert.equal(config.tcpReportingMs, 15_000);
  assert.deepEqual(config.ignored, []);
  for (const name of metricNames) assert.equal(config.plans[name].dropped, false);
});

test('labels are removed, replaced and added, of one metric or all', () => {
  const { plans } = readStatsConfig(
    {
      metrics: [
        { name: 'requests_total', tags_to_remove: ['b'], dimensions: { a: "'A'", extra: 'node.id' } },
        { tagsToRemove: ['c'] },
        { name: 'istio_request_bytes', drop: true },
      ],
    },
    node,
  );
  const names = ['a', 'b', 'c'];
  const values = ['1', '2', '3'];
  assert.deepEqual(planLabels(plans.requests_total, names, values), { a: 'A', extra: 'me' });
  assert.deepEqual(planLabels(plans.response_bytes, names, values), { a: '1', b: '2' });
  assert.deepEqual([plans.request_bytes.dropped, plans.requests_total.dropped], [true, false]);
});

test('what has no effect is named, not fatal', () => {
  const config: JsonObject = {
    metrics: [
      { name: 'requests_total', dimensions: { host: 'request.host' } },
      { name: 'requests_total', match: "request.method == 'GET'", drop: true },
      { name: 'nope' },
    ],
    definitions: [{ name: 'mine', value: '1' }],
  };
  const { ignored, plans } = readStatsConfig(config, node);
  assert.deepEqual(ignored, [
    'metrics[0].dimensions.host: CEL expressions are not supported, only constants',
    'metrics[1].match: CEL expressions are not supported',
    'metrics[2].name: there is no metric nope',
    'definitions: metrics of your own are not supported',
  ]);
  assert.equal(plans.requests_total.dropped, false);
});

test('constants', () => {
  const cases: [string, string | undefined][] = [
    ["'v'", 'v'],
    ['"v w"', 'v w'],
    ['""', ''],
    ['node.id', 'me'],
    ['node.cluster', 'app.default'],
    ['node.metadata.CLUSTER_ID', 'c1'],
    ["node.metadata['LABELS']['app']", 'a'],
    ['node.metadata.LABELS', undefined],
    ['node.metadata.NONE', undefined],
    ["'a' + 'b'", undefined],
    ['request.host', undefined],
  ];
  for (const [expression, expected] of cases)
    assert.equal(constantOf(expression, node), expected, expression);
});

test('fields of the wrong type are refused', () => {
  const cases: [JsonObject, RegExp][] = [
    [{ metrics: 'x' }, /^Error: metrics: expected a list/],
    [{ metrics: ['x'] }, /^Error: metrics\[0\]: expected an object/],
    [{ tcp_reporting_duration: 'soon' }, /tcp_reporting_duration/],
  ];
  for (const [config, message] of cases) assert.throws(() => readStatsConfig(config, node), message);
  assert.equal(readStatsConfig({ tcpReportingDuration: '5s' }, node).tcpReportingMs, 5000);
});
