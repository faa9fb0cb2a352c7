/** The workload at the other end, as metrics name it (Istio's WorkloadMetadataObject). */

/** Immutable; the same header value gives the same object while it is in the cache, so that it can be a key. */
export interface WorkloadPeer {
  /** Pod name. */
  readonly instanceName: string;
  readonly clusterName: string;
  readonly namespaceName: string;
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly appName: string;
  readonly appVersion: string;
  /** `deployment`, `job`, `cronjob`, `pod`; empty when the owner is unknown. */
  readonly workloadType: string;
  /** SPIFFE id, when discovery gave it. */
  readonly identity: string;
}
