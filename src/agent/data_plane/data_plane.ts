/** What the agent asks of a data plane, whichever runs. */
import type { MetricsSnapshot } from '#telemetry/metrics.ts';

/** Why a data plane has ended. */
export interface DataPlaneExit {
  /** Exit status, absent when a signal ended it or it ran in this process. */
  readonly code?: number;
  readonly signal?: string;
  readonly error?: Error;
}

/** A page of metrics: a snapshot of our registry, or Prometheus text of another process. */
export type DataPlaneStats =
  | { readonly kind: 'snapshot'; readonly snapshot: MetricsSnapshot }
  | { readonly kind: 'text'; readonly text: string };

/** A running data plane. */
export interface DataPlane {
  /** Undefined when it serves, else why not yet. */
  notReady(): Promise<string | undefined>;
  stats(): Promise<DataPlaneStats>;
  /** Open downstream connections, for leaving early. Undefined when not known. */
  activeConnections(): Promise<number | undefined>;
  /** Stops accepting new work; what is open goes on. */
  drain(): Promise<void>;
  /** Ends at once, or after `timeoutMs` by force. */
  close(): Promise<void>;
  /** Resolves when the data plane has ended, by `close` or by itself. */
  readonly exited: Promise<DataPlaneExit>;
}
