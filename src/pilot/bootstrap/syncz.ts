/** /debug/syncz: the fields of Istio's SyncStatus, and beside them the state in words. */
import type { ProxySync, SyncState, TypeSync } from '../xds/sync_status.ts';

/** One proxy on the wire. */
export interface SyncStatus {
  readonly cluster_id: string;
  /** `pod.namespace`. */
  readonly proxy: string;
  readonly proxy_version: string;
  readonly istio_version: string;
  readonly cluster_sent: string;
  readonly cluster_acked: string;
  readonly listener_sent: string;
  readonly listener_acked: string;
  readonly route_sent: string;
  readonly route_acked: string;
  readonly endpoint_sent: string;
  readonly endpoint_acked: string;
  readonly extensionconfig_sent: string;
  readonly extensionconfig_acked: string;
  /** State by short name of the type (`CDS`). */
  readonly states: Readonly<Record<string, SyncState>>;
  /** Why a type is in state ERROR. */
  readonly errors: Readonly<Record<string, string>>;
}

/** One entry per proxy. */
export function syncz(proxies: readonly ProxySync[]): SyncStatus[] {
  return proxies.map((proxy) => {
    const byType = new Map<string, TypeSync>(proxy.types.map((type) => [type.type, type]));
    const sent = (type: string): string => byType.get(type)?.sentNonce ?? '';
    const acked = (type: string): string => byType.get(type)?.ackedNonce ?? '';
    return {
      cluster_id: proxy.clusterId,
      proxy: proxy.name,
      proxy_version: proxy.version,
      istio_version: proxy.version,
      cluster_sent: sent('CDS'),
      cluster_acked: acked('CDS'),
      listener_sent: sent('LDS'),
      listener_acked: acked('LDS'),
      route_sent: sent('RDS'),
      route_acked: acked('RDS'),
      endpoint_sent: sent('EDS'),
      endpoint_acked: acked('EDS'),
      extensionconfig_sent: sent('ECDS'),
      extensionconfig_acked: acked('ECDS'),
      states: Object.fromEntries(proxy.types.map(({ type, state }) => [type, state])),
      errors: Object.fromEntries(
        proxy.types.flatMap(({ type, detail }) => (detail === undefined ? [] : [[type, detail]])),
      ),
    };
  });
}
