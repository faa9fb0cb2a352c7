/**
 * Istio's exchange of workload metadata by headers: the caller tells who it is with the request, the server with the
 * response. The client's side takes the answer off the response, the server's side takes the question off the request.
 */
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { fixedCluster, header, metadataKey } from '#api/well_known.ts';
import {
  type FilterCallbacks,
  FilterStatus,
  type HttpFilter,
  type HttpFilterFactory,
} from '../../../http/filter.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { downstreamPeerKey, upstreamPeerKey } from './peer.ts';
import { workerPeers } from './peer_cache.ts';

/** What one chain's filter does (io.istio.http.peer_metadata.Config with `istio_headers`; other methods are passed over). */
export interface PeerMetadataConfig {
  /** Learn the client from the request. */
  readonly downstreamDiscovery: boolean;
  /** Tell the client who we are, with the response. */
  readonly downstreamPropagation: boolean;
  /** Learn the server from the response. */
  readonly upstreamDiscovery: boolean;
  /** Tell the server who we are, with the request. */
  readonly upstreamPropagation: boolean;
  /** Tell nothing to servers outside the mesh. Default false. */
  readonly skipExternalClusters: boolean;
  /** Labels to tell besides the standard ones. */
  readonly additionalLabels: readonly string[];
}

function methods(config: JsonObject, snake: string, camel: string): readonly JsonValue[] {
  const list = config[snake] ?? config[camel] ?? [];
  if (!Array.isArray(list)) throw new Error(`${snake}: expected a list`);
  return list;
}

function istioHeaders(list: readonly JsonValue[]): JsonObject | undefined {
  for (const method of list) {
    if (typeof method !== 'object' || method === null || Array.isArray(method)) continue;
    const found = method['istio_headers'] ?? method['istioHeaders'];
    if (typeof found === 'object' && found !== null && !Array.isArray(found)) return found;
  }
  return undefined;
}

/** Reads the configuration, in proto or JSON names. Throws Error for a list that is none. */
export function readPeerMetadataConfig(config: JsonObject): PeerMetadataConfig {
  const upstreamPropagation = istioHeaders(methods(config, 'upstream_propagation', 'upstreamPropagation'));
  return {
    downstreamDiscovery:
      istioHeaders(methods(config, 'downstream_discovery', 'downstreamDiscovery')) !== undefined,
    downstreamPropagation:
      istioHeaders(methods(config, 'downstream_propagation', 'downstreamPropagation')) !== undefined,
    upstreamDiscovery: istioHeaders(methods(config, 'upstream_discovery', 'upstreamDiscovery')) !== undefined,
    upstreamPropagation: upstreamPropagation !== undefined,
    skipExternalClusters:
      (upstreamPropagation?.['skip_external_clusters'] ?? upstreamPropagation?.['skipExternalClusters']) ===
      true,
    additionalLabels: methods(config, 'additional_labels', 'additionalLabels').filter(
      (name) => typeof name === 'string',
    ),
  };
}

/** Built once per chain. */
export interface PeerMetadataShared {
  readonly config: PeerMetadataConfig;
  /** Our own values of the two headers. */
  readonly ownId: string;
  readonly ownMetadata: string;
  readonly clusterManager: ClusterManager;
}

/** False for servers that must not hear of us. */
function mayTell({ config, clusterManager }: PeerMetadataShared, callbacks: FilterCallbacks): boolean {
  const name = callbacks.route()?.clusterName;
  if (name === undefined || name === '') return true;
  if (config.skipExternalClusters && name === fixedCluster.passthrough) return false;
  const istio = clusterManager.get(name)?.metadata?.[metadataKey.istio];
  if (istio === undefined) return true;
  return istio['disable_mx'] !== true && !(config.skipExternalClusters && istio['external'] === true);
}

class PeerMetadataFilter implements HttpFilter {
  readonly #shared: PeerMetadataShared;
  readonly #callbacks: FilterCallbacks;
  /** Which of the two the client sent: it is answered with the same. */
  #sawId = false;
  #sawMetadata = false;

  constructor(shared: PeerMetadataShared, callbacks: FilterCallbacks) {
    this.#shared = shared;
    this.#callbacks = callbacks;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const { config } = this.#shared;
    if (config.downstreamDiscovery && (headers.seen & HeaderFlag.envoy) !== 0) {
      this.#sawMetadata = this.#learn(headers, downstreamPeerKey);
      this.#sawId = headers.remove(header.peerMetadataId);
    }
    if (config.upstreamPropagation && mayTell(this.#shared, this.#callbacks)) {
      headers.set(header.peerMetadataId, this.#shared.ownId);
      headers.set(header.peerMetadata, this.#shared.ownMetadata);
    }
    return FilterStatus.continue;
  }

  encodeHeaders(headers: ResponseHeaderMap): FilterStatus {
    const { config, ownId, ownMetadata } = this.#shared;
    if (config.upstreamDiscovery && (headers.seen & HeaderFlag.envoy) !== 0) {
      this.#learn(headers, upstreamPeerKey);
      headers.remove(header.peerMetadataId);
    }
    if (config.downstreamPropagation) {
      if (this.#sawId) headers.set(header.peerMetadataId, ownId);
      if (this.#sawMetadata) headers.set(header.peerMetadata, ownMetadata);
    }
    return FilterStatus.continue;
  }

  /** Takes the metadata off; true when it was there. */
  #learn(headers: HeaderMap, key: string): boolean {
    const value = headers.getFirst(header.peerMetadata);
    if (value === undefined) return false;
    headers.remove(header.peerMetadata);
    const peer = workerPeers.find(value);
    if (peer !== undefined) this.#callbacks.streamInfo.setFilterState(key, peer);
    return true;
  }
}

export function createPeerMetadata(shared: PeerMetadataShared): HttpFilterFactory {
  return { createFilter: (callbacks) => new PeerMetadataFilter(shared, callbacks) };
}
