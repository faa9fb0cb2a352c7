import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Resource } from '#config/resource.ts';
import { createMemoryStore } from '#config/store/memory.ts';
import { endpointSlices, type PodState } from './endpoint_slices.ts';
import { podObject, runtimeLabels, sidecarObject } from './pod_objects.ts';
import { VirtualAddresses } from './virtual_addresses.ts';
import { gatewayPod, planPods, type PlannedPod } from './workloads.ts';

function resource(
  kind: string,
  name: string,
  body: Record<string, unknown>,
  labels: Record<string, string> = {},
): Resource {
  return {
    apiVersion: kind === 'Deployment' || kind === 'StatefulSet' ? 'apps/v1' : 'v1',
    kind,
    metadata: {
      name,
      namespace: kind === 'Namespace' ? '' : 'default',
      labels,
      annotations: {},
      creationTimestamp: 0,
      resourceVersion: JSON.stringify([body, labels]),
    },
    body,
  };
}

function deployment(
  name: string,
  labels: Record<string, string>,
  image: string,
  replicas?: number,
): Resource {
  return resource('Deployment', name, {
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      template: {
        metadata: { labels },
        spec: { containers: [{ name: 'app', image, ports: [{ containerPort: 9080 }] }] },
      },
    },
  });
}

test('deployments become pods; a changed template makes other pods, a changed number keeps the old ones', () => {
  const store = createMemoryStore({
    resources: [deployment('reviews-v1', { app: 'reviews', version: 'v1' }, 'a:1', 2)],
  });
  const first = planPods(store).pods;
  assert.equal(first.length, 2);
  assert.match(first[0]!.name, /^reviews-v1-[0-9a-f]{6}-0$/);
  assert.deepEqual(
    first.map(({ injected, serviceAccount }) => [injected, serviceAccount]),
    [
      [true, 'default'],
      [true, 'default'],
    ],
  );
  store.put(deployment('reviews-v1', { app: 'reviews', version: 'v1' }, 'a:1', 3));
  assert.deepEqual(
    planPods(store)
      .pods.slice(0, 2)
      .map(({ name }) => name),
    first.map(({ name }) => name),
  );
  store.put(deployment('reviews-v1', { app: 'reviews', version: 'v1' }, 'a:2', 2));
  assert.notEqual(planPods(store).pods[0]!.name, first[0]!.name);
});

test('injection: label of the pod over the namespace, yes without a word', () => {
  const cases: [Record<string, string>, Record<string, string> | undefined, boolean][] = [
    [{}, undefined, true],
    [{}, { 'istio-injection': 'disabled' }, false],
    [{ 'sidecar.istio.io/inject': 'true' }, { 'istio-injection': 'disabled' }, true],
    [{ 'sidecar.istio.io/inject': 'false' }, { 'istio-injection': 'enabled' }, false],
  ];
  for (const [labels, namespace, expected] of cases) {
    const resources = [deployment('x', labels, 'i')];
    if (namespace !== undefined) resources.push(resource('Namespace', 'default', {}, namespace));
    assert.equal(
      planPods(createMemoryStore({ resources })).pods[0]!.injected,
      expected,
      JSON.stringify([labels, namespace]),
    );
  }
});

test('services get addresses of their own that stay', () => {
  const addresses = new VirtualAddresses();
  const service = (name: string, spec: object): Resource => resource('Service', name, { spec });
  const first = addresses.assign(service('a', {}));
  const ip = (found: { readonly body: unknown }): unknown =>
    (found.body as { spec: { clusterIP?: string } }).spec.clusterIP;
  assert.match(String(ip(first)), /^10\.96\./);
  assert.notEqual(ip(addresses.assign(service('b', {}))), ip(first));
  assert.equal(ip(addresses.assign(service('a', { ports: [] }))), ip(first));
  assert.equal(ip(addresses.assign(service('h', { clusterIP: 'None' }))), 'None');
  assert.equal(ip(addresses.assign(service('e', { type: 'ExternalName' }))), undefined);
});

function state(name: string, labels: Record<string, string>, ready: boolean, dialPort = 9080): PodState {
  const pod: PlannedPod = { ...gatewayPod({}), name, namespace: 'default', labels, role: 'sidecar' };
  return {
    pod,
    ip: '127.80.0.2',
    ready,
    ports: [{ containerPort: 9080, name: 'http', dialPort, listenPort: 40000 }],
  };
}

test('endpoint slices follow selectors, readiness and named ports; pods with other ports stand in a slice of their own', () => {
  const service = resource('Service', 'reviews', {
    spec: { selector: { app: 'reviews' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
  });
  const slices = endpointSlices(service, [
    state('r1', { app: 'reviews' }, true),
    state('r2', { app: 'reviews' }, false),
    state('r3', { app: 'reviews' }, true, 31000),
    state('d1', { app: 'details' }, true),
  ]);
  assert.deepEqual(
    slices.map(({ body }) => [
      body.ports?.[0]?.port,
      body.endpoints?.map((e) => [e.targetRef?.name, e.conditions?.ready]),
    ]),
    [
      [
        9080,
        [
          ['r1', true],
          ['r2', false],
        ],
      ],
      [31000, [['r3', true]]],
    ],
  );
});

test('pods carry the labels of injected pods, gateways take no mutual TLS', () => {
  const pod = state('r1', { app: 'reviews', version: 'v1' }, true).pod;
  const labels = podObject(pod, '127.80.0.2', true, 1).metadata.labels;
  assert.deepEqual(
    [
      labels['security.istio.io/tlsMode'],
      labels['service.istio.io/canonical-name'],
      labels['service.istio.io/canonical-revision'],
    ],
    ['istio', 'reviews', 'v1'],
  );
  assert.equal(
    runtimeLabels(gatewayPod({ istio: 'ingressgateway' }))['security.istio.io/tlsMode'],
    undefined,
  );
});

test('without capture a Sidecar stands in for it', () => {
  const { pod, ip, ports } = state('r1', { app: 'reviews' }, true);
  const sidecar = sidecarObject(pod, ip, ports, () => 'HTTP').body.spec;
  assert.deepEqual(sidecar.workloadSelector, { labels: { 'trysail.dev/pod': 'r1' } });
  assert.deepEqual(sidecar.ingress, [
    {
      port: { number: 9080, protocol: 'HTTP', name: 'http' },
      bind: ip,
      captureMode: 'NONE',
      defaultEndpoint: '127.0.0.1:40000',
    },
  ]);
});
