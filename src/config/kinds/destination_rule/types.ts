/** DestinationRule (networking.istio.io/v1): how to talk to a host once routing has chosen it. */
import type { PortSelector } from '../virtual_service/types.ts';
import type { WorkloadSelector } from '../selector.ts';

/** `spec` of a DestinationRule. */
export interface DestinationRule {
  /** Service in the registry; short names are completed with the rule's namespace; `*.` wildcards allowed. Required. */
  readonly host?: string;
  /** For all ports and subsets. Absent: the mesh's defaults. */
  readonly trafficPolicy?: TrafficPolicy;
  /** Named parts of the service. */
  readonly subsets?: readonly Subset[];
  /** Namespaces that see this object: `.`, `*`, or names. Absent: the mesh's default, all. */
  readonly exportTo?: readonly string[];
  /** Callers that the rule is for, within its namespace. Absent: all callers. */
  readonly workloadSelector?: WorkloadSelector;
}

/** The blocks that may stand for a whole host or for one port. */
export interface PortPolicyBlocks {
  /** Absent: LEAST_REQUEST. */
  readonly loadBalancer?: LoadBalancerSettings;
  /** Absent: practically no limits. */
  readonly connectionPool?: ConnectionPoolSettings;
  /** Absent: nothing is ejected. */
  readonly outlierDetection?: OutlierDetection;
  /** Absent: automatic mutual TLS where the other side can, else plain. */
  readonly tls?: ClientTLSSettings;
}

/** How to talk to a host. */
export interface TrafficPolicy extends PortPolicyBlocks {
  /** Settings of single ports; a block given here replaces the block of the host, unset blocks take defaults. */
  readonly portLevelSettings?: readonly PortTrafficPolicy[];
  /** Tunnels TCP and TLS through a forward proxy. Absent: none. */
  readonly tunnel?: TunnelSettings;
  /** Sends the PROXY header. Absent: none. */
  readonly proxyProtocol?: ProxyProtocol;
  /** Bounds retries as a share of active requests. Absent: connectionPool.http.maxRetries rules. */
  readonly retryBudget?: RetryBudget;
}

/** Settings of one port. */
export interface PortTrafficPolicy extends PortPolicyBlocks {
  /** Port of the service. Required. */
  readonly port?: PortSelector;
}

/** A tunnel through a forward proxy. */
export interface TunnelSettings {
  /** `CONNECT` or `POST`. Absent: CONNECT. */
  readonly protocol?: string;
  /** Host that the proxy connects to. Required. */
  readonly targetHost?: string;
  /** Port that the proxy connects to. Required. */
  readonly targetPort?: number;
}

/** The PROXY header of upstream connections. */
export interface ProxyProtocol {
  /** Absent: V1. */
  readonly version?: 'V1' | 'V2';
}

/** Bound of concurrent retries. */
export interface RetryBudget {
  /** Percent of active and pending requests, 0 to 100. Absent: 20. */
  readonly percent?: number;
  /** Retries that are always allowed. Absent: 3. */
  readonly minRetryConcurrency?: number;
  /** Window in which active requests are counted. Absent: only the current ones. */
  readonly budgetInterval?: string;
}

/** A named part of a service. */
export interface Subset {
  /** A DNS label; unique in the rule. Required. */
  readonly name?: string;
  /** Labels of the pods. Absent: all endpoints. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Replaces the rule's blocks, block by block. Absent: the rule's. */
  readonly trafficPolicy?: TrafficPolicy;
}

export type SimpleLB =
  | 'UNSPECIFIED'
  | 'LEAST_CONN'
  | 'RANDOM'
  | 'PASSTHROUGH'
  | 'ROUND_ROBIN'
  | 'LEAST_REQUEST';

/** Load balancing. Of simple and consistentHash at most one stands. */
export interface LoadBalancerSettings {
  /** Absent or UNSPECIFIED: LEAST_REQUEST. LEAST_CONN is an old name of it. */
  readonly simple?: SimpleLB;
  readonly consistentHash?: ConsistentHashLB;
  /** Replaces the mesh's whole locality setting. Absent: the mesh's. */
  readonly localityLbSetting?: LocalityLoadBalancerSetting;
  /** Zone-aware balancing. Absent: the mesh's. */
  readonly zoneAwareLbSetting?: ZoneAwareLoadBalancerSetting;
  /** Deprecated: slow start window; see warmup. */
  readonly warmupDurationSecs?: string;
  /** Slow start of new endpoints. Absent: none. */
  readonly warmup?: WarmupConfiguration;
}

/** Slow start of new endpoints. */
export interface WarmupConfiguration {
  /** Length of the window. Required. */
  readonly duration?: string;
  /** Share of traffic to start with, 0 to 100. Absent: 10. */
  readonly minimumPercent?: number;
  /** Speed of the rise, above 0. Absent: 1, linear. */
  readonly aggression?: number;
}

/** Session affinity by hash; one key and at most one algorithm. */
export interface ConsistentHashLB {
  readonly httpHeaderName?: string;
  readonly httpCookie?: HTTPCookie;
  readonly useSourceIp?: boolean;
  readonly httpQueryParameterName?: string;
  /** Absent, and no maglev: ring hash with its default. */
  readonly ringHash?: RingHash;
  readonly maglev?: MagLev;
  /** Deprecated: see ringHash. */
  readonly minimumRingSize?: number;
}

/** Ring hash. */
export interface RingHash {
  /** Fewest nodes on the ring. Absent: 1024. */
  readonly minimumRingSize?: number;
}

/** Maglev. */
export interface MagLev {
  /** A prime. Absent: 65537. */
  readonly tableSize?: number;
}

/** A cookie that carries the hash; made when the request has none. */
export interface HTTPCookie {
  /** Required. */
  readonly name?: string;
  readonly path?: string;
  /** Lifetime; `0s` is a session cookie. Absent: the cookie is only read, never made. */
  readonly ttl?: string;
  /** Further attributes of the cookie that is made. */
  readonly attributes?: readonly HTTPCookieAttribute[];
}

/** An attribute such as `SameSite`. */
export interface HTTPCookieAttribute {
  /** Required. */
  readonly name?: string;
  readonly value?: string;
}

/** Limits of connections and requests to a host. */
export interface ConnectionPoolSettings {
  readonly tcp?: TCPSettings;
  readonly http?: HTTPSettings;
}

/** For HTTP and TCP alike. */
export interface TCPSettings {
  /** Connections to a host. Absent: 2^32-1. */
  readonly maxConnections?: number;
  /** At least 1ms. Absent: the mesh's connectTimeout, 10s. */
  readonly connectTimeout?: string;
  /** SO_KEEPALIVE. Absent: the mesh's. */
  readonly tcpKeepalive?: TcpKeepalive;
  /** At least 1ms. Absent: no limit. */
  readonly maxConnectionDuration?: string;
  /** TCP proxying only, at least 1ms. Absent: 1h. */
  readonly idleTimeout?: string;
}

/** Keep-alive probes of the operating system; absent fields keep its defaults. */
export interface TcpKeepalive {
  readonly probes?: number;
  /** Idle time before the first probe; whole seconds. */
  readonly time?: string;
  /** Between probes; whole seconds. */
  readonly interval?: string;
}

/** For HTTP. */
export interface HTTPSettings {
  /** Requests that wait for a connection. Absent: 2^32-1. */
  readonly http1MaxPendingRequests?: number;
  /** Active requests, any HTTP version. Absent: 2^32-1. */
  readonly http2MaxRequests?: number;
  /** 1 switches keep-alive off. Absent or 0: no limit. */
  readonly maxRequestsPerConnection?: number;
  /** Retries under way at once. Absent: 2^32-1. */
  readonly maxRetries?: number;
  /** A connection without requests is closed, at least 1ms. Absent: 1h. */
  readonly idleTimeout?: string;
  /** Whether HTTP/1.1 becomes HTTP/2 upstream. Absent or DEFAULT: the mesh's. */
  readonly h2UpgradePolicy?: 'DEFAULT' | 'DO_NOT_UPGRADE' | 'UPGRADE';
  /** Speaks upstream what the caller spoke; excludes h2UpgradePolicy. Absent: false. */
  readonly useClientProtocol?: boolean;
  /** Streams on one HTTP/2 connection. Absent: 2^31-1. */
  readonly maxConcurrentStreams?: number;
  /** HTTP/2 pings. Absent: none. */
  readonly http2KeepAlive?: ConnectionKeepalive;
}

/** HTTP/2 pings of upstream connections. */
export interface ConnectionKeepalive {
  /** Between pings. */
  readonly interval?: string;
  /** For the answer. */
  readonly timeout?: string;
}

/** Ejection of failing endpoints. */
export interface OutlierDetection {
  /** Deprecated: see consecutiveGatewayErrors. */
  readonly consecutiveErrors?: number;
  /** Counts connection failures apart from answers. Absent: false. */
  readonly splitExternalLocalOriginErrors?: boolean;
  /** Connection failures in a row; only when split. Absent: 5. */
  readonly consecutiveLocalOriginFailures?: number;
  /** 502, 503, 504 in a row. Absent or 0: off. */
  readonly consecutiveGatewayErrors?: number;
  /** 5xx in a row; 0: off. Absent: 5. */
  readonly consecutive5xxErrors?: number;
  /** Between sweeps, at least 1ms. Absent: 10s. */
  readonly interval?: string;
  /** Times the number of ejections so far, at least 1ms. Absent: 30s. */
  readonly baseEjectionTime?: string;
  /** Share of endpoints that may be out, 0 to 100. Absent: 10. */
  readonly maxEjectionPercent?: number;
  /** Below this share of healthy endpoints ejection stops, 0 to 100. Absent: 0. */
  readonly minHealthPercent?: number;
  /** Status codes that count as errors, 100 to 599. Absent: 5xx. */
  readonly outlierDetectionHttpErrorCodes?: readonly number[];
}

/** TLS towards a host. */
export interface ClientTLSSettings {
  /** Absent: DISABLE. MUTUAL needs files or a credential; ISTIO_MUTUAL uses the mesh's and takes no other file. */
  readonly mode?: 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL';
  /** File of the client certificate. */
  readonly clientCertificate?: string;
  /** File of its key. */
  readonly privateKey?: string;
  /** File of the roots. Absent: the system's, for SIMPLE and MUTUAL. */
  readonly caCertificates?: string;
  /** Name of a Secret in place of files; gateways, and sidecars with a workloadSelector. */
  readonly credentialName?: string;
  /** Names that the server's certificate may have. Absent: the service's. */
  readonly subjectAltNames?: readonly string[];
  /** Absent: as the mode and the request say. */
  readonly sni?: string;
  /** Absent: false. */
  readonly insecureSkipVerify?: boolean;
  /** File of revoked certificates. */
  readonly caCrl?: string;
}

/** Locality: of distribute, failover and failoverPriority at most one stands (failover and priority may join). */
export interface LocalityLoadBalancerSetting {
  readonly distribute?: readonly LocalityDistribute[];
  readonly failover?: readonly LocalityFailover[];
  /** Labels compared in order; more equal ones are preferred. */
  readonly failoverPriority?: readonly string[];
  /** Absent: as the mesh says. */
  readonly enabled?: boolean;
}

/** Shares by locality, for callers of one locality. */
export interface LocalityDistribute {
  /** `region/zone/subzone`, `*` at the end allowed. */
  readonly from?: string;
  /** Locality to percent; the sum is 100. */
  readonly to?: Readonly<Record<string, number>>;
}

/** Where traffic of a region goes when it has no healthy endpoints. */
export interface LocalityFailover {
  readonly from?: string;
  readonly to?: string;
}

/** Zone-aware balancing. */
export interface ZoneAwareLoadBalancerSetting {
  readonly enabled?: boolean;
  readonly failover?: readonly LocalityFailover[];
  readonly failoverPriority?: readonly string[];
  /** Fewest endpoints for it to work. Absent: 6. */
  readonly minClusterSize?: number;
}
