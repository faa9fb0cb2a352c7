/** EndpointSlices of Services with a selector: what the endpoint slice controller keeps in a cluster. */
import type { EndpointSliceBody, ServiceBody } from '#config/kinds/kubernetes/types.ts';
import type { Resource } from '#config/resource.ts';
import type { AppPort } from './pod_objects.ts';
import type { PlannedPod } from './workloads.ts';

/** What is known of a running pod. */
export interface PodState {
  readonly pod: PlannedPod;
  readonly ip: string;
  readonly ready: boolean;
  readonly ports: readonly AppPort[];
}

/** Where others dial a port of this pod. */
export function dialPort(state: PodState, target: number | string): number | undefined {
  for (const port of state.ports) {
    if (port.name === target || port.containerPort === target) return port.dialPort;
  }
  return typeof target === 'number' ? target : undefined;
}

function selects(
  selector: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

/** One slice per distinct list of port numbers, as the controller does. */
export function endpointSlices(
  service: Resource<ServiceBody>,
  states: readonly PodState[],
): Resource<EndpointSliceBody>[] {
  const { selector, ports = [], publishNotReadyAddresses } = service.body.spec ?? {};
  const { name, namespace } = service.metadata;
  if (selector === undefined || Object.keys(selector).length === 0) return [];
  const groups = new Map<string, PodState[]>();
  for (const state of states) {
    if (state.pod.namespace !== namespace || !selects(selector, state.pod.labels)) continue;
    const key = JSON.stringify(ports.map((port) => dialPort(state, port.targetPort ?? port.port) ?? null));
    groups.set(key, [...(groups.get(key) ?? []), state]);
  }
  return [...groups].map(([key, members], i) => {
    const numbers = JSON.parse(key) as (number | null)[];
    const body: EndpointSliceBody = {
      addressType: 'IPv4',
      endpoints: members.map(({ pod, ip, ready }) => ({
        addresses: [ip],
        conditions: { ready: ready || publishNotReadyAddresses === true, serving: ready, terminating: false },
        nodeName: 'localhost',
        targetRef: { kind: 'Pod', namespace: pod.namespace, name: pod.name },
      })),
      ports: ports.flatMap((port, p) => {
        const number = numbers[p];
        return number === null || number === undefined
          ? []
          : [{ name: port.name ?? '', port: number, protocol: port.protocol ?? 'TCP' }];
      }),
    };
    return {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: `${name}-${i}`,
        namespace,
        labels: { 'kubernetes.io/service-name': name },
        annotations: {},
        creationTimestamp: 0,
        resourceVersion: JSON.stringify(body),
      },
      body,
    };
  });
}
