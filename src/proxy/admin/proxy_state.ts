/** What admin pages read and switch: given by the server, so that pages know no threads. */
import type { Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { LogLevel } from '#base/log.ts';
import type { MetricsSnapshot } from '#telemetry/metrics.ts';
import type { StoredType } from '../config/resource_store.ts';

/** How a listener stands. */
export interface ListenerState {
  readonly name: string;
  readonly static: boolean;
  /** Where it listens; `port` is -1 for Unix sockets. */
  readonly addresses: readonly { readonly ip: string; readonly port: number }[];
  readonly activeConnections: number;
  readonly totalConnections: number;
}

/** Plain numbers of one host. */
export interface HostState {
  readonly address: string;
  readonly port: number;
  readonly hostname: string;
  readonly healthy: boolean;
  readonly failedOutlierCheck: boolean;
  readonly edsHealthy: boolean;
  readonly weight: number;
  readonly priority: number;
  readonly region: string;
  readonly zone: string;
  readonly subZone: string;
  /** Counters under Envoy's names (`cx_total`), added up over workers. */
  readonly stats: Readonly<Record<string, number>>;
}

/** Limits of one priority (`circuit_breakers.thresholds`). */
export interface ClusterLimits {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
}

export interface ClusterState {
  readonly name: string;
  readonly observabilityName: string;
  readonly edsServiceName: string;
  readonly static: boolean;
  readonly limits: { readonly default: ClusterLimits; readonly high: ClusterLimits };
  readonly hosts: readonly HostState[];
}

/** A certificate in use. */
export interface CertificateState {
  readonly name: string;
  readonly kind: 'certificate' | 'roots';
  /** PEM of what is public; private keys never leave the worker. */
  readonly pem: string;
}

/** Names of what waits for something before it goes live. */
export interface WarmingNames {
  readonly clusters: readonly string[];
  readonly listeners: readonly string[];
}

/** `PRE_INITIALIZING`, ... as in envoy.admin.v3.ServerInfo.State. */
export type ServerState = 'PRE_INITIALIZING' | 'INITIALIZING' | 'LIVE' | 'DRAINING';

/** The running proxy. */
export interface ProxyState {
  readonly bootstrap: Bootstrap;
  readonly node: Node;
  readonly version: string;
  readonly concurrency: number;
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
  readonly serverState: ServerState;
  /** Empty when it is ready. */
  readonly notReadyReason: string;
  logLevel: LogLevel;
  /** Dynamic resources that were accepted or refused. */
  resources(): readonly StoredType[];
  warming(): WarmingNames;
  metrics(): Promise<MetricsSnapshot>;
  listeners(): Promise<readonly ListenerState[]>;
  clusters(): Promise<readonly ClusterState[]>;
  certificates(): Promise<readonly CertificateState[]>;
  /** Heap of all threads, bytes. */
  memory(): Promise<{ readonly heapUsed: number; readonly heapTotal: number }>;
  /** Open connections are told to let go; `stop` also stops accepting. */
  drain(options: { readonly inboundOnly: boolean; readonly stop: boolean }): void;
  failHealthCheck(failed: boolean): void;
  reopenLogs(): void;
  /** Ends the proxy. */
  quit(): void;
}
