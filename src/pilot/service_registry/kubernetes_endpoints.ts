/**
 * Endpoints of Kubernetes Services of one namespace: from EndpointSlices, else Endpoints, else (configuration from files,
 * where nobody writes either) from the pods that the selector chooses.
 */
import type { EndpointSliceBody, EndpointsBody } from '#config/kinds/kubernetes/types.ts';
import type { Resource } from '#config/resource.ts';
import { hasLabels, selectorMatches } from '../model/labels.ts';
import { append } from '../model/multimap.ts';
import { type Endpoint, type Service, type ServicePort, unknownLocality } from '../model/service.ts';
import type { Pod } from './kubernetes_pod.ts';
import { parseLocality } from './locality.ts';

/** Endpoints of a service by port name. */
export type EndpointsByPort = ReadonlyMap<string, readonly Endpoint[]>;

/** What one namespace holds. */
export interface NamespaceObjects {
  readonly pods: readonly Pod[];
  readonly podByName: ReadonlyMap<string, Pod>;
  readonly podByAddress: ReadonlyMap<string, Pod>;
  readonly endpoints: ReadonlyMap<string, Resource<EndpointsBody>>;
  /** By name of the service. */
  readonly slices: ReadonlyMap<string, readonly Resource<EndpointSliceBody>[]>;
}

interface Backend {
  readonly address: string;
  readonly ready: boolean;
  readonly pod: Pod | undefined;
  readonly nodeName: string;
  readonly zone: string;
  readonly hostname: string;
}

function toEndpoint(backend: Backend, port: number): Endpoint {
  const { pod } = backend;
  return {
    address: backend.address,
    port,
    labels: pod?.labels ?? {},
    serviceAccount: pod?.serviceAccount ?? '',
    locality:
      pod?.locality ?? (backend.zone === '' ? unknownLocality : { ...parseLocality(''), zone: backend.zone }),
    nodeName: pod?.nodeName ?? backend.nodeName,
    tlsMode: pod?.tlsMode ?? 'disabled',
    healthy: backend.ready,
    weight: 0,
    workload: pod?.workload ?? '',
    podHostname: backend.hostname,
  };
}

/** Endpoints that are not ready are known only to services that publish them. */
function counts(service: Service, ready: boolean): boolean {
  return ready || service.publishNotReadyAddresses;
}

function fromSlices(
  service: Service,
  slices: readonly Resource<EndpointSliceBody>[],
  podOf: (name: string | undefined, address: string) => Pod | undefined,
): Map<string, Endpoint[]> {
  const out = new Map<string, Endpoint[]>();
  const seen = new Set<string>();
  for (const { body } of slices) {
    if (body.addressType === 'FQDN') continue;
    for (const entry of body.endpoints ?? []) {
      const ready = entry.conditions?.ready ?? true;
      if (!counts(service, ready)) continue;
      for (const address of entry.addresses) {
        const pod = podOf(entry.targetRef?.name, address);
        // Slices may come before their pods. Until the pod is known so are neither its identity nor whether it takes mTLS.
        if (pod === undefined && entry.targetRef?.kind === 'Pod') continue;
        const backend: Backend = {
          address,
          ready: true,
          pod,
          nodeName: entry.nodeName ?? '',
          zone: entry.zone ?? '',
          hostname: entry.hostname ?? '',
        };
        for (const port of body.ports ?? []) {
          if (port.port === undefined) continue;
          // The same address may stand in two slices for a moment while slices are rebalanced.
          const key = `${address} ${port.port} ${port.name ?? ''}`;
          if (seen.has(key)) continue;
          seen.add(key);
          append(out, port.name ?? '', toEndpoint(backend, port.port));
        }
      }
    }
  }
  return out;
}

function fromEndpoints(
  service: Service,
  object: Resource<EndpointsBody>,
  podOf: (name: string | undefined, address: string) => Pod | undefined,
): Map<string, Endpoint[]> {
  const out = new Map<string, Endpoint[]>();
  for (const subset of object.body.subsets ?? []) {
    const notReady = service.publishNotReadyAddresses ? (subset.notReadyAddresses ?? []) : [];
    for (const entry of [...(subset.addresses ?? []), ...notReady]) {
      const pod = podOf(entry.targetRef?.name, entry.ip);
      if (pod === undefined && entry.targetRef?.kind === 'Pod') continue;
      const backend: Backend = {
        address: entry.ip,
        ready: true,
        pod,
        nodeName: entry.nodeName ?? '',
        zone: '',
        hostname: entry.hostname ?? '',
      };
      for (const port of subset.ports ?? []) append(out, port.name ?? '', toEndpoint(backend, port.port));
    }
  }
  return out;
}

/** Number of the container port that a service port leads to on a pod. */
export function podPort(port: ServicePort, namedPorts: ReadonlyMap<string, number>): number | undefined {
  return typeof port.targetPort === 'number' ? port.targetPort : namedPorts.get(port.targetPort);
}

/** Endpoints of the pods that a selector chooses. */
export function endpointsFromPods(service: Service, pods: readonly Pod[]): Map<string, Endpoint[]> {
  const out = new Map<string, Endpoint[]>();
  for (const pod of pods) {
    if (!selectorMatches(service.selector, pod.labels) || !counts(service, pod.ready)) continue;
    for (const port of service.ports) {
      const number = podPort(port, pod.namedPorts);
      if (number === undefined) continue;
      const hostname = pod.subdomain === service.name ? pod.hostname : '';
      for (const address of pod.addresses.slice(0, 1)) {
        const backend = { address, ready: true, pod, nodeName: pod.nodeName, zone: '', hostname };
        append(out, port.name, toEndpoint(backend, number));
      }
    }
  }
  return out;
}

/** Endpoints of one Kubernetes Service. */
export function kubernetesEndpoints(service: Service, objects: NamespaceObjects): EndpointsByPort {
  const podOf = (name: string | undefined, address: string) =>
    name === undefined ? objects.podByAddress.get(address) : objects.podByName.get(name);
  const slices = objects.slices.get(service.name);
  if (slices !== undefined && slices.length > 0) return fromSlices(service, slices, podOf);
  const endpoints = objects.endpoints.get(service.name);
  if (endpoints !== undefined) return fromEndpoints(service, endpoints, podOf);
  return hasLabels(service.selector) ? endpointsFromPods(service, objects.pods) : new Map();
}
