/**
 * ProxyConfig (networking.istio.io/v1beta1): settings of proxies that are fixed when their pods are made. Not to be mixed up
 * with `istio.mesh.v1alpha1.ProxyConfig`, of which it sets three fields.
 */
import type { WorkloadSelector } from '../selector.ts';

/** `spec` of a ProxyConfig. */
export interface ProxyConfigObject {
  /** Absent: the namespace; in the root namespace, the mesh. */
  readonly selector?: WorkloadSelector;
  /** Worker threads, 0 for one per CPU. Absent: of the wider scope. */
  readonly concurrency?: number;
  /** `proxyMetadata` of the proxy, key by key over that of the wider scope. */
  readonly environmentVariables?: Readonly<Record<string, string>>;
  /** Absent: of the wider scope. */
  readonly image?: { readonly imageType?: string };
}
