/** Names that Istio gives to clusters, listeners and routes, and that its CLI and dashboards read back. */

export type TrafficDirection = 'inbound' | 'outbound';

/** `outbound|9080|v1|reviews.default.svc.cluster.local`. */
export function clusterName(
  direction: TrafficDirection,
  port: number,
  subset: string,
  hostname: string,
): string {
  return `${direction}|${port}|${subset}|${hostname}`;
}

/** Server name of mutual TLS towards a cluster: `outbound_.9080_.v1_.reviews.default.svc.cluster.local`. */
export function clusterSni(port: number, subset: string, hostname: string): string {
  return `outbound_.${port}_.${subset}_.${hostname}`;
}

/** The parts of a cluster name. */
export interface ClusterNameParts {
  readonly direction: string;
  readonly port: number;
  readonly subset: string;
  readonly hostname: string;
}

/** The parts of a cluster name, or undefined when the text is not of that form. */
export function parseClusterName(name: string): ClusterNameParts | undefined {
  const [direction, port, subset, hostname, ...rest] = name.split('|');
  if (direction === undefined || port === undefined || subset === undefined || hostname === undefined) {
    return undefined;
  }
  const number = Number(port);
  if (rest.length > 0 || !Number.isInteger(number)) return undefined;
  return { direction, port: number, subset, hostname };
}

/** `10.96.0.1_443`; a Unix socket keeps its path. */
export function listenerName(address: string, port: number): string {
  return address.startsWith('/') || address.startsWith('@') ? address : `${address}_${port}`;
}

/** How clusters and routes name the object they were made from, in metadata `istio` key `config`. */
export function configPath(apiVersion: string, kind: string, namespace: string, name: string): string {
  const dashed = kind.replace(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase();
  return `/apis/${apiVersion}/namespaces/${namespace}/${dashed}/${name}`;
}

/** Traffic to destinations outside the registry, by its original address. */
export const passthroughCluster = 'PassthroughCluster';
/** Drops everything. */
export const blackHoleCluster = 'BlackHoleCluster';
/** Captured traffic to ports that no service names. */
export const inboundPassthroughCluster = 'InboundPassthroughCluster';
/** Listener that takes captured outbound traffic. */
export const virtualOutboundListener = 'virtualOutbound';
/** Listener that takes captured inbound traffic. */
export const virtualInboundListener = 'virtualInbound';
/** Route of the explicit HTTP proxy. */
export const httpProxyRoute = 'http_proxy';
