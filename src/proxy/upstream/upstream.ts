/** Upstream side as the router and tcp_proxy see it: hosts, clusters, pools (envoy/upstream, envoy/http/conn_pool.h). */
import type { Socket } from 'node:net';
import type { ClientConnection, RequestEncoder, ResponseDecoder, ResetReason } from '../http/codec.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import type { LoadBalancerStats } from './load_balancer_stats.ts';
import type { ResponseCodes } from './response_codes.ts';
import type { Address } from '../network/address.ts';
import type { ConnectionInfo, TlsInfo } from '../network/connection.ts';
import type { OverrideHost } from '../stream_info/stream_info.ts';
import type { TlsStats, UpstreamTransportOptions } from '../network/transport_socket.ts';

export type MetadataMap = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Where outlier detection and statistics hear how a host did. */
export type HostResult =
  | { readonly kind: 'http'; readonly status: number; readonly localOrigin: boolean }
  /** `final`: nothing but the connection tells how the host does (TCP). */
  | { readonly kind: 'connect_success'; readonly final?: boolean }
  | { readonly kind: 'connect_failure' }
  | { readonly kind: 'connect_timeout' }
  | { readonly kind: 'timeout' };

/** One endpoint of a cluster. The same host object survives updates of its cluster as long as its address stays. */
export interface Host {
  readonly address: Address;
  /** `hostname` of the endpoint; empty when none. */
  readonly hostname: string;
  readonly metadata: MetadataMap | undefined;
  readonly locality: { readonly region: string; readonly zone: string; readonly subZone: string };
  readonly priority: number;
  weight: number;
  healthy: boolean;
  /** Taken when healthy hosts cannot take the whole load. */
  degraded: boolean;
  /** Requests in flight, for least request. */
  activeRequests: number;
  /** Reports an outcome to outlier detection. */
  report(result: HostResult): void;
  /** Wants to hear of good answers with `x-envoy-degraded`; absent or undefined for most. */
  readonly onDegraded?: (() => void) | undefined;
}

/** What a balancer may look at for one request or connection. */
export interface LoadBalancerContext {
  /** Hash of the route's hash policy; undefined without one. 64 bits. */
  readonly hash: bigint | undefined;
  /** Wanted subset, from the route's metadata match. */
  readonly metadataMatch: Readonly<Record<string, unknown>> | undefined;
  readonly downstream: ConnectionInfo | undefined;
  readonly requestHeaders: RequestHeaderMap | undefined;
  /** Retry predicates: true asks the balancer for another host (bounded by `hostSelectionRetryCount`). */
  shouldSelectAnotherHost(host: Host): boolean;
  readonly hostSelectionRetryCount: number;
  /** Bit `n` is set when priority `n` had its turn already (retry_priorities.previous_priorities); absent or 0 for none. */
  readonly triedPriorities?: number;
  /** Every priority that can take requests had its turn: they start anew. */
  forgetTriedPriorities?(): void;
  /** Asked for before any balancing; absent or undefined for most. */
  readonly overrideHost?: OverrideHost | undefined;
  /** Overrides of SNI, ALPN and expected names for this request's connection (Istio's `istio.alpn` filter, auto_sni). */
  readonly transportOptions?: UpstreamTransportOptions | undefined;
}

/** Why a pool could not give a stream (envoy ConnectionPool::PoolFailureReason). */
export type PoolFailure = 'overflow' | 'local_connection_failure' | 'remote_connection_failure' | 'timeout';

/** Answer of an HTTP pool, at once (in the call) or later. Exactly one of the two is called unless cancelled. */
export interface HttpPoolCallbacks {
  onPoolReady(
    encoder: RequestEncoder,
    host: Host,
    connection: ClientConnection,
    tls: TlsInfo | undefined,
    connectionId: number,
    /** The connection served a request before: when it ends without a byte of response, the peer may not have seen this one. */
    reused: boolean,
  ): void;
  onPoolFailure(reason: PoolFailure, transportFailureReason: string, host: Host): void;
}

export interface Cancellable {
  cancel(): void;
}

/** Connections to one host with one protocol and one set of transport options. */
export interface HttpConnectionPool {
  readonly host: Host;
  /** Starts a stream; the decoder hears the response once ready. Undefined when the answer was given in the call. */
  newStream(decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): Cancellable | undefined;
}

export interface TcpPoolCallbacks {
  /** The socket is connected (and, with TLS, handshaken) and belongs to the caller. */
  onPoolReady(socket: Socket, host: Host, localAddress: Address, tls: TlsInfo | undefined): void;
  onPoolFailure(reason: PoolFailure, transportFailureReason: string, host: Host): void;
}

/** Counts against circuit breaker thresholds (envoy.config.cluster.v3.CircuitBreakers), per priority. */
export interface ResourceManager {
  /** True, and counted, when another one fits; pair each with its release. */
  tryRequest(): boolean;
  releaseRequest(): void;
  tryRetry(): boolean;
  releaseRetry(): void;
  tryPendingRequest(): boolean;
  releasePendingRequest(): void;
  tryConnection(): boolean;
  releaseConnection(): void;
}

/** Cluster statistics that Istio's proxies publish when asked (envoy_cluster_*): plain numbers. */
export interface ClusterStats {
  upstreamCxTotal: number;
  upstreamCxActive: number;
  upstreamCxConnectFail: number;
  upstreamCxOverflow: number;
  upstreamCxNoneHealthy: number;
  upstreamCxConnectTimeout: number;
  upstreamCxHttp1Total: number;
  upstreamCxHttp2Total: number;
  upstreamCxIdleTimeout: number;
  upstreamCxMaxDurationReached: number;
  upstreamCxMaxRequests: number;
  upstreamRqPendingTotal: number;
  upstreamRqTotal: number;
  upstreamRqActive: number;
  upstreamRqPendingOverflow: number;
  upstreamRqPendingFailureEject: number;
  upstreamRqRetry: number;
  upstreamRqRetrySuccess: number;
  upstreamInternalRedirectSucceeded: number;
  upstreamInternalRedirectFailed: number;
  upstreamRqRetryOverflow: number;
  upstreamRqRetryLimitExceeded: number;
  upstreamRqTimeout: number;
  upstreamRqPerTryTimeout: number;
  upstreamRqRxReset: number;
  upstreamRqTxReset: number;
  readonly codes: ResponseCodes;
  /** TLS to all hosts. */
  readonly tls: TlsStats;
  membershipChange: number;
  updateAttempt: number;
  updateSuccess: number;
  updateFailure: number;
  updateEmpty: number;
  updateNoRebuild: number;
  readonly lb: LoadBalancerStats;
}

/** A live cluster of this worker. */
export interface Cluster {
  readonly name: string;
  /** `alt_stat_name`, else the name. */
  readonly statName: string;
  readonly metadata: MetadataMap | undefined;
  readonly stats: ClusterStats;
  readonly maintenanceMode: boolean;
  /** Share of requests that is answered without a host, 0 to 1 (`ClusterLoadAssignment.policy.drop_overloads`). */
  readonly dropOverload: number;
  /** Bytes that may wait to be written to a connection (`per_connection_buffer_limit_bytes`). */
  readonly bufferLimitBytes: number;
  /** `upstream_http_protocol_options`/`common_http_protocol_options` that the router reads. */
  readonly maxResponseHeadersKb: number;
  readonly idleTimeoutMs: number;
  resources(priority: 'default' | 'high'): ResourceManager;
  /** Undefined when there is no healthy host. */
  chooseHost(context: LoadBalancerContext): Host | undefined;
  /** HTTP version that a request of this downstream version is sent with. */
  upstreamProtocol(downstreamProtocol: string): 'HTTP/1.1' | 'HTTP/2';
  httpPool(
    host: Host,
    priority: 'default' | 'high',
    downstreamProtocol: string,
    context: LoadBalancerContext,
  ): HttpConnectionPool;
  /** Connects to the host, each call a new connection. */
  tcpConnect(host: Host, context: LoadBalancerContext, callbacks: TcpPoolCallbacks): Cancellable;
}

/** All clusters of this worker; swapped per cluster by CDS and EDS updates between two requests. */
export interface ClusterManager {
  get(name: string): Cluster | undefined;
}

export type { ResetReason };
