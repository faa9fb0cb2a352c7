/** What an agent is told: one typed record, read from flags and environment by `src/cli/pilot_agent.ts`. */
import type { Logger } from '#base/log.ts';
import type { AppProber } from './probers.ts';

/** `sidecar` beside an application, `router` as a gateway (node id prefix). */
export type NodeType = 'sidecar' | 'router';

/** An address to listen on. Port 0 lets the system choose. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Where the agent and the static listeners of the proxy listen. */
export interface AgentEndpoints {
  /** Admin interface of the proxy. Default 127.0.0.1:15000. */
  readonly admin: Endpoint;
  /** Agent: readiness, merged metrics, quitquitquit. Default 0.0.0.0:15020 (`ProxyConfig.statusPort`). */
  readonly status: Endpoint;
  /** Proxy listener that forwards /healthz/ready to the agent. Default 0.0.0.0:15021. */
  readonly health: Endpoint;
  /** Proxy listener that forwards /stats/prometheus to the admin interface. Default 0.0.0.0:15090. */
  readonly prometheus: Endpoint;
  /** DNS proxy, UDP and TCP. Default 127.0.0.1:15053. */
  readonly dns: Endpoint;
}

/** Default endpoints, Istio's. */
export const defaultEndpoints: AgentEndpoints = {
  admin: { address: '127.0.0.1', port: 15000 },
  status: { address: '0.0.0.0', port: 15020 },
  health: { address: '0.0.0.0', port: 15021 },
  prometheus: { address: '0.0.0.0', port: 15090 },
  dns: { address: '127.0.0.1', port: 15053 },
};

/** Which stats the proxy keeps beside the mesh's own (`ProxyConfig.proxyStatsMatcher`). */
export interface StatsInclusion {
  readonly prefixes?: readonly string[];
  readonly suffixes?: readonly string[];
  readonly regexps?: readonly string[];
}

/** The part of MeshConfig's ProxyConfig that the agent acts on. */
export interface AgentProxyConfig {
  /** `host:port` of the control plane. Default `istiod.istio-system.svc:15012`. */
  readonly discoveryAddress: string;
  /** Worker threads; 0 takes one per CPU that the process may use. Default 2 for sidecars in Istio's chart; here 0. */
  readonly concurrency: number;
  /** Time in which a drained connection may go on, milliseconds. Default 45 000 (`drainDuration`). */
  readonly drainDurationMs: number;
  /** Time between SIGTERM and the end, milliseconds. Default 5 000 (`terminationDrainDuration`). */
  readonly terminationDrainDurationMs: number;
  readonly statsInclusion: StatsInclusion;
  /** The ProxyConfig as JSON, told to the control plane in the node's metadata. */
  readonly json: JsonRecord;
}

/** A JSON value. */
export type Json = string | number | boolean | null | JsonRecord | Json[];

/** A JSON object. */
export interface JsonRecord {
  [key: string]: Json;
}

/** Where the agent's identity comes from, tried in this order. */
export interface IdentityOptions {
  /** Directory with cert-chain.pem, key.pem and root-cert.pem that something else writes (`OUTPUT_CERTS` of another agent). */
  readonly filesDirectory?: string;
  /** `host:port` of the authority, `CA_ADDR`. Default the discovery address. */
  readonly caAddress?: string;
  /** PEM file of the roots that verify the control plane and the authority. */
  readonly rootCertPath: string;
  /** File with the service-account token (audience istio-ca). */
  readonly tokenPath: string;
  /** Life that is asked for, milliseconds. Default 24 h (`SECRET_TTL`). */
  readonly ttlMs?: number;
  /** Renewal when this part of the life is left. Default 0.5 (`SECRET_GRACE_PERIOD_RATIO`). */
  readonly gracePeriodRatio?: number;
  /** Spread of the ratio over agents that started together. Default 0.01 (`SECRET_GRACE_PERIOD_RATIO_JITTER`). */
  readonly gracePeriodJitter?: number;
  /** Key of the workload. Default `ecdsa-p256`. */
  readonly keyAlgorithm?: 'ecdsa-p256' | 'ecdsa-p384' | 'rsa-2048' | 'rsa-4096';
  /** Directory into which key and certificates are written for others (`OUTPUT_CERTS`). */
  readonly outputDirectory?: string;
}

/** How the control plane is reached. */
export type DiscoverySecurity =
  | { readonly kind: 'tls'; readonly serverName?: string }
  /** Loopback only; no token is sent. */
  | { readonly kind: 'plaintext' };

/** Which data plane runs. */
export type DataPlaneOptions =
  | { readonly kind: 'built_in' }
  | {
      readonly kind: 'envoy';
      /** Path of the binary. */
      readonly path: string;
      /** Arguments after ours. */
      readonly extraArgs?: readonly string[];
      /** `--log-level`. Default `warning`. */
      readonly logLevel?: string;
      /** `--component-log-level`. */
      readonly componentLogLevel?: string;
    };

/** DNS proxy (`ISTIO_META_DNS_CAPTURE`). */
export interface DnsOptions {
  /** Upstream servers `address` or `address:port`; absent: those of resolv.conf. */
  readonly upstreams?: readonly string[];
  /** File with `nameserver` and `search` lines. Default /etc/resolv.conf. */
  readonly resolvConfPath?: string;
  /** Ask all upstream servers at once and take the first answer (`DNS_FORWARD_PARALLEL`). Default false. */
  readonly forwardParallel?: boolean;
}

/** A metrics page of the application that 15020 merges (`ISTIO_PROMETHEUS_ANNOTATIONS`). */
export interface ScrapeTarget {
  readonly port: number;
  readonly path: string;
  /** Address to connect to. Default the pod's legacy localhost, 127.0.0.1. */
  readonly address?: string;
}

/** Everything an agent needs to know. */
export interface AgentOptions {
  /** File for the events of outlier detection (`--outlierLogPath`). Absent: they are not written. */
  readonly outlierLogPath?: string;
  readonly nodeType: NodeType;
  readonly podName: string;
  readonly podNamespace: string;
  /** Addresses of the pod, the first names the node. */
  readonly podIps: readonly string[];
  readonly serviceAccount: string;
  /** Trust domain of the mesh. Istio's default `cluster.local`. */
  readonly trustDomain: string;
  /** DNS domain of the node, `default.svc.cluster.local`. */
  readonly domain: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly proxyConfig: AgentProxyConfig;
  /** `ISTIO_META_*` without the prefix: OWNER, WORKLOAD_NAME, MESH_ID, CLUSTER_ID, INTERCEPTION_MODE, APP_CONTAINERS ... */
  readonly metadata: Readonly<Record<string, Json>>;
  /** `--serviceCluster`; absent: made from labels or the workload's name. */
  readonly serviceCluster?: string;
  readonly identity: IdentityOptions;
  readonly discovery: DiscoverySecurity;
  /** Variant of xDS to the control plane. Default `delta`, as Istio. */
  readonly xdsProtocol?: 'sotw' | 'delta';
  readonly dataPlane: DataPlaneOptions;
  readonly endpoints: AgentEndpoints;
  /** Absent: no DNS proxy. */
  readonly dns?: DnsOptions;
  /** Directory for Unix sockets and the generated bootstrap file. Only the agent's user may enter it. */
  readonly runDirectory: string;
  /** Applications whose metrics are merged. */
  readonly scrapeTargets?: readonly ScrapeTarget[];
  /** Probes of the kubelet that the agent runs, by path (`ISTIO_KUBE_APP_PROBERS`). */
  readonly probers?: ReadonlyMap<string, AppProber>;
  /** Leave as soon as no connection is open after SIGTERM (`EXIT_ON_ZERO_ACTIVE_CONNECTIONS`). Default false. */
  readonly exitOnZeroActiveConnections?: boolean;
  /** Shortest drain when leaving early, milliseconds. Default 5 000 (`MINIMUM_DRAIN_DURATION`). */
  readonly minimumDrainDurationMs?: number;
  /** `%ENVIRONMENT(name)%` of the built-in data plane's access logs. Default none. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Version told to the control plane, `ISTIO_VERSION`. */
  readonly version: string;
  readonly log: Logger;
}
