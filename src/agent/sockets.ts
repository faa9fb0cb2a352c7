/** Unix sockets between an Envoy process and the agent, below the run directory as in Istio. */
import { join } from 'node:path';

/** SDS: `var/run/secrets/workload-spiffe-uds/socket`. */
export function sdsSocketPath(runDirectory: string): string {
  return join(runDirectory, 'var/run/secrets/workload-spiffe-uds/socket');
}

/** xDS relay: `etc/istio/proxy/XDS`. */
export function xdsSocketPath(runDirectory: string): string {
  return join(runDirectory, 'etc/istio/proxy/XDS');
}

/** Generated bootstrap of an Envoy process: `etc/istio/proxy/envoy-rev.json`. */
export function bootstrapPath(runDirectory: string): string {
  return join(runDirectory, 'etc/istio/proxy/envoy-rev.json');
}

/** Longest path of a Unix socket in bytes (sun_path of Linux, without its NUL). */
export const maxSocketPathBytes = 107;
