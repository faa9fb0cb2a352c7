/** All services of the registries, by name. */
import type { ConfigStore } from '#config/store/store.ts';
import { kubernetesServices } from '../service_registry/kubernetes_service.ts';
import { serviceEntryServices } from '../service_registry/service_entry.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';
import type { Service } from './service.ts';

/** All services. */
export interface ServiceIndex {
  /** Oldest first, then by host name. */
  readonly services: readonly Service[];
  readonly byHostname: ReadonlyMap<string, Service>;
  readonly byNamespace: ReadonlyMap<string, readonly Service[]>;
}

/** Kinds that services are made of. */
export const serviceKinds: readonly string[] = ['Service', 'ServiceEntry'];

function compareServices(a: Service, b: Service): number {
  if (a.creationTimestamp !== b.creationTimestamp) return a.creationTimestamp - b.creationTimestamp;
  return a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0;
}

/** Reads all services. Of two with the same host name, the one of Kubernetes wins, then the older. */
export function buildServiceIndex(store: ConfigStore, mesh: MeshIndex): ServiceIndex {
  const byHostname = new Map<string, Service>();
  for (const service of kubernetesServices(store, mesh)) byHostname.set(service.hostname, service);
  for (const service of serviceEntryServices(store, mesh).sort(compareServices)) {
    if (!byHostname.has(service.hostname)) byHostname.set(service.hostname, service);
  }
  const services = [...byHostname.values()].sort(compareServices);
  const byNamespace = new Map<string, Service[]>();
  for (const service of services) {
    append(byNamespace, service.namespace, service);
  }
  return { services, byHostname, byNamespace };
}
