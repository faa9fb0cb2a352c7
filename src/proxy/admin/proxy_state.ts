/** What admin pages read and switch: given by the server, so that pages know no threads. */
import type { ContextCertificates } from '../network/tls_contexts.ts';
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
  /** Bits of `HealthFlag`. */
  readonly healthFlags: number;
  /** Percent of the last interval, -1 when there is none. */
  readonly successRate: number;
  readonly localOriginSuccessRate: number;
  readonly weight: number;
  readonly canary: boolean;
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

/** Names of what waits for something before it goes live. */
export interface WarmingNames {
  readonly clusters: readonly string[];
  readonly listeners: readonly string[];
}

/** `PRE_INITIALIZING`, ... as in envoy.admin.v3.ServerInfo.State. */
export type ServerState = 'PRE_INITIALIZING' | 'INITIALIZING' | 'LIVE' | 'DRAINING';

/** Levels of loggers by their names. */
export interface LoggerLevels {
  all(): ReadonlyMap<string, LogLevel>;
  /** @param name a name of `all`; undefined for all of them. */
  set(name: string | undefined, level: LogLevel): void;
}

/** What the proxy was started with, for `/server_info`. */
export interface CommandLine {
  readonly configPath?: string | undefined;
  readonly configYaml?: string | undefined;
  readonly allowUnknownStaticFields?: boolean | undefined;
  readonly logLevel: string;
  readonly serviceCluster?: string | undefined;
  readonly serviceNode?: string | undefined;
  readonly serviceZone?: string | undefined;
  readonly drainTimeMs: number;
  readonly drainStrategy: 'gradual' | 'immediate';
}

/** One runtime value, and what each layer says of it (empty: nothing). */
export interface RuntimeEntry {
  readonly key: string;
  readonly value: string;
  readonly byLayer: readonly string[];
}

export interface RuntimeState {
  /** Names of the layers, the last one wins. */
  readonly layers: readonly string[];
  entries(): readonly RuntimeEntry[];
  /** Changes the admin layer; an empty value takes a key away. Gives the reason when there is no such layer. */
  modify(values: Iterable<[string, string]>): string | undefined;
}

/** `/drain_listeners`. */
export interface DrainRequest {
  /** Only listeners whose traffic direction is INBOUND. */
  readonly inboundOnly: boolean;
  /** Connections are told to let go over the drain time. */
  readonly graceful: boolean;
  /** Listeners stop accepting: now, or when a graceful drain is over. */
  readonly stop: boolean;
}

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
  readonly logLevels: LoggerLevels;
  readonly commandLine: CommandLine;
  readonly runtime: RuntimeState;
  /** Dynamic resources that were accepted or refused. */
  resources(): readonly StoredType[];
  warming(): WarmingNames;
  metrics(): Promise<MetricsSnapshot>;
  resetCounters(): Promise<void>;
  listeners(): Promise<readonly ListenerState[]>;
  clusters(): Promise<readonly ClusterState[]>;
  certificates(): Promise<readonly ContextCertificates[]>;
  /** Heap of all threads, bytes. */
  memory(): Promise<{ readonly heapUsed: number; readonly heapTotal: number }>;
  drain(options: DrainRequest): void;
  failHealthCheck(failed: boolean): void;
  reopenLogs(): void;
  /** Ends the proxy. */
  quit(): void;
}
