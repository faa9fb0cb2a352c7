/**
 * Names of clusters as Istio builds them: `outbound|9080|v1|reviews.default.svc.cluster.local`, and the form that fits
 * into SNI: `outbound_.9080_.v1_.reviews.default.svc.cluster.local` (pilot/pkg/model BuildSubsetKey, BuildDNSSrvSubsetKey).
 */

/** The parts of a cluster's name. */
export interface ClusterName {
  /** Which way the traffic goes, seen from the proxy. */
  readonly direction: 'inbound' | 'outbound';
  /** Port of the service for outbound, of the workload for inbound. */
  readonly port: number;
  /** Subset of the DestinationRule; empty when there is none. */
  readonly subset: string;
  /** Fully qualified host; empty for inbound clusters, which belong to a port of the workload. */
  readonly host: string;
}

/** The name of a cluster, parts joined by `|`. */
export function buildClusterName({ direction, port, subset, host }: ClusterName): string {
  return `${direction}|${port}|${subset}|${host}`;
}

/** The name of a cluster in the form for SNI, parts joined by `_.`. */
export function buildSniClusterName({ direction, port, subset, host }: ClusterName): string {
  return `${direction}_.${port}_.${subset}_.${host}`;
}

/** The parts of a name in either form; undefined for other names, such as `PassthroughCluster`. */
export function parseClusterName(name: string): ClusterName | undefined {
  const separator = name.includes('|') ? '|' : '_.';
  const [direction, portText = '', subset, ...rest] = name.split(separator);
  if (direction !== 'inbound' && direction !== 'outbound') return undefined;
  if (subset === undefined || rest.length === 0) return undefined;
  if (separator === '|' && rest.length > 1) return undefined;
  const port = Number(portText);
  if (!/^\d{1,5}$/.test(portText) || port > 65535) return undefined;
  return { direction, port, subset, host: rest.join(separator) };
}
