/** The cluster that a filter in front of tcp_proxy chose (Envoy's filter state `envoy.tcp_proxy.cluster`). */
import type { ConnectionInfo } from '../../../network/connection.ts';

/** Key among the connection's dynamic metadata; the value is `{ name }`. */
export const tcpProxyClusterKey = 'envoy.tcp_proxy.cluster';

/** Undefined when no filter chose one. */
export function clusterOverride(info: ConnectionInfo): string | undefined {
  const name = info.dynamicMetadata?.get(tcpProxyClusterKey)?.['name'];
  return typeof name === 'string' ? name : undefined;
}
