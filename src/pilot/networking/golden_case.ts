/** Inputs of the golden tests: objects from `testdata/*.yaml` and a proxy that asks. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, type JsonObject } from '@bufbuild/protobuf';
import { parseAllDocuments } from 'yaml';
import { type Node, NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { createMemoryStore, type MemoryStore } from '#config/store/memory.ts';
import { type Proxy, proxyFromNode } from '../model/proxy.ts';
import { buildPushContext, type PushContext } from '../model/push_context.ts';
import { testResource } from '../model/test_resource.ts';

/** A proxy and what it is told. */
export interface GoldenCase {
  readonly name: string;
  /** File below testdata, without ending. */
  readonly input: string;
  readonly node: Node;
}

interface NodeInput {
  readonly type?: 'sidecar' | 'router';
  readonly address: string;
  readonly pod: string;
  readonly namespace: string;
  readonly labels: JsonObject;
  readonly metadata?: JsonObject;
  readonly region?: string;
}

/** A node as pilot-agent writes it. */
export function testNode(input: NodeInput): Node {
  const { type = 'sidecar', address, pod, namespace, labels, metadata = {}, region = '' } = input;
  return create(NodeSchema, {
    id: `${type}~${address}~${pod}.${namespace}~${namespace}.svc.cluster.local`,
    cluster: `${pod}.${namespace}`,
    metadata: { NAMESPACE: namespace, LABELS: labels, INSTANCE_IPS: address, ...metadata },
    locality: { region },
  });
}

/** All cases. */
export const goldenCases: readonly GoldenCase[] = [
  {
    name: 'http_client',
    input: 'http',
    node: testNode({
      address: '10.244.0.5',
      pod: 'productpage-v1-x',
      namespace: 'default',
      labels: { app: 'productpage' },
    }),
  },
  {
    name: 'http_server',
    input: 'http',
    node: testNode({
      address: '10.244.0.6',
      pod: 'reviews-v1-x',
      namespace: 'default',
      labels: { app: 'reviews', version: 'v1' },
    }),
  },
  {
    name: 'tcp_reader',
    input: 'tcp',
    node: testNode({
      address: '10.244.2.2',
      pod: 'sniffed-x',
      namespace: 'data',
      labels: { app: 'sniffed', role: 'reader' },
    }),
  },
  {
    name: 'no_capture',
    input: 'no_capture',
    node: testNode({
      address: '127.0.1.6',
      pod: 'reviews-v1-x',
      namespace: 'default',
      labels: { app: 'reviews' },
      metadata: { INTERCEPTION_MODE: 'NONE' },
    }),
  },
  {
    name: 'gateway',
    input: 'gateway',
    node: testNode({
      type: 'router',
      address: '10.244.9.1',
      pod: 'istio-ingressgateway-x',
      namespace: 'istio-system',
      labels: { istio: 'ingressgateway' },
    }),
  },
  {
    name: 'policy',
    input: 'policy',
    node: testNode({
      address: '10.244.0.7',
      pod: 'ratings-v1-x',
      namespace: 'default',
      labels: { app: 'ratings' },
    }),
  },
  {
    name: 'traffic_policy',
    input: 'traffic_policy',
    node: testNode({
      address: '10.244.3.9',
      pod: 'client-x',
      namespace: 'default',
      labels: { app: 'client' },
      region: 'us',
    }),
  },
  {
    name: 'routes',
    input: 'routes',
    node: testNode({
      address: '10.244.4.9',
      pod: 'client-x',
      namespace: 'default',
      labels: { app: 'client' },
    }),
  },
];

const folder = join(import.meta.dirname, 'testdata');

/** A store with the objects of a file. */
export function storeOf(input: string): MemoryStore {
  const text = readFileSync(join(folder, `${input}.yaml`), 'utf8');
  const resources = parseAllDocuments(text)
    .map((document) => document.toJS() as Record<string, unknown>)
    .map((object) => testResource(object));
  return createMemoryStore({ resources });
}

/** Proxy and context of a case. */
export function readGoldenCase(golden: GoldenCase): { proxy: Proxy; push: PushContext } {
  return { proxy: proxyFromNode(golden.node), push: buildPushContext(storeOf(golden.input)) };
}
