/**
 * Endpoints of all services, in one shard per namespace. A change of pods or endpoints rebuilds only the shards it
 * touches; `needsFullPush` tells whether anything but EDS depends on what changed.
 */
import type { EndpointSliceBody, EndpointsBody, NodeBody, PodBody } from '#config/kinds/kubernetes/types.ts';
import type { ServiceEntry } from '#config/kinds/service_entry/types.ts';
import type { Resource } from '#config/resource.ts';
import type { ConfigChange, ConfigStore } from '#config/store/store.ts';
import {
  type EndpointsByPort,
  endpointsFromPods,
  kubernetesEndpoints,
  type NamespaceObjects,
} from '../service_registry/kubernetes_endpoints.ts';
import { type Pod, readPod } from '../service_registry/kubernetes_pod.ts';
import { serviceEntryEndpoints } from '../service_registry/service_entry.ts';
import { type ConfigObject, configObjects, resourcesOf } from './config_object.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';
import type { ServiceIndex } from './service_index.ts';
import { type Endpoint, isHeadless, type Service, type ServicePort } from './service.ts';

/** Kinds that only endpoints are made of. */
export const endpointKinds: readonly string[] = [
  'Pod',
  'Endpoints',
  'EndpointSlice',
  'Node',
  'WorkloadEntry',
];

/** Label of an EndpointSlice that names its service. */
const serviceNameLabel = 'kubernetes.io/service-name';

interface NamespaceShard {
  readonly objects: NamespaceObjects;
  /** By host name. */
  readonly services: ReadonlyMap<string, EndpointsByPort>;
}

/** Endpoints of all services. */
export interface EndpointIndex {
  readonly shards: ReadonlyMap<string, NamespaceShard>;
}

const emptyPorts: EndpointsByPort = new Map();

/** Endpoints of a port of a service. */
export function endpointsOf(index: EndpointIndex, service: Service, port: ServicePort): readonly Endpoint[] {
  return allEndpoints(index, service).get(port.name) ?? [];
}

/** Endpoints of all ports of a service. */
export function allEndpoints(index: EndpointIndex, service: Service): EndpointsByPort {
  return index.shards.get(service.namespace)?.services.get(service.hostname) ?? emptyPorts;
}

/** SPIFFE IDs under which the endpoints of a service run, in alphabetical order. */
export function serviceAccounts(index: EndpointIndex, service: Service): readonly string[] {
  const accounts = new Set<string>(service.subjectAltNames);
  for (const endpoints of allEndpoints(index, service).values()) {
    for (const { serviceAccount } of endpoints) if (serviceAccount !== '') accounts.add(serviceAccount);
  }
  return [...accounts].sort();
}

/** The pod of a namespace by name, or else by one of its addresses. */
export function findPod(
  index: EndpointIndex,
  namespace: string,
  name: string,
  addresses: readonly string[],
): Pod | undefined {
  const objects = index.shards.get(namespace)?.objects;
  const byName = objects?.podByName.get(name);
  if (byName !== undefined) return byName;
  for (const address of addresses) {
    const pod = objects?.podByAddress.get(address);
    if (pod !== undefined) return pod;
  }
  return undefined;
}

function groupByNamespace<T>(objects: readonly Resource<T>[]): Map<string, Resource<T>[]> {
  const groups = new Map<string, Resource<T>[]>();
  for (const object of objects) {
    append(groups, object.metadata.namespace, object);
  }
  return groups;
}

/** All that shards read of the store, grouped once. */
interface Sources {
  readonly pods: ReadonlyMap<string, readonly Resource<PodBody>[]>;
  readonly endpoints: ReadonlyMap<string, readonly Resource<EndpointsBody>[]>;
  readonly slices: ReadonlyMap<string, readonly Resource<EndpointSliceBody>[]>;
  readonly nodes: ReadonlyMap<string, Resource<NodeBody>>;
  readonly entries: ReadonlyMap<string, ConfigObject<ServiceEntry>>;
}

function readSources(store: ConfigStore): Sources {
  const nodes = new Map(
    resourcesOf<NodeBody>(store, 'Node').map((node) => [node.metadata.name, node] as const),
  );
  const entries = new Map(
    configObjects<ServiceEntry>(store, 'ServiceEntry').map(
      (entry) => [`${entry.metadata.namespace}/${entry.metadata.name}`, entry] as const,
    ),
  );
  return {
    pods: groupByNamespace(resourcesOf<PodBody>(store, 'Pod')),
    endpoints: groupByNamespace(resourcesOf<EndpointsBody>(store, 'Endpoints')),
    slices: groupByNamespace(resourcesOf<EndpointSliceBody>(store, 'EndpointSlice')),
    nodes,
    entries,
  };
}

function readObjects(namespace: string, sources: Sources, mesh: MeshIndex): NamespaceObjects {
  const pods = (sources.pods.get(namespace) ?? [])
    .map((object) => readPod(object, sources.nodes.get(object.body.spec?.nodeName ?? ''), mesh))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const slices = new Map<string, Resource<EndpointSliceBody>[]>();
  for (const slice of sources.slices.get(namespace) ?? []) {
    const service = slice.metadata.labels[serviceNameLabel];
    if (service !== undefined) append(slices, service, slice);
  }
  return {
    pods,
    podByName: new Map(pods.map((pod) => [pod.name, pod])),
    podByAddress: new Map(pods.flatMap((pod) => pod.addresses.map((address) => [address, pod] as const))),
    endpoints: new Map(
      (sources.endpoints.get(namespace) ?? []).map((object) => [object.metadata.name, object]),
    ),
    slices,
  };
}

function entryEndpoints(
  service: Service,
  entry: ConfigObject<ServiceEntry>,
  objects: NamespaceObjects,
  mesh: MeshIndex,
): EndpointsByPort {
  if (service.selector !== undefined) return endpointsFromPods(service, objects.pods);
  return new Map(
    service.ports.map((port) => [port.name, serviceEntryEndpoints(entry, service.hostname, port, mesh)]),
  );
}

function buildShard(
  namespace: string,
  sources: Sources,
  services: ServiceIndex,
  mesh: MeshIndex,
): NamespaceShard {
  const objects = readObjects(namespace, sources, mesh);
  const byHost = new Map<string, EndpointsByPort>();
  for (const service of services.byNamespace.get(namespace) ?? []) {
    const entry =
      service.registry === 'External' ? sources.entries.get(`${namespace}/${service.name}`) : undefined;
    byHost.set(
      service.hostname,
      entry === undefined
        ? kubernetesEndpoints(service, objects)
        : entryEndpoints(service, entry, objects, mesh),
    );
  }
  return { objects, services: byHost };
}

/** Builds the shards of all namespaces, or of those that `changes` touch when a previous index is given. */
export function buildEndpointIndex(
  store: ConfigStore,
  mesh: MeshIndex,
  services: ServiceIndex,
  previous?: EndpointIndex,
  changes?: readonly ConfigChange[],
): EndpointIndex {
  const sources = readSources(store);
  const wanted = new Set([...services.byNamespace.keys(), ...sources.pods.keys()]);
  const rebuildAll =
    previous === undefined ||
    changes === undefined ||
    changes.some(({ resource }) => resource.kind === 'Node');
  const touched = new Set((changes ?? []).map(({ resource }) => resource.metadata.namespace));
  const shards = new Map<string, NamespaceShard>();
  for (const namespace of wanted) {
    const kept = rebuildAll || touched.has(namespace) ? undefined : previous.shards.get(namespace);
    shards.set(namespace, kept ?? buildShard(namespace, sources, services, mesh));
  }
  return { shards };
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** Addresses of a headless service, and whether all of its pods take mutual TLS. */
function headlessTraits(index: EndpointIndex, service: Service): readonly string[] {
  return [...allEndpoints(index, service).values()]
    .flat()
    .map(({ address, tlsMode, podHostname }) => `${address} ${tlsMode} ${podHostname}`);
}

/** Whether a pod that was there before has other labels or ports: policies and services may choose it anew. */
function podsChanged(before: NamespaceShard | undefined, after: NamespaceShard): boolean {
  return after.objects.pods.some((pod) => {
    const old = before?.objects.podByName.get(pod.name);
    if (old === undefined) return false;
    return (
      JSON.stringify([old.labels, [...old.namedPorts]]) !== JSON.stringify([pod.labels, [...pod.namedPorts]])
    );
  });
}

/**
 * Whether the difference of two indices matters beyond EDS: the identities of a service (clusters pin them), the pods of
 * a headless service (listeners and the name table hold their addresses), the labels of a pod (its own policies).
 */
export function needsFullPush(before: EndpointIndex, after: EndpointIndex, services: ServiceIndex): boolean {
  for (const [namespace, shard] of after.shards) {
    const old = before.shards.get(namespace);
    if (old === shard) continue;
    if (podsChanged(old, shard)) return true;
    for (const service of services.byNamespace.get(namespace) ?? []) {
      if (!sameList(serviceAccounts(before, service), serviceAccounts(after, service))) return true;
      if (!isHeadless(service) && service.addresses.length > 0) continue;
      if (!sameList(headlessTraits(before, service), headlessTraits(after, service))) return true;
    }
  }
  return false;
}
