/** One request in the `istio.alpn` filter: which ALPN its upstream connection offers. */
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import { transportOptionsKey, type UpstreamTransportOptions } from '../../../network/transport_socket.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';

/** By HTTP version of the upstream; undefined leaves the cluster's own ALPN. One object each, for all requests. */
export interface AlpnOverrides {
  readonly http1: UpstreamTransportOptions | undefined;
  readonly http2: UpstreamTransportOptions | undefined;
}

export class AlpnFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #overrides: AlpnOverrides;
  readonly #clusters: ClusterManager;

  constructor(callbacks: FilterCallbacks, overrides: AlpnOverrides, clusters: ClusterManager) {
    this.#callbacks = callbacks;
    this.#overrides = overrides;
    this.#clusters = clusters;
  }

  decodeHeaders(): FilterStatus {
    const clusterName = this.#callbacks.route()?.clusterName ?? '';
    const cluster = clusterName === '' ? undefined : this.#clusters.get(clusterName);
    if (cluster === undefined) return FilterStatus.continue;
    // Clusters that leave the mesh keep their own ALPN.
    if (cluster.metadata?.['istio']?.['alpn_override'] === 'false') return FilterStatus.continue;
    const info = this.#callbacks.streamInfo;
    const options =
      cluster.upstreamProtocol(info.protocol) === 'HTTP/2' ? this.#overrides.http2 : this.#overrides.http1;
    if (options !== undefined) info.setFilterState(transportOptionsKey, options);
    return FilterStatus.continue;
  }
}
