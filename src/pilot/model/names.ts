/** Names that Istio gives to listeners and routes, and that its CLI and dashboards read back. */

/** `10.96.0.1_443`; a Unix socket keeps its path. */
export function listenerNameOf(address: string, port: number): string {
  return address.startsWith('/') || address.startsWith('@') ? address : `${address}_${port}`;
}

/**
 * How clusters and routes name the object they were made from, in metadata `istio` key `config`:
 * `/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews`.
 */
export function configPath(apiVersion: string, kind: string, namespace: string, name: string): string {
  const dashed = kind.replace(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase();
  return `/apis/${apiVersion}/namespaces/${namespace}/${dashed}/${name}`;
}

/** Route of the explicit HTTP proxy. */
export const httpProxyRoute = 'http_proxy';
