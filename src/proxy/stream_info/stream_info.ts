/**
 * The record of one request (or of one TCP connection): what logs, metrics and traces read. Plain fields, written on the
 * path of the request. Times are `performance.now()` milliseconds, NaN when the moment has not come.
 */
import type { Address } from '../network/address.ts';
import type { ConnectionInfo, TlsInfo } from '../network/connection.ts';
import type { ResponseFlags } from './response_flags.ts';

/** What the upstream side of one attempt learned; replaced at each retry. */
export interface UpstreamInfo {
  /** The host asked; undefined before one was chosen. */
  hostAddress: Address | undefined;
  /** Metadata of the host (`envoy.config.endpoint.v3.LbEndpoint.metadata.filter_metadata`). */
  hostMetadata: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
  localAddress: Address | undefined;
  tls: TlsInfo | undefined;
  /** `%UPSTREAM_TRANSPORT_FAILURE_REASON%`. */
  transportFailureReason: string;
  /** `HTTP/1.1`, `HTTP/2`, empty for TCP. */
  protocol: string;
  /** First and last byte sent to, and received from, the upstream. */
  firstByteSentMs: number;
  lastByteSentMs: number;
  firstByteReceivedMs: number;
  lastByteReceivedMs: number;
  connectionId: number;
}

/** A host that a filter asks for, before any balancing (envoy LoadBalancerContext::overrideHostToSelect). */
export interface OverrideHost {
  /** `ip:port`, `[ip]:port` or the path of a Unix socket. */
  readonly address: string;
  /** No other host will do. */
  readonly strict: boolean;
  /** Status of the answer when it is strict and the host may not be used. */
  readonly missingStatus: number;
}

export class StreamInfo {
  readonly connection: ConnectionInfo;
  /** The client as the request tells it (x-forwarded-for), else the connection's remote address. */
  remoteAddress: Address;
  /** Milliseconds since the epoch. */
  readonly startTimeMs: number;
  readonly start: number;
  /** `HTTP/1.1`, `HTTP/1.0`, `HTTP/2`; empty for TCP. */
  protocol: string;
  lastDownstreamByteReceived: number = NaN;
  firstDownstreamByteSent: number = NaN;
  lastDownstreamByteSent: number = NaN;
  /** Set when the stream has ended. */
  end: number = NaN;
  /** Body bytes (HTTP) or all bytes (TCP). */
  bytesReceived = 0;
  bytesSent = 0;
  /** Bytes with framing and headers. */
  wireBytesReceived = 0;
  wireBytesSent = 0;
  /** 0 when there was no response. */
  responseCode = 0;
  responseFlags: ResponseFlags = 0;
  /** `%RESPONSE_CODE_DETAILS%`: `via_upstream`, `route_not_found`, ...; empty until known. */
  responseCodeDetails = '';
  /** `%CONNECTION_TERMINATION_DETAILS%`. */
  connectionTerminationDetails = '';
  /** Name of the route; empty when none. */
  routeName = '';
  virtualHostName = '';
  /** Upstream cluster; empty when none was chosen. */
  clusterName = '';
  /** `alt_stat_name` of the cluster, which `%UPSTREAM_CLUSTER%` prints. */
  clusterStatName = '';
  /** `filter_metadata` of the cluster. */
  clusterMetadata: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined = undefined;
  upstream: UpstreamInfo | undefined = undefined;
  /** Requests sent upstream, 1 without retries. */
  attemptCount = 0;
  /** x-request-id; empty when there is none. */
  requestId = '';
  traceId = '';
  spanId = '';
  /** True for a health check request that the mesh itself sends. */
  healthCheck = false;
  /** By filter name, `%DYNAMIC_METADATA%`. */
  dynamicMetadata: Map<string, Record<string, unknown>> | undefined = undefined;
  /** `%FILTER_STATE%`; peers' workload metadata lives here. */
  filterState: Map<string, unknown> | undefined = undefined;
  /** For the first attempt; retries go where the balancer says. */
  overrideHost: OverrideHost | undefined = undefined;

  /** @param start `performance.now()` of the first byte; a caller that has just read the clock passes it. */
  constructor(connection: ConnectionInfo, protocol: string, start: number = performance.now()) {
    this.connection = connection;
    this.remoteAddress = connection.remoteAddress;
    this.protocol = protocol;
    this.startTimeMs = Date.now();
    this.start = start;
  }

  /** Adds to what the filter has already said; the values are not copied when it is the first to speak. */
  setDynamicMetadata(filter: string, values: Readonly<Record<string, unknown>>): void {
    this.dynamicMetadata ??= new Map();
    const said = this.dynamicMetadata.get(filter);
    this.dynamicMetadata.set(filter, said === undefined ? values : { ...said, ...values });
  }

  setFilterState(key: string, value: unknown): void {
    this.filterState ??= new Map();
    this.filterState.set(key, value);
  }
}

/** A fresh record for one attempt. */
export function newUpstreamInfo(): UpstreamInfo {
  return {
    hostAddress: undefined,
    hostMetadata: undefined,
    localAddress: undefined,
    tls: undefined,
    transportFailureReason: '',
    protocol: '',
    firstByteSentMs: NaN,
    lastByteSentMs: NaN,
    firstByteReceivedMs: NaN,
    lastByteReceivedMs: NaN,
    connectionId: 0,
  };
}
