/** The pods that controllers make of workloads. */
import type { Json } from './cases.ts';

/** A pod as the API server shows it to the webhook. */
export interface AdmittedPod {
  readonly pod: Json;
  readonly namespace: string;
}

function objectAt(value: Json, path: readonly string[]): Json {
  let at: unknown = value;
  for (const step of path) at = (at as Json | undefined)?.[step];
  return (at ?? {}) as Json;
}

/** The controller of a pod: that of a Deployment is a ReplicaSet, that of a DeploymentConfig a ReplicationController. */
function controller(kind: string, apiVersion: string, name: string): Json {
  if (kind === 'Deployment')
    return { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `${name}-fake`, controller: true };
  if (kind === 'DeploymentConfig')
    return { apiVersion: 'v1', kind: 'ReplicationController', name: `${name}-fake`, controller: true };
  return { apiVersion, kind, name, controller: true };
}

/** The API server writes `resources` of every container. */
function admitted(spec: Json): Json {
  const filled = (containers: unknown): unknown =>
    (containers as Json[] | undefined)?.map((container) => ({
      ...container,
      resources: container['resources'] ?? {},
    }));
  return JSON.parse(
    JSON.stringify({
      ...spec,
      containers: filled(spec['containers']),
      initContainers: filled(spec['initContainers']),
    }),
  ) as Json;
}

/** Pods of a document, also inside a List; none for other kinds. */
export function podsOf(document: Json): AdmittedPod[] {
  const { kind, apiVersion } = document as { kind: string; apiVersion: string };
  if (kind === 'List') return (document['items'] as Json[]).flatMap(podsOf);
  const { name = '', namespace = 'default' } = objectAt(document, ['metadata']) as {
    name?: string;
    namespace?: string;
  };
  if (kind === 'Pod') {
    const pod = { ...document, spec: admitted(objectAt(document, ['spec'])), status: {} };
    return [{ pod, namespace }];
  }
  const template = objectAt(document, ['spec', 'template', 'spec']);
  if (Object.keys(template).length === 0) return [];
  const spec = admitted(template);
  const metadata = objectAt(document, ['spec', 'template', 'metadata']);
  const owner = controller(kind, apiVersion, name);
  const hash = kind === 'Deployment' ? { 'pod-template-hash': 'fake' } : {};
  const config = kind === 'DeploymentConfig' ? { deploymentconfig: name } : {};
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...metadata,
      generateName: `${String(owner['name'])}-`,
      labels: { ...(metadata['labels'] as Json | undefined), ...hash, ...config },
      ownerReferences: [owner],
    },
    spec,
    status: {},
  };
  return [{ pod, namespace }];
}
