/** What the webhook of an installation makes of pods: the settings are those that the chart writes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { injectManifest } from '#inject/kube_inject.ts';
import type { Pod } from '#inject/pod/types.ts';
import { readSettings } from '#inject/settings.ts';
import { type Manifest, installManifests } from './manifests.ts';
import { readInstallValues } from './read_values.ts';

function installed(set: readonly string[], kubeVersion: string): readonly Manifest[] {
  // Kinds are large, and nothing of them matters here.
  const values = readInstallValues({ set: ['base.enableCRDTemplates=false', ...set] });
  return installManifests({ namespace: 'istio-system', kubeVersion, values });
}

/** The pod template of a workload, injected as by the control plane of an installation. */
function inject(workload: object, all: readonly Manifest[], revision = 'default'): Pod {
  const suffix = revision === 'default' ? '' : `-${revision}`;
  const data = (name: string): Readonly<Record<string, string>> => {
    const found = all.find(
      ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === `${name}${suffix}`,
    );
    assert.ok(found, name);
    return found['data'] as Readonly<Record<string, string>>;
  };
  const injector = data('istio-sidecar-injector');
  const { settings, warnings } = readSettings({
    mesh: data('istio')['mesh'] ?? '',
    values: injector['values'] ?? '',
    injectConfig: injector['config'] ?? '',
    revision,
  });
  assert.deepEqual(warnings, []);
  const { spec } = parse(injectManifest(JSON.stringify(workload), 'x.json', settings).text) as {
    spec: { template: Pod };
  };
  return spec.template;
}

const application = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'web', image: 'web' }] } },
  },
};

function proxyOf({ spec }: Pod) {
  const found = spec?.containers?.find(({ name }) => name === 'istio-proxy');
  assert.ok(found, 'istio-proxy');
  return found;
}

function variable(pod: Pod, name: string): string | undefined {
  const found = proxyOf(pod).env?.find((item) => item.name === name);
  return found?.value;
}

describe('a sidecar', () => {
  it('has image, pull policy, cluster and control plane of the values', () => {
    const set = ['hub=registry.example/mesh', 'tag=7', 'global.imagePullPolicy=Never'];
    const more = ['global.multiCluster.clusterName=east', 'global.proxy.logLevel=debug'];
    const pod = inject(application, installed([...set, ...more], 'v1.31.0'));
    const { image, imagePullPolicy, args } = proxyOf(pod);
    assert.equal(image, 'registry.example/mesh/proxyv2:7');
    assert.equal(imagePullPolicy, 'Never');
    assert.ok(args?.includes('--proxyLogLevel=debug'), String(args));
    assert.equal(variable(pod, 'ISTIO_META_CLUSTER_ID'), 'east');
  });

  it('asks the control plane of its revision', () => {
    const all = installed(['revision=canary'], 'v1.31.0');
    const pod = inject(application, all, 'canary');
    assert.match(variable(pod, 'PROXY_CONFIG') ?? '', /istiod-canary\.istio-system\.svc:15012/);
    assert.equal(variable(pod, 'CA_ADDR'), 'istiod-canary.istio-system.svc:15012');
  });
});

describe('the gateway', () => {
  const set = ['gateways.istio-ingressgateway.enabled=true'];
  const gateway = (kubeVersion: string): Pod => {
    const all = installed(set, kubeVersion);
    const found = all.find(
      ({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'istio-ingressgateway',
    );
    assert.ok(found);
    return inject(found, all);
  };

  it('is a proxy of the mesh that may listen on low ports', () => {
    const pod = gateway('v1.31.0');
    const { image, args, securityContext } = proxyOf(pod);
    assert.match(image ?? '', /\/proxyv2:/);
    assert.deepEqual(args?.slice(0, 2), ['proxy', 'router']);
    assert.equal(securityContext?.runAsUser, 1337);
    assert.match(JSON.stringify(pod.spec?.securityContext), /ip_unprivileged_port_start/);
    assert.equal(pod.spec?.initContainers?.length ?? 0, 0, 'nothing is captured');
  });

  it('asks for no sysctl where Kubernetes would refuse it', () => {
    const pod = gateway('v1.20.2');
    assert.doesNotMatch(JSON.stringify(pod.spec), /sysctls/);
    const { securityContext } = proxyOf(pod);
    assert.equal(securityContext?.runAsUser, 0);
    assert.deepEqual(securityContext?.capabilities?.add, ['NET_BIND_SERVICE']);
  });
});
