/** Labels of both ends of a request or connection, kept per combination so that requests build no strings. */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { metadataKey } from '#api/well_known.ts';
import type { TlsInfo } from '../../network/connection.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { MetadataMap } from '../../upstream/upstream.ts';
import {
  downstreamPeerKey,
  peerFromEndpoint,
  peerFromMetadata,
  upstreamPeerKey,
  type WorkloadPeer,
} from '../http/peer_metadata/peer.ts';
import { latest, unknown } from './labels.ts';
import type { ServiceIdentity } from './service_directory.ts';

/** Who reports: the client's proxy, or the server's. */
export type Reporter = 'source' | 'destination';

/** One combination of both ends and a service. */
export interface Ends {
  readonly service: ServiceIdentity;
  readonly peer: WorkloadPeer | undefined;
  readonly peerPrincipal: string;
  readonly ownPrincipal: string;
  /** Values of `endLabels`. */
  readonly values: readonly string[];
  /** Series by the rest of their labels; what they are is the filter's matter. */
  readonly series: Map<number, unknown>;
}

/** Combinations that one service may have before all are forgotten (their series stay). */
const maxPeers = 1024;

/** Workloads of endpoints, by the metadata of the host. */
const endpointPeers = new WeakMap<MetadataMap, { readonly peer: WorkloadPeer | undefined }>();

function endpointPeer(metadata: MetadataMap | undefined): WorkloadPeer | undefined {
  if (metadata === undefined) return undefined;
  let found = endpointPeers.get(metadata);
  if (found === undefined) {
    const workload = metadata[metadataKey.istio]?.['workload'];
    found = { peer: typeof workload === 'string' ? peerFromEndpoint(workload) : undefined };
    endpointPeers.set(metadata, found);
  }
  return found.peer;
}

/** Namespace of `spiffe://domain/ns/NAMESPACE/sa/ACCOUNT`; empty when there is none. */
export function namespaceOf(principal: string): string {
  const start = principal.indexOf('/ns/');
  if (start < 0) return '';
  const end = principal.indexOf('/', start + 4);
  return end < 0 ? principal.slice(start + 4) : principal.slice(start + 4, end);
}

/** Labels of one side: workload, canonical service and revision, namespace, principal, app, version, cluster. */
interface Side {
  readonly workload: string;
  readonly service: string;
  readonly revision: string;
  readonly namespace: string;
  readonly principal: string;
  readonly app: string;
  readonly version: string;
  readonly cluster: string;
}

function sideOf(peer: WorkloadPeer | undefined, namespace: string, principal: string): Side {
  return {
    workload: peer?.workload || unknown,
    service: peer?.service || unknown,
    revision: peer?.revision || latest,
    namespace: namespace || unknown,
    principal: principal || unknown,
    app: peer?.app || unknown,
    version: peer?.version || unknown,
    cluster: peer?.cluster || unknown,
  };
}

/** Makes and remembers combinations for one filter. */
export class EndsTable {
  readonly reporter: Reporter;
  readonly #own: WorkloadPeer;
  /** Most requests are like the one before. */
  #last: Ends | undefined = undefined;

  constructor(reporter: Reporter, node: Node) {
    this.reporter = reporter;
    this.#own = peerFromMetadata(node.metadata ?? {});
  }

  /** The TLS of the side that faces the other workload. */
  tlsOf(info: StreamInfo): TlsInfo | undefined {
    return this.reporter === 'destination' ? info.connection.tls : info.upstream?.tls;
  }

  #peerOf(info: StreamInfo): WorkloadPeer | undefined {
    if (this.reporter === 'destination')
      return info.filterState?.get(downstreamPeerKey) as WorkloadPeer | undefined;
    const told = info.filterState?.get(upstreamPeerKey) as WorkloadPeer | undefined;
    return told ?? endpointPeer(info.upstream?.hostMetadata);
  }

  find(info: StreamInfo, service: ServiceIdentity): Ends {
    const peer = this.#peerOf(info);
    const tls = this.tlsOf(info);
    const peerPrincipal = tls?.peerUriSans[0] ?? '';
    const ownPrincipal = tls?.localUriSans[0] ?? '';
    const last = this.#last;
    if (
      last !== undefined &&
      last.service === service &&
      last.peer === peer &&
      last.peerPrincipal === peerPrincipal &&
      last.ownPrincipal === ownPrincipal
    )
      return last;
    let byPrincipal = service.ends.get(peer);
    if (byPrincipal === undefined || byPrincipal.size >= maxPeers) {
      if (service.ends.size >= maxPeers) service.ends.clear();
      byPrincipal = new Map();
      service.ends.set(peer, byPrincipal);
    }
    let ends = byPrincipal.get(peerPrincipal);
    if (ends === undefined || ends.ownPrincipal !== ownPrincipal) {
      const values = this.#values(service, peer, peerPrincipal, ownPrincipal);
      ends = { service, peer, peerPrincipal, ownPrincipal, values, series: new Map() };
      byPrincipal.set(peerPrincipal, ends);
    }
    this.#last = ends;
    return ends;
  }

  #values(
    service: ServiceIdentity,
    peer: WorkloadPeer | undefined,
    peerPrincipal: string,
    ownPrincipal: string,
  ): string[] {
    const own = this.#own;
    // What a certificate says of the namespace stands above what the peer says of itself.
    const peerNamespace = namespaceOf(peerPrincipal) || (peer?.namespace ?? '');
    const ownSide = sideOf(own, own.namespace, ownPrincipal);
    const peerSide = sideOf(peer, peerNamespace, peerPrincipal);
    const server = this.reporter === 'destination';
    const source = server ? peerSide : ownSide;
    const destination = server ? ownSide : peerSide;
    return [
      this.reporter,
      source.workload,
      source.service,
      source.revision,
      source.namespace,
      source.principal,
      source.app,
      source.version,
      source.cluster,
      destination.workload,
      destination.namespace,
      destination.principal,
      destination.app,
      destination.version,
      service.host || (server ? ownSide.service : unknown),
      destination.service,
      destination.revision,
      service.name || (server ? ownSide.service : unknown),
      service.namespace || destination.namespace,
      destination.cluster,
    ];
  }
}

/** `connection_security_policy`: the server knows, the client does not say. */
export function securityPolicy(reporter: Reporter, mutualTls: boolean): string {
  if (reporter === 'source') return unknown;
  return mutualTls ? 'mutual_tls' : 'none';
}
