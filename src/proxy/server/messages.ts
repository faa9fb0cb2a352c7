/** Messages between the main thread and a worker. All of them are plain data. */
import type { ContextCertificates } from '../network/tls_contexts.ts';
import type { MetricsSnapshot } from '#telemetry/metrics.ts';
import type { LogFields, LogLevel } from '#base/log.ts';
import type { ClusterState, DrainRequest, ListenerState } from '../admin/proxy_state.ts';
import type { ConfigUpdate, Rejection } from '../config/config_update.ts';
import type { DrainStrategy } from '../network/connection.ts';
import type { WarmingState } from '../config/worker_config.ts';

/** What the overload manager asks of workers; see `OverloadState`. */
export interface OverloadRequest {
  readonly stopAcceptingRequests: number;
  readonly disableHttpKeepalive: number;
  readonly stopAcceptingConnections: boolean;
  readonly rejectIncomingConnections: number;
}

/** What a worker is born with (`workerData`). */
export interface WorkerInit {
  readonly index: number;
  /** How many workers there are. */
  readonly concurrency: number;
  /** Memory of `SharedCounts`; undefined for a worker that is alone. */
  readonly counts?: SharedArrayBuffer | undefined;
  /** envoy.config.bootstrap.v3.Bootstrap. */
  readonly bootstrap: Uint8Array;
  readonly drainTimeMs: number;
  readonly drainStrategy: DrainStrategy;
  /** Runtime values at the start. */
  readonly runtime: readonly (readonly [string, string])[];
  readonly logLevel: LogLevel;
  /** `%HOSTNAME%` of access logs. */
  readonly hostname: string;
  /** `%ENVIRONMENT(name)%` of access logs. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Directory of the compile cache, when the process has one. */
  readonly compileCache?: string | undefined;
  /** One 32-bit counter that the worker raises while its event loop turns. */
  readonly heartbeat: SharedArrayBuffer;
}

/** Questions that a worker answers, and the answers. */
export interface Answers {
  readonly stats: MetricsSnapshot;
  readonly listeners: readonly ListenerState[];
  readonly clusters: readonly ClusterState[];
  readonly certificates: readonly ContextCertificates[];
  readonly connections: number;
  readonly memory: { readonly heapUsed: number; readonly heapTotal: number };
}
export type Question = keyof Answers;

/** An extension that is compiled in, for `node.extensions`. */
export interface ExtensionName {
  readonly category: string;
  readonly name: string;
  readonly typeUrls: readonly string[];
}

export type ToWorker =
  | { readonly kind: 'update'; readonly id: number; readonly update: ConfigUpdate }
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  /** Without a name: of all loggers. */
  | { readonly kind: 'log_level'; readonly name: string | undefined; readonly level: LogLevel }
  | { readonly kind: 'overload'; readonly request: OverloadRequest }
  | { readonly kind: 'runtime'; readonly values: readonly (readonly [string, string])[] }
  /** `/healthcheck/fail`: every response ends its connection. */
  | { readonly kind: 'health_check_failed'; readonly failed: boolean }
  | { readonly kind: 'reopen_logs' }
  /** The first configuration is live: give back what building it took. */
  | { readonly kind: 'settle_heap' }
  | { readonly kind: 'drain'; readonly request: DrainRequest }
  /** Finish writing logs and end. */
  | { readonly kind: 'close' };

export type FromWorker =
  /** The static resources are live. */
  | { readonly kind: 'started'; readonly extensions: readonly ExtensionName[] }
  /** The static resources are bad; the worker ends. */
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'verdict'; readonly id: number; readonly rejected: readonly Rejection[] }
  | { readonly kind: 'answer'; readonly id: number; readonly value: Answers[Question] }
  | { readonly kind: 'subscribe'; readonly source: string; readonly typeUrl: string; readonly name: string }
  | { readonly kind: 'unsubscribe'; readonly source: string; readonly typeUrl: string; readonly name: string }
  | { readonly kind: 'warming'; readonly state: WarmingState }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly scope: string;
      readonly message: string;
      readonly fields: LogFields | undefined;
    }
  /** Whole lines for standard output or standard error, which all workers share. */
  | { readonly kind: 'write'; readonly fd: 1 | 2; readonly text: Uint8Array }
  | { readonly kind: 'closed' };
