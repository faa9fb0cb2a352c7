import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ProxyConfigObject } from '#config/kinds/proxy_config/types.ts';
import { defaultProxyConfig } from '#config/mesh_config/defaults.ts';
import { injectPod } from './inject_pod.ts';
import type { Pod } from './pod/types.ts';
import { ProxyConfigs, type ScopedProxyConfig } from './proxy_configs.ts';
import { readSettings } from './settings.ts';

let age = 0;
function object(namespace: string, spec: ProxyConfigObject, name = 'x'): ScopedProxyConfig {
  return { name, namespace, creationTimestamp: age++, spec };
}

const root = object('istio-system', {
  concurrency: 1,
  environmentVariables: { A: 'root', B: 'root', C: 'root', D: 'root' },
  image: { imageType: 'debug' },
});
const wide = object('books', { environmentVariables: { B: 'wide', C: 'wide', D: 'wide' }, concurrency: 2 });
const late = object('books', { concurrency: 9 }, 'late');
const own = object('books', {
  selector: { matchLabels: { app: 'reviews' } },
  environmentVariables: { D: 'own' },
  image: { imageType: 'distroless' },
});
const configs = new ProxyConfigs([late, own, wide, root], 'istio-system');

describe('ProxyConfig objects', () => {
  it('lie over the mesh: root namespace, namespace, what selects the pod', () => {
    const { base, workload } = configs.find(defaultProxyConfig, 'books', { app: 'reviews', version: 'v1' });
    assert.deepEqual([base.concurrency, base.image], [2, { imageType: 'debug' }]);
    assert.deepEqual(base.proxyMetadata, { A: 'root', B: 'wide', C: 'wide', D: 'wide' });
    assert.deepEqual(workload, { proxyMetadata: { D: 'own' }, image: { imageType: 'distroless' } });
    assert.equal(configs.find(defaultProxyConfig, 'books', { app: 'ratings' }).workload, undefined);
    const other = configs.find(defaultProxyConfig, 'other', { app: 'reviews' });
    assert.deepEqual([other.base.concurrency, other.workload], [1, undefined]);
    const inRoot = configs.find(defaultProxyConfig, 'istio-system', {});
    assert.equal(inRoot.base.proxyMetadata['B'], 'root');
  });

  it('reach the pod: above the namespace its annotation, above that what selects it', () => {
    const { settings } = readSettings({});
    const pod: Pod = {
      metadata: {
        name: 'reviews-1',
        namespace: 'books',
        labels: { app: 'reviews' },
        annotations: { 'proxy.istio.io/config': 'concurrency: 3\nproxyMetadata: {C: pod, D: pod}\n' },
      },
      spec: { containers: [{ name: 'app', image: 'app' }] },
    };
    const owner = { apiVersion: 'v1', kind: 'Pod', name: 'reviews-1', namespace: 'books' };
    const injected = injectPod({ pod, owner }, { ...settings, proxyConfigs: configs });
    const proxy = [...(injected.spec?.containers ?? []), ...(injected.spec?.initContainers ?? [])].find(
      ({ name }) => name === 'istio-proxy',
    );
    const env = new Map(proxy?.env?.map(({ name, value }) => [name, value]));
    assert.deepEqual(
      ['A', 'B', 'C', 'D'].map((name) => env.get(name)),
      ['root', 'wide', 'pod', 'own'],
    );
    assert.match(proxy?.image ?? '', /-distroless$/);
    assert.equal((JSON.parse(env.get('PROXY_CONFIG') ?? '{}') as { concurrency?: number }).concurrency, 3);
  });
});
