/** The objects that a cluster would hold about running pods: Pod, and in mode `none` the Sidecar that stands in for capture. */
import type { PodBody } from '#config/kinds/kubernetes/types.ts';
import type { Sidecar } from '#config/kinds/sidecar/types.ts';
import type { ObjectMeta, Resource } from '#config/resource.ts';
import type { PlannedPod } from './workloads.ts';

/** Label that only the mesh on one machine sets: it selects a single pod. */
export const podLabel = 'trysail.dev/pod';

function metadata(name: string, namespace: string, rest: Partial<ObjectMeta>): ObjectMeta {
  return { name, namespace, labels: {}, annotations: {}, creationTimestamp: 0, resourceVersion: '', ...rest };
}

/** One port on which the application of a pod listens. */
export interface AppPort {
  readonly containerPort: number;
  readonly name: string | undefined;
  /** Where others dial the pod; the container port wherever each pod has an address of its own. */
  readonly dialPort: number;
  /** Where the application itself listens. */
  readonly listenPort: number;
}

/** Labels of the running pod: its own and those that injection adds (features.md 1.17). */
export function runtimeLabels(pod: PlannedPod): Record<string, string> {
  const labels: Record<string, string> = { ...pod.labels, [podLabel]: pod.name };
  if (!pod.injected) return labels;
  const app = pod.labels['app.kubernetes.io/name'] ?? pod.labels['app'] ?? pod.workload.name;
  const version = pod.labels['app.kubernetes.io/version'] ?? pod.labels['version'] ?? 'latest';
  labels['service.istio.io/canonical-name'] ??= app;
  labels['service.istio.io/canonical-revision'] ??= version;
  // gateways are clients of the mesh only: nothing dials them with mutual TLS
  if (pod.role === 'sidecar') labels['security.istio.io/tlsMode'] ??= 'istio';
  return labels;
}

/** The Pod object of a running pod. `version` must change with each change of state. */
export function podObject(pod: PlannedPod, ip: string, ready: boolean, version: number): Resource<PodBody> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata(pod.name, pod.namespace, {
      labels: runtimeLabels(pod),
      annotations: pod.injected ? { ...pod.annotations, 'sidecar.istio.io/status': '{}' } : pod.annotations,
      resourceVersion: String(version),
      ownerReferences: [{ ...pod.workload, controller: true }],
    }),
    body: {
      spec: { ...pod.spec, serviceAccountName: pod.serviceAccount, nodeName: 'localhost' },
      status: {
        phase: 'Running',
        podIP: ip,
        podIPs: [{ ip }],
        hostIP: '127.0.0.1',
        conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
      },
    },
  };
}

/**
 * Without capture, inbound traffic comes in by listeners of a generated Sidecar object, bound to the pod's own address;
 * the application stands behind them on 127.0.0.1.
 */
export function sidecarObject(
  pod: PlannedPod,
  ip: string,
  ports: readonly AppPort[],
  protocolOf: (containerPort: number) => string,
): Resource<{ readonly spec: Sidecar }> {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'Sidecar',
    metadata: metadata(`trysail-${pod.name}`, pod.namespace, {
      resourceVersion: JSON.stringify([ip, ports]),
    }),
    body: {
      spec: {
        workloadSelector: { labels: { [podLabel]: pod.name } },
        ingress: ports.map((port) => ({
          port: {
            number: port.dialPort,
            protocol: protocolOf(port.containerPort),
            name: port.name ?? `port-${port.containerPort}`,
          },
          bind: ip,
          captureMode: 'NONE',
          defaultEndpoint: `127.0.0.1:${port.listenPort}`,
        })),
        egress: [{ hosts: ['*/*'], captureMode: 'NONE' }],
      },
    },
  };
}
