/** A downstream connection as listener filters, network filters and the request path see it. */
import type { Socket } from 'node:net';
import type { Address } from './address.ts';
import type { ProxyInfo } from './proxy_header.ts';
import type { UpstreamSource } from './foreign_address.ts';

/** What the handshake of one side learned of its peer (envoy `Ssl::ConnectionInfo`). */
export interface TlsInfo {
  /** `TLSv1.3`. */
  readonly version: string;
  /** OpenSSL cipher name. */
  readonly cipher: string;
  /** True when the peer showed a certificate and it was verified. */
  readonly peerCertificateValidated: boolean;
  /** URI SANs of the peer's certificate; SPIFFE ids are here. Empty without a certificate. */
  readonly peerUriSans: readonly string[];
  readonly peerDnsSans: readonly string[];
  /** RFC 2253 subject of the peer, empty without a certificate. */
  readonly peerSubject: string;
  /** URI SANs of our own certificate. */
  readonly localUriSans: readonly string[];
  readonly localSubject: string;
  /** Other SANs of our own certificate, for logs. */
  readonly localDnsSans?: readonly string[];
  readonly localIpSans?: readonly string[];
  /** Peer certificate, DER; for x-forwarded-client-cert `Hash` and `Cert`. */
  readonly peerCertificateDer: Buffer | undefined;
  /** Server name of the client hello, lower case; empty or absent without. */
  readonly serverName?: string;
  /** The handshake took up an earlier session. */
  readonly sessionReused?: boolean;
}

/**
 * One accepted connection. Listener filters fill in the mutable fields before a filter chain is chosen; afterwards
 * they do not change. The addresses follow Envoy's `ConnectionInfoProvider`.
 */
export interface ConnectionInfo {
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly startTimeMs: number;
  /** Where the client connected to, after original_dst and proxy_protocol. */
  localAddress: Address;
  /** The listening address itself. */
  readonly directLocalAddress: Address;
  /** The client, after proxy_protocol. */
  remoteAddress: Address;
  readonly directRemoteAddress: Address;
  /** True when original_dst found another destination than the socket's own. */
  localAddressRestored: boolean;
  /** SNI from tls_inspector or the handshake; empty when there is none. */
  requestedServerName: string;
  /** ALPN offers (tls_inspector) or the HTTP version seen (http_inspector). */
  applicationProtocols: readonly string[];
  /** `raw_buffer`, or `tls` when tls_inspector saw a client hello. */
  transportProtocol: 'raw_buffer' | 'tls';
  /** ALPN that the handshake chose; empty without TLS. */
  negotiatedProtocol: string;
  /** Present once a TLS transport socket finished its handshake. */
  tls: TlsInfo | undefined;
  /** Name of the chosen filter chain, `%FILTER_CHAIN_NAME%`. */
  filterChainName: string;
  /** Set by network filters (envoy dynamic metadata), by filter name. */
  dynamicMetadata: Map<string, Record<string, unknown>> | undefined;
  /** Set by whoever closes early: `%CONNECTION_TERMINATION_DETAILS%`. */
  terminationDetails: string;
  /** `%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`. */
  transportFailureReason: string;
  /** What a PROXY header told, for upstreams that want one; undefined without. */
  proxyProtocol: ProxyInfo | undefined;
  /** Source address of connections to upstreams (envoy.filters.listener.original_src); undefined for the proxy's own. */
  upstreamSource: UpstreamSource | undefined;
  /** What the terminal filter keeps of the connection as a whole (`stream_info/connection_stream.ts`). */
  record: object | undefined;
}

/** What network filters and codecs get: the socket (plain or TLSSocket, not yet flowing) and its record. */
export interface DownstreamConnection {
  /** Bytes that listener filters read beyond what they consumed have been put back on it (`unshift`). */
  readonly socket: Socket;
  readonly info: ConnectionInfo;
  /** The filter chain that took the connection; what it points to may change between two requests. */
  readonly chain: ChainHandle;
  /** Aborts when the listener drains: codecs answer with `connection: close` or GOAWAY and let streams finish. */
  readonly drain: DrainSignal;
}

/**
 * Identity of a filter chain (its name and its match) that outlives updates of its listener. A chain that comes again
 * with the same name and match takes over the handle, so that open connections see its new filters for their next
 * request; a chain that is gone keeps the filters it had, and its connections drain.
 */
export interface ChainHandle {
  /** `FilterChain.name`; empty when it has none. */
  readonly name: string;
  /**
   * Terminal filter of the newest version of the chain. The connection manager compares it by identity with the one it
   * began with: when it changed and is of its own class, the next request uses that one's filters.
   */
  readonly current: TerminalNetworkFilter;
}

/** The last filter of a chain (http_connection_manager, tcp_proxy): owns the socket from here on. */
export interface TerminalNetworkFilter {
  onConnection(connection: DownstreamConnection): void;
  /** A connection of the chain ended before it came here: its handshake failed, a filter refused it, its client left. */
  onUnserved?(connection: DownstreamConnection): void;
}

/** How a drain spreads: over its time with growing probability, or at once (`--drain-strategy`). */
export type DrainStrategy = 'gradual' | 'immediate';

/** Draining of one listener. `onDrain` fires once per connection, at a moment of the drain time. */
export interface DrainSignal {
  /** Asked before each response: true when its connection should end with it. */
  readonly draining: boolean;
  onDrain(callback: () => void): () => void;
}
