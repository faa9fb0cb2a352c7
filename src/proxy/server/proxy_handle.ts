/** What a proxy is started with, and what its owner holds of it. */
import type { Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import type { LogLevel, Logger } from '#base/log.ts';
import type { MetricsSnapshot } from '#telemetry/metrics.ts';
import type { CommandLine } from '../admin/proxy_state.ts';
import type { DrainStrategy } from '../network/connection.ts';
import type { AdsTransport } from '#xds/transport.ts';

export interface ProxyOptions {
  /** The bootstrap, or its bytes. */
  readonly bootstrap: Bootstrap | Uint8Array;
  /** Stand for gRPC connections to static clusters, by name of the cluster. */
  readonly transports?: ReadonlyMap<string, AdsTransport>;
  /** Worker threads, at least 1. */
  readonly concurrency: number;
  /** With one worker: run it on this thread, without a second heap. Default false. */
  readonly inline?: boolean;
  readonly log: Logger;
  /** Default `info`; `/logging` changes it. */
  readonly logLevel?: LogLevel;
  /** How long connections of removed listeners may go on (`--drain-time-s`). Default 600 000 ms, as Envoy. */
  readonly drainTimeMs?: number;
  /** `--drain-strategy`. Default `gradual`. */
  readonly drainStrategy?: DrainStrategy;
  /** What `/server_info` tells of the command line; default nothing. */
  readonly commandLine?: Omit<CommandLine, 'drainTimeMs' | 'drainStrategy' | 'logLevel'>;
  /** A worker whose event loop stands still for so long is replaced. Default 10 000 ms. */
  readonly stuckAfterMs?: number;
  /** File that worker threads run. Default `worker_main.ts`; tests give one that can be broken. */
  readonly workerEntry?: URL;
  /** `%ENVIRONMENT(name)%` of access logs. Default none. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Told to the control plane and on `/server_info`. Default `dev`. */
  readonly version?: string;
}

/** How the proxy ended, when it was not asked to. */
export interface ProxyExit {
  readonly error?: Error;
}

/** A running proxy. */
export interface ProxyHandle {
  /** True once the first clusters and listeners are live, and while it does not drain. */
  ready(): boolean;
  /** Why it is not ready; empty when it is. */
  readyReason(): string;
  stats(): Promise<MetricsSnapshot>;
  /** Open downstream connections of listeners that are not part of the bootstrap (all, when nothing else is). */
  activeConnections(): Promise<number>;
  /** Tells open inbound connections to let go; new ones are still taken, so that nobody is turned away. */
  drain(): Promise<void>;
  /** Ends at once; access logs are written. */
  close(): Promise<void>;
  /** Resolves when the proxy has ended: with an error when it could not go on. */
  readonly exited: Promise<Error | undefined>;
  /** The same for owners that watch several kinds of data planes. */
  readonly onExit: Promise<ProxyExit | undefined>;
  /** `host:port` of the admin interface, a path for a Unix socket; undefined without one. */
  readonly adminAddress: string | undefined;
}
