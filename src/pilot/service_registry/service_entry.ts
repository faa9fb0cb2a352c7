/** ServiceEntries as services of the mesh: one per host. */
import type { ServiceEntry } from '#config/kinds/service_entry/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects } from '../model/config_object.ts';
import type { MeshIndex } from '../model/mesh_index.ts';
import { parseProtocol, protocolOfServicePort } from '../model/protocol.ts';
import type { Endpoint, Resolution, Service, ServicePort } from '../model/service.ts';
import { parseLocality } from './locality.ts';

type Entry = ConfigObject<ServiceEntry>;

const resolutions: Readonly<Record<string, Resolution>> = {
  NONE: 'passthrough',
  STATIC: 'eds',
  DNS: 'dns',
  DNS_ROUND_ROBIN: 'dns_round_robin',
};

function readPorts(entry: Entry): readonly ServicePort[] {
  return (entry.spec.ports ?? []).flatMap((port) => {
    if (port.number === undefined) return [];
    const declared = parseProtocol(port.protocol ?? '');
    return {
      name: port.name ?? '',
      port: port.number,
      targetPort: port.targetPort ?? port.number,
      protocol:
        declared === 'Auto' ? protocolOfServicePort({ port: port.number, name: port.name ?? '' }) : declared,
    };
  });
}

/** All ServiceEntries of the store. Those with DYNAMIC_DNS are left out: their cluster needs a DNS cache per request. */
export function serviceEntryServices(store: ConfigStore, mesh: MeshIndex): Service[] {
  const services: Service[] = [];
  for (const entry of configObjects<ServiceEntry>(store, 'ServiceEntry')) {
    const resolution = resolutions[entry.spec.resolution ?? 'NONE'];
    if (resolution === undefined) continue;
    const { name, namespace, labels, creationTimestamp } = entry.metadata;
    const ports = readPorts(entry);
    // Ranges cannot be listener addresses of one host; such entries are matched by port and name only.
    const addresses = (entry.spec.addresses ?? []).filter((address) => !address.includes('/'));
    for (const hostname of entry.spec.hosts ?? []) {
      services.push({
        hostname,
        name,
        namespace,
        addresses,
        ports,
        resolution,
        meshExternal: entry.spec.location !== 'MESH_INTERNAL',
        selector: entry.spec.workloadSelector?.labels,
        labels,
        exportTo: entry.spec.exportTo ?? mesh.config.defaultServiceExportTo ?? ['*'],
        creationTimestamp,
        aliases: [],
        publishNotReadyAddresses: false,
        nodeLocal: false,
        trafficDistribution: '',
        registry: 'External',
        subjectAltNames: entry.spec.subjectAltNames ?? [],
      });
    }
  }
  return services;
}

/** The endpoints that a ServiceEntry itself lists for a port; for DNS without endpoints, its host. */
export function serviceEntryEndpoints(
  entry: Entry,
  hostname: string,
  port: ServicePort,
  mesh: MeshIndex,
): Endpoint[] {
  const { spec, metadata } = entry;
  const targetPort = typeof port.targetPort === 'number' ? port.targetPort : port.port;
  const base = { nodeName: '', healthy: true, podHostname: '' };
  const listed = spec.endpoints ?? [];
  if (listed.length === 0) {
    if (spec.resolution !== 'DNS' && spec.resolution !== 'DNS_ROUND_ROBIN') return [];
    return [
      {
        ...base,
        address: hostname,
        port: targetPort,
        labels: {},
        serviceAccount: '',
        locality: parseLocality(undefined),
        tlsMode: 'disabled',
        weight: 0,
        workload: '',
      },
    ];
  }
  return listed.flatMap((endpoint) => {
    if (endpoint.address === undefined) return [];
    const labels = endpoint.labels ?? {};
    const account = endpoint.serviceAccount;
    return {
      ...base,
      address: endpoint.address.replace(/^unix:\/\//, ''),
      port: endpoint.ports?.[port.name] ?? targetPort,
      labels,
      serviceAccount:
        account === undefined ? '' : `spiffe://${mesh.trustDomain}/ns/${metadata.namespace}/sa/${account}`,
      locality: parseLocality(endpoint.locality),
      tlsMode: labels['security.istio.io/tlsMode'] === 'istio' ? 'istio' : 'disabled',
      weight: endpoint.weight ?? 0,
      workload: '',
    } satisfies Endpoint;
  });
}
