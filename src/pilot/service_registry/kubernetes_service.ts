/** Kubernetes Services as services of the mesh. */
import { annotation } from '#api/well_known.ts';
import type { ServiceBody } from '#config/kinds/kubernetes/types.ts';
import type { Resource } from '#config/resource.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { resourcesOf } from '../model/config_object.ts';
import type { MeshIndex } from '../model/mesh_index.ts';
import { protocolOfServicePort } from '../model/protocol.ts';
import type { Service, ServicePort } from '../model/service.ts';

type ServiceObject = Resource<ServiceBody>;

/** `reviews.default.svc.cluster.local`. */
export function kubernetesHostname(name: string, namespace: string, domainSuffix: string): string {
  return `${name}.${namespace}.svc.${domainSuffix}`;
}

function readPorts(service: ServiceObject): readonly ServicePort[] {
  return (service.body.spec?.ports ?? []).map((port) => ({
    name: port.name ?? '',
    port: port.port,
    targetPort: port.targetPort ?? port.port,
    protocol: protocolOfServicePort(port),
  }));
}

function readAddresses(service: ServiceObject): readonly string[] {
  const { clusterIP, clusterIPs } = service.body.spec ?? {};
  const all = clusterIPs !== undefined && clusterIPs.length > 0 ? clusterIPs : [clusterIP ?? ''];
  return all.filter((address) => address !== '' && address !== 'None');
}

function readExportTo(service: ServiceObject, mesh: MeshIndex): readonly string[] {
  const exportTo = service.metadata.annotations[annotation.exportTo];
  if (exportTo === undefined) return mesh.config.defaultServiceExportTo ?? ['*'];
  return exportTo.split(',').map((entry) => entry.trim());
}

/** All Services of the store; those of type ExternalName become aliases of the service they name, if there is one. */
export function kubernetesServices(store: ConfigStore, mesh: MeshIndex): Service[] {
  const objects = resourcesOf<ServiceBody>(store, 'Service');
  const aliases = new Map<string, { hostname: string; name: string; namespace: string }[]>();
  for (const object of objects) {
    const { externalName, type } = object.body.spec ?? {};
    if (type !== 'ExternalName' || externalName === undefined) continue;
    const { name, namespace } = object.metadata;
    const alias = { hostname: kubernetesHostname(name, namespace, mesh.domainSuffix), name, namespace };
    const target = externalName.replace(/\.$/, '');
    aliases.set(target, [...(aliases.get(target) ?? []), alias]);
  }
  const services: Service[] = [];
  for (const object of objects) {
    const spec = object.body.spec;
    if (spec === undefined || spec.type === 'ExternalName') continue;
    const { name, namespace, labels, annotations, creationTimestamp } = object.metadata;
    const hostname = kubernetesHostname(name, namespace, mesh.domainSuffix);
    const addresses = readAddresses(object);
    const headless = spec.clusterIP === 'None' || spec.clusterIPs?.[0] === 'None';
    services.push({
      hostname,
      name,
      namespace,
      addresses,
      ports: readPorts(object),
      resolution: headless ? 'passthrough' : 'eds',
      meshExternal: false,
      selector: spec.selector,
      labels,
      exportTo: readExportTo(object, mesh),
      creationTimestamp,
      aliases: aliases.get(hostname) ?? [],
      publishNotReadyAddresses: spec.publishNotReadyAddresses ?? false,
      nodeLocal: spec.internalTrafficPolicy === 'Local',
      trafficDistribution:
        spec.trafficDistribution ?? annotations['networking.istio.io/traffic-distribution'] ?? '',
      registry: 'Kubernetes',
      subjectAltNames: [],
    });
  }
  return services;
}
