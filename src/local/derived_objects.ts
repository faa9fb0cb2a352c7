/** The objects that the control plane sees: those of the files, completed by what a cluster would have filled in. */
import type { Gateway } from '#config/kinds/gateway/types.ts';
import type { ServiceBody } from '#config/kinds/kubernetes/types.ts';
import type { Resource } from '#config/resource.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { endpointSlices, type PodState } from './endpoint_slices.ts';
import { podObject, sidecarObject } from './pod_objects.ts';
import type { VirtualAddresses } from './virtual_addresses.ts';

/** Kinds that this mesh makes itself, or that only controllers read. */
const replacedKinds = new Set([
  'Pod',
  'Deployment',
  'StatefulSet',
  'ReplicaSet',
  'DaemonSet',
  'EndpointSlice',
]);

export interface DerivedInput {
  readonly files: ConfigStore;
  /** All kinds that may stand in the files. */
  readonly kinds: readonly string[];
  readonly pods: readonly PodState[];
  readonly addresses: VirtualAddresses;
  /** Mode `none`: generates Sidecar objects and binds gateways to their pods' addresses. */
  readonly captured: boolean;
}

/** Protocol of the Service port that leads to a container port, as Istio reads it: appProtocol, then the name's prefix. */
function protocolOf(
  services: readonly Resource<ServiceBody>[],
  state: PodState,
  containerPort: number,
): string {
  for (const service of services) {
    const { selector, ports = [] } = service.body.spec ?? {};
    if (service.metadata.namespace !== state.pod.namespace || selector === undefined) continue;
    if (!Object.entries(selector).every(([key, value]) => state.pod.labels[key] === value)) continue;
    for (const port of ports) {
      const target = port.targetPort ?? port.port;
      const named = state.ports.find((candidate) => candidate.name === target)?.containerPort;
      if (target !== containerPort && named !== containerPort) continue;
      const hint = (port.appProtocol ?? port.name ?? '').split('-')[0]?.toUpperCase() ?? '';
      if (['HTTP', 'HTTP2', 'GRPC', 'TCP', 'TLS', 'HTTPS'].includes(hint)) return hint;
    }
  }
  return 'TCP';
}

/** Gateways listen on their pod's own address and port: on one machine 0.0.0.0 belongs to everybody. */
function boundGateway(gateway: Resource, states: readonly PodState[]): Resource {
  const spec = (gateway.body as { readonly spec?: Gateway }).spec;
  if (spec?.servers === undefined) return gateway;
  const state = states.find(
    ({ pod }) =>
      pod.role === 'router' &&
      Object.entries(spec.selector ?? {}).every(([key, value]) => pod.labels[key] === value),
  );
  if (state === undefined) return gateway;
  const servers = spec.servers.map((server) => {
    const number = server.port?.number;
    const own = state.ports.find((port) => port.containerPort === number);
    if (server.port === undefined || own === undefined) return server;
    return { ...server, bind: server.bind ?? state.ip, port: { ...server.port, number: own.dialPort } };
  });
  return {
    ...gateway,
    metadata: {
      ...gateway.metadata,
      resourceVersion: `${gateway.metadata.resourceVersion} ${JSON.stringify(servers)}`,
    },
    body: { ...gateway.body, spec: { ...spec, servers } },
  };
}

/** Everything the control plane is to see now. */
export function derivedObjects(input: DerivedInput): Resource[] {
  const { files, pods, captured } = input;
  const result: Resource[] = [];
  const services = (files.list('Service') as readonly Resource<ServiceBody>[]).map((service) =>
    input.addresses.assign(service),
  );
  const namespaces = new Set(pods.map(({ pod }) => pod.namespace));
  for (const kind of input.kinds) {
    if (replacedKinds.has(kind) || kind === 'Service') continue;
    for (const resource of files.list(kind)) {
      if (resource.metadata.namespace !== '') namespaces.add(resource.metadata.namespace);
      if (kind === 'Namespace') namespaces.delete(resource.metadata.name);
      result.push(kind === 'Gateway' && !captured ? boundGateway(resource, pods) : resource);
    }
  }
  for (const name of namespaces) {
    if (files.get('Namespace', '', name) !== undefined) continue;
    result.push({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {
        name,
        namespace: '',
        labels: {},
        annotations: {},
        creationTimestamp: 0,
        resourceVersion: '1',
      },
      body: {},
    });
  }
  for (const service of services) {
    result.push(service as Resource);
    result.push(...(endpointSlices(service, pods) as Resource[]));
  }
  for (const state of pods) {
    result.push(podObject(state.pod, state.ip, state.ready, state.ready ? 2 : 1) as Resource);
    if (!captured && state.pod.injected && state.pod.role === 'sidecar') {
      result.push(
        sidecarObject(state.pod, state.ip, state.ports, (port) =>
          protocolOf(services, state, port),
        ) as Resource,
      );
    }
  }
  return result;
}
