/** Which service a request was for: from the metadata of its cluster, else from the Host header. */
import { fixedCluster, metadataKey, virtualHostName } from '#api/well_known.ts';
import type { MetadataMap } from '../../upstream/upstream.ts';
import type { WorkloadPeer } from '../http/peer_metadata/peer.ts';
import type { Ends } from './ends.ts';

/** One object per service: the key of its series. Names that are unknown are empty. */
export class ServiceIdentity {
  readonly host: string;
  readonly name: string;
  readonly namespace: string;
  /** Ends seen with the service, by the other workload and the principal of the other side. */
  readonly ends: Map<WorkloadPeer | undefined, Map<string, Ends>> = new Map();

  constructor(host: string, name: string, namespace: string) {
    this.host = host;
    this.name = name;
    this.namespace = namespace;
  }
}

/** Names from Host headers that are told apart; later ones are unknown. */
const maxHosts = 1024;

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** First service of `filter_metadata.istio.services`. */
function fromMetadata(metadata: MetadataMap): ServiceIdentity | undefined {
  const services = metadata[metadataKey.istio]?.['services'];
  const service: unknown = Array.isArray(services) ? services[0] : undefined;
  if (typeof service !== 'object' || service === null) return undefined;
  const { host, name, namespace } = service as Record<string, unknown>;
  const first = text(host);
  return new ServiceIdentity(first, text(name) || (first.split('.')[0] ?? ''), text(namespace));
}

export class ServiceDirectory {
  readonly #hostFallback: boolean;
  readonly #byMetadata = new WeakMap<MetadataMap, ServiceIdentity>();
  /** By name of a fixed cluster (empty: none), then by host. */
  readonly #byHost = new Map<string, Map<string, ServiceIdentity>>();
  #hosts = 0;

  /** @param hostFallback whether the Host header may name the service. */
  constructor(hostFallback: boolean) {
    this.#hostFallback = hostFallback;
  }

  /** @param authority Host header; empty when there is none. */
  find(
    routeName: string,
    clusterName: string,
    metadata: MetadataMap | undefined,
    authority: string,
  ): ServiceIdentity {
    switch (routeName) {
      case virtualHostName.blockAll:
        return this.#ofHost(fixedCluster.blackHole, authority);
      case virtualHostName.allowAny:
        return this.#ofHost(fixedCluster.passthrough, authority);
    }
    switch (clusterName) {
      case fixedCluster.blackHole:
      case fixedCluster.passthrough:
      case fixedCluster.inboundPassthrough:
        return this.#ofHost(clusterName, authority);
    }
    if (metadata === undefined) return this.#ofHost('', authority);
    let service = this.#byMetadata.get(metadata);
    if (service === undefined) {
      service = fromMetadata(metadata);
      if (service === undefined) return this.#ofHost('', authority);
      this.#byMetadata.set(metadata, service);
    }
    return service;
  }

  #ofHost(cluster: string, authority: string): ServiceIdentity {
    let hosts = this.#byHost.get(cluster);
    if (hosts === undefined) {
      hosts = new Map();
      this.#byHost.set(cluster, hosts);
    }
    let host = this.#hostFallback ? authority : '';
    let service = hosts.get(host);
    if (service === undefined && this.#hosts >= maxHosts) {
      host = '';
      service = hosts.get(host);
    }
    if (service === undefined) {
      this.#hosts++;
      service = new ServiceIdentity(host, cluster === '' ? host : cluster, '');
      hosts.set(host, service);
    }
    return service;
  }
}
