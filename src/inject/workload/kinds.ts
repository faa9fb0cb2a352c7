/** Kinds that make pods: where their pod is, and what Kubernetes writes around it. */
import { metadataShape, podSpecShape } from '../pod/pod_shape.ts';
import {
  type JsonObject,
  type Shape,
  always,
  any,
  bool,
  int,
  intOrAbsent,
  isObject,
  list,
  object,
  text,
  textOrAbsent,
} from '../pod/shape.ts';

/** Where the parts of a pod are inside an object. */
export interface WorkloadKind {
  readonly group: string;
  readonly kind: string;
  readonly metadata: readonly string[];
  readonly spec: readonly string[];
  readonly shape: Shape & { readonly kind: 'object' };
  /** `status` that Kubernetes writes for an object without one. */
  readonly emptyStatus: JsonObject;
  /** Fields of `spec` that Kubernetes writes although they are zero. Default none. */
  readonly zeroSpec?: JsonObject;
}

const template = object({ metadata: always(metadataShape), spec: always(podSpecShape) });

const claim = object({
  kind: text,
  apiVersion: text,
  metadata: always(metadataShape),
  spec: always(object({ resources: always(object({})) })),
  status: always(object({})),
});

function workload(spec: Readonly<Record<string, Shape>>): Shape & { readonly kind: 'object' } {
  return object({
    kind: text,
    apiVersion: text,
    metadata: always(metadataShape),
    spec: always(object(spec)),
    status: always(object({})),
  });
}

const inTemplate = {
  metadata: ['spec', 'template', 'metadata'],
  spec: ['spec', 'template', 'spec'],
} as const;
const jobSpec = {
  parallelism: intOrAbsent,
  completions: intOrAbsent,
  template: always(template),
} as const;
const noStatus: JsonObject = {};
const replicas: JsonObject = { replicas: 0 };

/** All kinds with pods. Any other object passes through as it is. */
export const workloadKinds: readonly WorkloadKind[] = [
  {
    group: '',
    kind: 'Pod',
    metadata: ['metadata'],
    spec: ['spec'],
    shape: object({
      kind: text,
      apiVersion: text,
      metadata: always(metadataShape),
      spec: always(podSpecShape),
      status: always(object({})),
    }),
    emptyStatus: noStatus,
  },
  {
    group: 'apps',
    kind: 'Deployment',
    ...inTemplate,
    shape: workload({
      replicas: intOrAbsent,
      template: always(template),
      strategy: always(object({})),
      minReadySeconds: int,
      revisionHistoryLimit: intOrAbsent,
      paused: bool,
    }),
    emptyStatus: noStatus,
  },
  {
    group: 'apps',
    kind: 'StatefulSet',
    ...inTemplate,
    shape: workload({
      replicas: intOrAbsent,
      template: always(template),
      volumeClaimTemplates: list(claim),
      serviceName: textOrAbsent,
      podManagementPolicy: text,
      updateStrategy: always(object({})),
      minReadySeconds: int,
    }),
    emptyStatus: { availableReplicas: 0, replicas: 0 },
  },
  {
    group: 'apps',
    kind: 'DaemonSet',
    ...inTemplate,
    shape: workload({ template: always(template), updateStrategy: always(object({})), minReadySeconds: int }),
    emptyStatus: {
      currentNumberScheduled: 0,
      desiredNumberScheduled: 0,
      numberMisscheduled: 0,
      numberReady: 0,
    },
  },
  {
    group: 'apps',
    kind: 'ReplicaSet',
    ...inTemplate,
    shape: workload({ replicas: intOrAbsent, minReadySeconds: int, template: always(template) }),
    emptyStatus: replicas,
  },
  {
    group: '',
    kind: 'ReplicationController',
    ...inTemplate,
    shape: workload({ replicas: intOrAbsent, minReadySeconds: int, template: always(template) }),
    emptyStatus: replicas,
  },
  { group: 'batch', kind: 'Job', ...inTemplate, shape: workload(jobSpec), emptyStatus: noStatus },
  {
    group: 'batch',
    kind: 'CronJob',
    // Istio writes labels and annotations to the job template, and reads them there.
    metadata: ['spec', 'jobTemplate', 'metadata'],
    spec: ['spec', 'jobTemplate', 'spec', 'template', 'spec'],
    shape: workload({
      schedule: textOrAbsent,
      jobTemplate: always(object({ metadata: always(metadataShape), spec: always(object(jobSpec)) })),
    }),
    emptyStatus: noStatus,
  },
  {
    group: 'apps.openshift.io',
    kind: 'DeploymentConfig',
    ...inTemplate,
    shape: workload({
      strategy: always(object({ resources: always(object({})) })),
      minReadySeconds: int,
      triggers: list(any),
      replicas: intOrAbsent,
      paused: bool,
      template,
    }),
    zeroSpec: { test: false },
    emptyStatus: {
      latestVersion: 0,
      observedGeneration: 0,
      replicas: 0,
      updatedReplicas: 0,
      availableReplicas: 0,
      unavailableReplicas: 0,
    },
  },
];

/** The kind of an object, or undefined when it makes no pods. */
export function workloadKindOf(value: JsonObject): WorkloadKind | undefined {
  const { apiVersion, kind } = value;
  if (typeof apiVersion !== 'string') return undefined;
  const slash = apiVersion.indexOf('/');
  const named = slash === -1 ? '' : apiVersion.slice(0, slash);
  // Where Deployments and the like were before Kubernetes 1.16.
  const group = named === 'extensions' ? 'apps' : named;
  return workloadKinds.find((candidate) => candidate.kind === kind && candidate.group === group);
}

/** The object at a path, or an empty one. */
export function objectAt(value: JsonObject, path: readonly string[]): JsonObject {
  let at: unknown = value;
  for (const name of path) at = isObject(at) ? at[name] : undefined;
  return isObject(at) ? at : {};
}

/** A copy with another value at a path. */
export function withObjectAt(
  value: JsonObject,
  [name, ...rest]: readonly string[],
  put: JsonObject,
): JsonObject {
  if (name === undefined) return put;
  const child = value[name];
  return { ...value, [name]: withObjectAt(isObject(child) ? child : {}, rest, put) };
}
