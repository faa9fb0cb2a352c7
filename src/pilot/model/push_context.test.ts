import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryStore } from '#config/store/memory.ts';
import { testNode } from '../networking/golden_case.ts';
import { buildClusters } from '../networking/clusters.ts';
import { buildEndpoints } from '../networking/endpoints.ts';
import { proxyFromNode } from './proxy.ts';
import { outboundView } from './proxy_view.ts';
import { buildPushContext } from './push_context.ts';
import { testResource } from './test_resource.ts';

const service = (name: string, namespace = 'default') =>
  testResource({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { clusterIP: '10.96.0.1', selector: { app: name }, ports: [{ name: 'http', port: 80 }] },
  });

const pod = (name: string, app: string, podIP: string, account = app, labels = {}) =>
  testResource({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app, ...labels } },
    spec: { serviceAccountName: account },
    status: { podIP, phase: 'Running' },
  });

const node = (name: string, namespace: string, labels: Record<string, string>) =>
  proxyFromNode(testNode({ address: '10.0.0.1', pod: name, namespace, labels }));

test('a further pod of the same identity needs endpoints only', () => {
  const store = createMemoryStore({ resources: [service('a'), pod('a-1', 'a', '10.0.0.1')] });
  const before = buildPushContext(store);
  assert.equal(before.endpointsOnly, false);
  const changes = store.apply([{ type: 'put', resource: pod('a-2', 'a', '10.0.0.2') }]);
  const after = buildPushContext(store, before, changes);
  assert.equal(after.endpointsOnly, true);
  assert.equal(after.services, before.services);
  assert.equal(after.virtualServices, before.virtualServices);
  assert.notEqual(after.endpoints, before.endpoints);
  const [assignment] = buildEndpoints(node('c', 'default', {}), after, [
    'outbound|80||a.default.svc.cluster.local',
  ]);
  assert.equal(assignment?.endpoints[0]?.lbEndpoints.length, 2);
});

const fullPushes: readonly [string, ReturnType<typeof pod>][] = [
  ['a new identity, which clusters pin', pod('a-2', 'a', '10.0.0.2', 'other')],
  ['other labels of a pod, which policies may choose', pod('a-1', 'a', '10.0.0.1', 'a', { tier: 'new' })],
];
for (const [name, resource] of fullPushes) {
  test(`everything is pushed for ${name}`, () => {
    const store = createMemoryStore({ resources: [service('a'), pod('a-1', 'a', '10.0.0.1')] });
    const before = buildPushContext(store);
    const after = buildPushContext(store, before, store.apply([{ type: 'put', resource }]));
    assert.equal(after.endpointsOnly, false);
  });
}

test('a change rebuilds only the indices of its kind', () => {
  const store = createMemoryStore({ resources: [service('a')] });
  const before = buildPushContext(store);
  const rule = testResource({
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'a' },
    spec: { hosts: ['a'], http: [{ route: [{ destination: { host: 'a' } }] }] },
  });
  const after = buildPushContext(store, before, store.apply([{ type: 'put', resource: rule }]));
  const kept = ['mesh', 'services', 'endpoints', 'destinationRules', 'gateways', 'telemetries'] as const;
  for (const index of kept) assert.equal(after[index], before[index], index);
  assert.equal(after.virtualServices.mesh.length, 1);
  assert.equal(after.endpointsOnly, false);
});

test('a ConfigMap that is not the mesh configuration changes nothing', () => {
  const store = createMemoryStore({ resources: [service('a')] });
  const before = buildPushContext(store);
  const other = testResource({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'other' }, data: {} });
  const after = buildPushContext(store, before, store.apply([{ type: 'put', resource: other }]));
  assert.equal(after.mesh, before.mesh);
  assert.equal(after.services, before.services);
});

test('proxies that nothing tells apart share views and messages', () => {
  const store = createMemoryStore({ resources: [service('a'), service('b', 'other')] });
  const push = buildPushContext(store);
  const first = node('x', 'default', { app: 'x' });
  const second = node('y', 'default', { app: 'y' });
  assert.equal(outboundView(push, first), outboundView(push, second));
  const [cluster] = buildClusters(first, push);
  assert.ok(cluster !== undefined && buildClusters(second, push).includes(cluster));
});

test('a condition on callers tells them apart by the labels it names, and no others', () => {
  const rule = testResource({
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'a' },
    spec: {
      hosts: ['a'],
      http: [{ match: [{ sourceLabels: { role: 'x' } }], route: [{ destination: { host: 'a' } }] }],
    },
  });
  const push = buildPushContext(createMemoryStore({ resources: [service('a'), rule] }));
  const view = (labels: Record<string, string>) => outboundView(push, node('p', 'default', labels));
  assert.equal(view({ app: '1' }), view({ app: '2' }));
  assert.notEqual(view({ app: '1', role: 'x' }), view({ app: '1' }));
});

test('a service exported to its own namespace is seen there only', () => {
  const hidden = testResource({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'h', namespace: 'other', annotations: { 'networking.istio.io/exportTo': '.' } },
    spec: { clusterIP: '10.96.0.9', ports: [{ name: 'http', port: 80 }] },
  });
  const push = buildPushContext(createMemoryStore({ resources: [hidden] }));
  const names = (namespace: string) =>
    buildClusters(node('p', namespace, {}), push)
      .map(({ name }) => name)
      .filter((name) => name.startsWith('outbound|'));
  assert.deepEqual(names('default'), []);
  assert.deepEqual(names('other'), ['outbound|80||h.other.svc.cluster.local']);
});
