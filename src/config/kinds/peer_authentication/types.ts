/** PeerAuthentication (security.istio.io/v1): whether a workload takes mutual TLS, plain text, or both. */
import type { WorkloadSelector } from '../selector.ts';

/** UNSET takes the mode of the wider scope (namespace, then mesh, then PERMISSIVE). */
export type MutualTLSMode = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

/** Mode of a scope or port. */
export interface MutualTLS {
  /** Absent: UNSET. */
  readonly mode?: MutualTLSMode;
}

/** `spec` of a PeerAuthentication. */
export interface PeerAuthentication {
  /** Absent: the namespace; in the root namespace, the mesh. */
  readonly selector?: WorkloadSelector;
  /** Absent: inherited from the wider scope. */
  readonly mtls?: MutualTLS;
  /** Port of the workload (not of the service) to mode; only with a selector. */
  readonly portLevelMtls?: Readonly<Record<string, MutualTLS>>;
}
