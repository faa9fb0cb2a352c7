import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isMeshConfigMap, meshConfigOf, readMeshConfig } from './config_map.ts';
import { defaultMeshConfig, mergeProxyConfig } from './defaults.ts';
import type { Resource } from '../resource.ts';

function configMap(name: string, data: Record<string, string>): Resource {
  const metadata = {
    name,
    namespace: 'istio-system',
    labels: {},
    annotations: {},
    creationTimestamp: 0,
    resourceVersion: '1',
  };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata, body: { data } };
}

describe('MeshConfig', () => {
  it('without settings is the defaults', () => {
    assert.deepEqual(readMeshConfig(''), { ok: true, mesh: defaultMeshConfig });
    assert.equal(meshConfigOf(undefined), defaultMeshConfig);
  });

  it('lies over the defaults: messages field by field, providers by name', () => {
    const result = readMeshConfig(`
accessLogFile: /dev/stdout
trustDomain: null
defaultConfig:
  concurrency: 2
  proxyMetadata: {A: b}
defaultProviders: {tracing: [zipkin]}
extensionProviders:
- {name: envoy, envoyFileAccessLog: {path: /x}}
- {name: zipkin, zipkin: {service: zipkin.ns.svc, port: 9411}}
`);
    assert.ok(result.ok);
    const { mesh } = result;
    assert.equal(mesh.accessLogFile, '/dev/stdout');
    assert.equal(mesh.trustDomain, 'cluster.local');
    assert.equal(mesh.defaultConfig.concurrency, 2);
    assert.equal(mesh.defaultConfig.discoveryAddress, 'istiod.istio-system.svc:15012');
    assert.deepEqual(mesh.defaultConfig.proxyMetadata, { A: 'b' });
    assert.deepEqual(mesh.defaultProviders, { metrics: ['prometheus'], tracing: ['zipkin'] });
    assert.deepEqual(
      mesh.extensionProviders.map(({ name }) => name),
      ['prometheus', 'stackdriver', 'envoy', 'zipkin'],
    );
    assert.equal(mesh.extensionProviders[2]?.envoyFileAccessLog?.path, '/x');
  });

  it('names all errors', () => {
    assert.deepEqual(
      readMeshConfig(
        'trustDomain: a b\nconnectTimeout: 31s\ndefaultConfig: {interceptionMode: redirect}\nacessLogFile: x\n',
      ),
      {
        ok: false,
        errors: [
          'trustDomain: expected a trust domain such as "cluster.local", found "a b"',
          'connectTimeout: expected a duration from 1ms to 30000ms such as "1.5s", found "31s"',
          'defaultConfig.interceptionMode: expected one of REDIRECT, TPROXY, NONE, found "redirect"; did you mean REDIRECT?',
          'acessLogFile: unknown field, did you mean "accessLogFile"?',
        ],
      },
    );
    assert.equal(readMeshConfig('a: [').ok, false);
    assert.equal(readMeshConfig('text').ok, false);
  });

  it('is found in ConfigMap istio and its revisions', () => {
    assert.ok(isMeshConfigMap(configMap('istio', { mesh: '' })));
    assert.ok(isMeshConfigMap(configMap('istio-canary', { mesh: '' })));
    assert.ok(!isMeshConfigMap(configMap('istio-ca-root-cert', { 'root-cert.pem': '' })));
    assert.ok(!isMeshConfigMap(configMap('other', { mesh: '' })));
    assert.equal(meshConfigOf(configMap('istio', { mesh: 'rootNamespace: x' })).rootNamespace, 'x');
  });
});

it('a ProxyConfig that names its tracing service has no service cluster', () => {
  const merged = mergeProxyConfig(defaultMeshConfig.defaultConfig, {
    tracingServiceName: 'CANONICAL_NAME_ONLY',
  });
  assert.equal(merged.serviceCluster, undefined);
  assert.equal(merged.statusPort, 15_020);
});
