/** ServiceEntry (networking.istio.io/v1): a service that the registry does not know by itself. */
import type { SidecarWorkloadSelector } from '../sidecar/types.ts';

export type Resolution = 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS';

/** `spec` of a ServiceEntry. */
export interface ServiceEntry {
  /** DNS names; `*.` wildcards for NONE and DYNAMIC_DNS. Required. */
  readonly hosts?: readonly string[];
  /** Virtual addresses, CIDR for NONE and STATIC. Absent: by port, or allocated automatically. */
  readonly addresses?: readonly string[];
  /** Absent: only with workloads of their own ports. */
  readonly ports?: readonly ServicePort[];
  /** Absent: MESH_EXTERNAL. */
  readonly location?: 'MESH_EXTERNAL' | 'MESH_INTERNAL';
  /** Absent: NONE, connections go where the caller wanted. */
  readonly resolution?: Resolution;
  /** Absent: DNS names are resolved themselves. */
  readonly endpoints?: readonly WorkloadEntry[];
  /** Pods and WorkloadEntries of the namespace as endpoints; not with endpoints. */
  readonly workloadSelector?: SidecarWorkloadSelector;
  /** `.`, `*`, or names. Absent: the mesh's default, all. */
  readonly exportTo?: readonly string[];
  /** Names that the server's certificate may have. */
  readonly subjectAltNames?: readonly string[];
}

/** A port of the service. */
export interface ServicePort {
  /** Required; unique. */
  readonly number?: number;
  /** Absent: detected. */
  readonly protocol?: string;
  /** Required; unique. */
  readonly name?: string;
  /** Port of the endpoints. Absent: number. */
  readonly targetPort?: number;
}

/** An endpoint (`spec` of a WorkloadEntry has the same shape). */
export interface WorkloadEntry {
  /** Address, DNS name, or `unix:///path`. Required unless a network is named. */
  readonly address?: string;
  /** Port name to number. Absent: the service's. */
  readonly ports?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Network of the endpoint. Absent: the default network. */
  readonly network?: string;
  /** `region/zone/subzone`. Absent: unknown. */
  readonly locality?: string;
  /** Share of traffic. Absent: 1. */
  readonly weight?: number;
  /** Service account that its identity is made of. Absent: none. */
  readonly serviceAccount?: string;
}
