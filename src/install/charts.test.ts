/** The charts as our own engine renders them. That Helm gives the same is shown by test/kube/helm.test.ts. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Manifest, gatewayManifests, installManifests } from './manifests.ts';
import { readInstallValues } from './read_values.ts';

/** Kinds are large: they are rendered only where they are asked for. */
function render(set: readonly string[], kubeVersion = 'v1.31.0', namespace = 'istio-system'): Manifest[] {
  const values = readInstallValues({ set: ['base.enableCRDTemplates=false', ...set] });
  return installManifests({ namespace, kubeVersion, values });
}

function one(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  assert.ok(
    found,
    `${kind} ${name}: ${manifests.map((item) => `${item.kind} ${item.metadata.name}`).join()}`,
  );
  return found;
}

interface Webhook {
  readonly name: string;
  readonly failurePolicy: string;
  readonly sideEffects: string;
  readonly clientConfig: { readonly caBundle?: string; readonly service: object };
  readonly namespaceSelector: { readonly matchExpressions: readonly object[] };
  readonly objectSelector: { readonly matchExpressions: readonly object[] };
}

function webhooksOf(manifest: Manifest): readonly Webhook[] {
  return manifest['webhooks'] as readonly Webhook[];
}

describe('the control plane', () => {
  it('takes the versions of what the cluster serves', () => {
    const set = ['pilot.autoscaleEnabled=true'];
    const versions = (kubeVersion: string): string[] =>
      ['PodDisruptionBudget', 'HorizontalPodAutoscaler'].map(
        (kind) => one(render(set, kubeVersion), kind, 'istiod').apiVersion,
      );
    assert.deepEqual(versions('v1.20.2'), ['policy/v1beta1', 'autoscaling/v2beta2']);
    assert.deepEqual(versions('v1.22.0'), ['policy/v1', 'autoscaling/v2beta2']);
    assert.deepEqual(versions('v1.34.1+k3s1'), ['policy/v1', 'autoscaling/v2']);
  });

  it('leaves the number of copies to an autoscaler', () => {
    const replicas = (...set: string[]): unknown =>
      (one(render(set), 'Deployment', 'istiod')['spec'] as { replicas?: number }).replicas;
    assert.equal(replicas(), 1);
    assert.equal(replicas('pilot.replicaCount=3'), 3);
    assert.equal(replicas('pilot.autoscaleEnabled=true'), undefined);
  });

  it('gives every object the labels that removal asks for, and every selector its revision', () => {
    for (const { kind, metadata } of render([
      'base.enableCRDTemplates=true',
      'revision=canary',
      'revisionTags={a,b}',
    ])) {
      assert.equal(metadata.labels?.['app.kubernetes.io/managed-by'], 'trysail', `${kind} ${metadata.name}`);
      assert.equal(metadata.labels['install.trysail.io/namespace'], 'istio-system');
      if (kind !== 'Namespace' && kind !== 'CustomResourceDefinition')
        assert.equal(metadata.labels['istio.io/rev'], 'canary');
    }
  });

  it('reads Secrets of other namespaces only where gateways need them', () => {
    const hasSecrets = (...set: string[]): boolean =>
      (
        one(render(set), 'ClusterRole', 'istiod-istio-system')['rules'] as readonly {
          resources: readonly string[];
        }[]
      ).some(({ resources }) => resources.includes('secrets'));
    assert.equal(hasSecrets(), false);
    assert.equal(hasSecrets('pilot.gatewayCredentials=true'), true);
  });
});

describe('webhooks', () => {
  it('are four pairs for the default revision, none with a bundle', () => {
    const found = webhooksOf(one(render([]), 'MutatingWebhookConfiguration', 'istio-sidecar-injector'));
    assert.deepEqual(
      found.map(({ name }) => name),
      ['rev.namespace.', 'rev.object.', 'namespace.', 'object.'].map(
        (prefix) => `${prefix}sidecar-injector.istio.io`,
      ),
    );
    for (const webhook of found) {
      assert.equal(webhook.failurePolicy, 'Fail');
      assert.equal(webhook.sideEffects, 'None');
      assert.deepEqual(webhook.clientConfig, {
        service: { name: 'istiod', namespace: 'istio-system', path: '/inject', port: 443 },
      });
    }
  });

  it('are two for a revision and its tags, four for the tag default, five with all namespaces', () => {
    const count = (set: readonly string[], name: string): number =>
      webhooksOf(one(render(set), 'MutatingWebhookConfiguration', name)).length;
    const set = ['revision=canary', 'revisionTags={prod,default}'];
    assert.equal(count(set, 'istio-sidecar-injector-canary'), 2);
    assert.equal(count(set, 'istio-revision-tag-prod'), 2);
    assert.equal(count(set, 'istio-revision-tag-default'), 4);
    const everywhere = ['sidecarInjectorWebhook.enableNamespacesByDefault=true'];
    assert.equal(count(everywhere, 'istio-sidecar-injector'), 5);
  });

  it('have names of their own beside those of another namespace', () => {
    one(render([], 'v1.31.0', 'mesh-b'), 'MutatingWebhookConfiguration', 'istio-sidecar-injector-mesh-b');
    one(render([], 'v1.31.0', 'mesh-b'), 'ClusterRole', 'istiod-mesh-b');
  });
});

describe('the gateway', () => {
  const set = ['gateways.istio-ingressgateway.enabled=true'];

  it('is there when it is wanted', () => {
    const options = { namespace: 'istio-system', kubeVersion: 'v1.31.0' };
    assert.deepEqual(gatewayManifests({ ...options, values: readInstallValues({}) }), []);
    assert.deepEqual(
      gatewayManifests({ ...options, values: readInstallValues({ set }) }).map(({ kind }) => kind),
      ['ServiceAccount', 'Role', 'RoleBinding', 'Service', 'Deployment'],
    );
  });

  it('binds low ports without root where the sysctl is allowed', () => {
    const user = (kubeVersion: string): unknown => {
      const spec = one(render(set, kubeVersion), 'Deployment', 'istio-ingressgateway')['spec'] as {
        template: { spec: { containers: { securityContext: { runAsUser: number } }[] } };
      };
      return spec.template.spec.containers[0]?.securityContext.runAsUser;
    };
    assert.equal(user('v1.22.0'), 1337);
    assert.equal(user('v1.21.9'), 0);
  });

  it('belongs to the revision of the control plane', () => {
    const spec = one(render([...set, 'revision=canary']), 'Deployment', 'istio-ingressgateway')['spec'] as {
      template: Manifest;
    };
    assert.equal(spec.template.metadata.labels?.['istio.io/rev'], 'canary');
  });
});
