/** From workloads to the pods that should run: what the Deployment, StatefulSet and ReplicaSet controllers do in a cluster. */
import { createHash } from 'node:crypto';
import type {
  Container,
  NamespaceBody,
  PodBody,
  PodSpec,
  WorkloadBody,
} from '#config/kinds/kubernetes/types.ts';
import { resourceName, type Resource } from '#config/resource.ts';
import type { ConfigStore } from '#config/store/store.ts';

/** One pod that should run. Two plans with equal `key` and `hash` are the same pod. */
export interface PlannedPod {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
  readonly serviceAccount: string;
  readonly containers: readonly Container[];
  /** Who made it; a bare Pod is its own. */
  readonly workload: { readonly apiVersion: string; readonly kind: string; readonly name: string };
  /** Changes whenever the template changes. */
  readonly hash: string;
  /** False for pods that opted out: they run without a sidecar. */
  readonly injected: boolean;
  readonly role: 'sidecar' | 'router';
}

/** Kinds that make pods, with the number of pods that a missing `replicas` means. */
const workloadKinds = ['Deployment', 'StatefulSet', 'ReplicaSet', 'DaemonSet'] as const;

/** Namespaces that are never injected (as Istio's webhook). */
const systemNamespaces = new Set(['kube-system', 'kube-public', 'kube-node-lease', 'local-path-storage']);

/** More pods than this in one mesh is a mistake in a file, not a laptop. */
const maxPods = 200;

/** `namespace/name`: identifies a pod. */
export function podKey(pod: { readonly namespace: string; readonly name: string }): string {
  return `${pod.namespace}/${pod.name}`;
}

/**
 * Is a sidecar put beside this pod? Labels beat annotations; without any word the answer is yes: on one machine the mesh
 * is what was asked for (`enableNamespacesByDefault`).
 */
export function isInjected(
  namespace: Resource<NamespaceBody> | undefined,
  namespaceName: string,
  labels: Readonly<Record<string, string>>,
  annotations: Readonly<Record<string, string>>,
  spec: PodSpec,
): boolean {
  if (spec.hostNetwork === true || systemNamespaces.has(namespaceName)) return false;
  const wish = labels['sidecar.istio.io/inject'] ?? annotations['sidecar.istio.io/inject'];
  if (wish === 'false') return false;
  if (wish === 'true') return true;
  return namespace?.metadata.labels['istio-injection'] !== 'disabled';
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 6);
}

function plan(
  store: ConfigStore,
  owner: Pick<Resource, 'apiVersion' | 'kind' | 'metadata'>,
  template: {
    readonly metadata?: {
      readonly labels?: Readonly<Record<string, string>>;
      readonly annotations?: Readonly<Record<string, string>>;
    };
    readonly spec?: PodSpec;
  },
  podNames: (hash: string) => readonly string[],
): PlannedPod[] {
  const namespace = owner.metadata.namespace;
  const labels = template.metadata?.labels ?? {};
  const annotations = template.metadata?.annotations ?? {};
  const spec = template.spec ?? {};
  const hash = hashOf([labels, annotations, spec]);
  const namespaceObject = store.get('Namespace', '', namespace) as Resource<NamespaceBody> | undefined;
  return podNames(hash).map((name) => ({
    name,
    namespace,
    labels: owner.kind === 'StatefulSet' ? { ...labels, 'statefulset.kubernetes.io/pod-name': name } : labels,
    annotations,
    spec,
    serviceAccount: spec.serviceAccountName ?? 'default',
    containers: (spec.containers ?? []).filter((container) => container.name !== 'istio-proxy'),
    workload: { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.metadata.name },
    hash,
    injected: isInjected(namespaceObject, namespace, labels, annotations, spec),
    role: 'sidecar',
  }));
}

/** All pods that the objects of the store ask for, and messages for what cannot be run. */
export function planPods(store: ConfigStore): { pods: PlannedPod[]; problems: string[] } {
  const pods: PlannedPod[] = [];
  const problems: string[] = [];
  for (const kind of workloadKinds) {
    for (const resource of store.list(kind) as readonly Resource<WorkloadBody>[]) {
      const { template, replicas } = resource.body.spec ?? {};
      if (template === undefined) continue;
      const count = kind === 'DaemonSet' ? 1 : (replicas ?? 1);
      const base = resource.metadata.name;
      pods.push(
        ...plan(store, resource, template, (hash) =>
          Array.from({ length: Math.min(count, maxPods) }, (_, i) =>
            kind === 'StatefulSet' ? `${base}-${i}` : `${base}-${hash}-${i}`,
          ),
        ),
      );
    }
  }
  for (const resource of store.list('Pod') as readonly Resource<PodBody>[]) {
    const { labels, annotations, name } = resource.metadata;
    pods.push(
      ...plan(store, resource, { metadata: { labels, annotations }, spec: resource.body.spec ?? {} }, () => [
        name,
      ]),
    );
  }
  if (pods.length > maxPods) {
    problems.push(`${pods.length} pods are asked for; the first ${maxPods} are started`);
    pods.length = maxPods;
  }
  for (const kind of ['Job', 'CronJob']) {
    for (const resource of store.list(kind)) problems.push(`${resourceName(resource)}: ${kind}s are not run`);
  }
  return { pods, problems };
}

/** The built-in gateway: a pod as Istio's `istio-ingressgateway`, for Gateways whose selector no other pod answers. */
export function gatewayPod(selector: Readonly<Record<string, string>>): PlannedPod {
  const labels = { app: 'istio-ingressgateway', istio: 'ingressgateway', ...selector };
  return {
    name: 'istio-ingressgateway',
    namespace: 'istio-system',
    labels,
    annotations: {},
    spec: {},
    serviceAccount: 'istio-ingressgateway-service-account',
    containers: [],
    workload: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'istio-ingressgateway' },
    hash: hashOf(labels),
    injected: true,
    role: 'router',
  };
}
