/** Messages between the main thread and a worker. All of them are plain data. */
import type { MetricsSnapshot } from '#telemetry/metrics.ts';
import type { LogFields, LogLevel } from '#base/log.ts';
import type { CertificateState, ClusterState, ListenerState } from '../admin/proxy_state.ts';
import type { ConfigUpdate, Rejection } from '../config/config_update.ts';
import type { WarmingState } from '../config/worker_config.ts';

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
  readonly certificates: readonly CertificateState[];
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
  | { readonly kind: 'log_level'; readonly level: LogLevel }
  | { readonly kind: 'reopen_logs' }
  /** The first configuration is live: give back what building it took. */
  | { readonly kind: 'settle_heap' }
  /** Connections are told to let go; `stop` also stops accepting. */
  | { readonly kind: 'drain'; readonly inboundOnly: boolean; readonly stop: boolean }
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
