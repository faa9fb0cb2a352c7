/** A service as the mesh sees it, whatever registry it comes from. */
import type { Labels } from './labels.ts';
import type { Protocol } from './protocol.ts';

/**
 * How the endpoints of a service are found: `eds` from the registry and balanced by the proxy; `passthrough` by the
 * address the caller asked for (headless); `dns` and `dns_round_robin` by resolving names.
 */
export type Resolution = 'eds' | 'passthrough' | 'dns' | 'dns_round_robin';

/** A port of a service. */
export interface ServicePort {
  /** Empty only for the single port of a service that names none. */
  readonly name: string;
  readonly port: number;
  /** Number, or name of a container port. */
  readonly targetPort: number | string;
  readonly protocol: Protocol;
}

/** A service. */
export interface Service {
  /** Full name, `reviews.default.svc.cluster.local`. Unique in the registry. */
  readonly hostname: string;
  readonly name: string;
  readonly namespace: string;
  /** Virtual addresses; empty for headless services. */
  readonly addresses: readonly string[];
  readonly ports: readonly ServicePort[];
  readonly resolution: Resolution;
  /** Whether the endpoints lie outside the mesh: no sidecar, no mutual TLS. */
  readonly meshExternal: boolean;
  /** Labels of the pods; undefined when endpoints are kept by hand. */
  readonly selector: Labels | undefined;
  readonly labels: Labels;
  /** Namespaces that see the service: `*`, `.`, `~` or names. */
  readonly exportTo: readonly string[];
  readonly creationTimestamp: number;
  /** Other names of the same service (ExternalName services that point here). */
  readonly aliases: readonly {
    readonly hostname: string;
    readonly name: string;
    readonly namespace: string;
  }[];
  /** Whether endpoints that are not ready count. */
  readonly publishNotReadyAddresses: boolean;
  /** Whether only endpoints on the caller's node count (internalTrafficPolicy Local). */
  readonly nodeLocal: boolean;
  /** `PreferClose`, `PreferSameZone`, `PreferSameNode`: nearest endpoints first, without outlier detection. */
  readonly trafficDistribution: string;
  /** Registry the service comes from, as Istio writes it into the name table. */
  readonly registry: 'Kubernetes' | 'External';
  /** Identities that endpoints may have besides those known by pod (ServiceEntry.subjectAltNames). */
  readonly subjectAltNames: readonly string[];
}

/** Where an endpoint runs. Empty parts are unknown. */
export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}

export const unknownLocality: Locality = { region: '', zone: '', subzone: '' };

/** One address that serves a port of a service. */
export interface Endpoint {
  /** IP address, DNS name (dns resolutions), or path of a Unix socket. */
  readonly address: string;
  readonly port: number;
  readonly labels: Labels;
  /** SPIFFE ID; empty when unknown. */
  readonly serviceAccount: string;
  readonly locality: Locality;
  readonly nodeName: string;
  /** `istio` when a sidecar takes mutual TLS. */
  readonly tlsMode: 'istio' | 'disabled';
  readonly healthy: boolean;
  /** Relative share; 0 means 1. */
  readonly weight: number;
  /** `workload;namespace;canonical name;canonical revision;cluster`: what metrics call the other side. */
  readonly workload: string;
  /** Name of the pod inside a headless service; empty otherwise. */
  readonly podHostname: string;
}

/** Finds a port by number. */
export function servicePort(service: Service, port: number): ServicePort | undefined {
  return service.ports.find((candidate) => candidate.port === port);
}

/** Whether callers address the pods of the service, not a virtual address. */
export function isHeadless(service: Service): boolean {
  return service.resolution === 'passthrough';
}
