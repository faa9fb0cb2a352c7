/** The running proxy as admin pages see it. */
import type { Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { MetricsSnapshot } from '#telemetry/metrics.ts';
import type {
  ClusterState,
  CommandLine,
  DrainRequest,
  HostState,
  ListenerState,
  LoggerLevels,
  ProxyState,
  RuntimeState,
  ServerState,
  WarmingNames,
} from '../admin/proxy_state.ts';
import type { ContextCertificates } from '../network/tls_contexts.ts';
import type { StoredType } from '../config/resource_store.ts';
import type { ProxyServer } from './proxy_server.ts';

function addStats(a: HostState, b: HostState): HostState {
  const stats: Record<string, number> = { ...a.stats };
  for (const [name, value] of Object.entries(b.stats)) stats[name] = (stats[name] ?? 0) + value;
  // A host is out when any worker took it out.
  return { ...a, stats, healthFlags: a.healthFlags | b.healthFlags };
}

/** Clusters of all workers as one. */
export function mergeClusters(workers: readonly (readonly ClusterState[])[]): ClusterState[] {
  const merged = new Map<string, { cluster: ClusterState; hosts: Map<string, HostState> }>();
  for (const cluster of workers.flat()) {
    let entry = merged.get(cluster.name);
    if (entry === undefined) {
      entry = { cluster, hosts: new Map() };
      merged.set(cluster.name, entry);
    }
    for (const host of cluster.hosts) {
      const key = `${host.address} ${host.port}`;
      const other = entry.hosts.get(key);
      entry.hosts.set(key, other === undefined ? host : addStats(other, host));
    }
  }
  return [...merged.values()].map(({ cluster, hosts }) => ({ ...cluster, hosts: [...hosts.values()] }));
}

/** Listeners of all workers as one. */
export function mergeListeners(workers: readonly (readonly ListenerState[])[]): ListenerState[] {
  const merged = new Map<string, ListenerState>();
  for (const listener of workers.flat()) {
    const other = merged.get(listener.name);
    merged.set(
      listener.name,
      other === undefined
        ? listener
        : {
            ...other,
            activeConnections: other.activeConnections + listener.activeConnections,
            totalConnections: other.totalConnections + listener.totalConnections,
          },
    );
  }
  return [...merged.values()];
}

export class AdminState implements ProxyState {
  readonly #server: ProxyServer;

  constructor(server: ProxyServer) {
    this.#server = server;
  }

  get bootstrap(): Bootstrap {
    return this.#server.bootstrap;
  }

  get node(): Node {
    return this.#server.node;
  }

  get version(): string {
    return this.#server.version;
  }

  get concurrency(): number {
    return this.#server.options.concurrency;
  }

  get startedMs(): number {
    return this.#server.startedMs;
  }

  get serverState(): ServerState {
    return this.#server.readiness.state;
  }

  get notReadyReason(): string {
    return this.#server.readiness.reason;
  }

  get logLevels(): LoggerLevels {
    return this.#server.logLevels;
  }

  get runtime(): RuntimeState {
    return this.#server.runtime;
  }

  get commandLine(): CommandLine {
    const { commandLine, logLevel = 'info', drainTimeMs = 600_000, drainStrategy } = this.#server.options;
    return {
      ...commandLine,
      logLevel: logLevel === 'warn' ? 'warning' : logLevel === 'none' ? 'off' : logLevel,
      drainTimeMs,
      drainStrategy: drainStrategy ?? 'gradual',
    };
  }

  resources(): readonly StoredType[] {
    return this.#server.discovery.store.types();
  }

  warming(): WarmingNames {
    return this.#server.readiness.warming;
  }

  metrics(): Promise<MetricsSnapshot> {
    return this.#server.stats();
  }

  async listeners(): Promise<readonly ListenerState[]> {
    return mergeListeners(await this.#server.pool.ask('listeners'));
  }

  async clusters(): Promise<readonly ClusterState[]> {
    return mergeClusters(await this.#server.pool.ask('clusters'));
  }

  async certificates(): Promise<readonly ContextCertificates[]> {
    return (await this.#server.pool.ask('certificates'))[0] ?? [];
  }

  async memory(): Promise<{ readonly heapUsed: number; readonly heapTotal: number }> {
    const own = process.memoryUsage();
    if (this.#server.inline) return { heapUsed: own.heapUsed, heapTotal: own.heapTotal };
    const workers = await this.#server.pool.ask('memory');
    return {
      heapUsed: workers.reduce((sum, { heapUsed }) => sum + heapUsed, own.heapUsed),
      heapTotal: workers.reduce((sum, { heapTotal }) => sum + heapTotal, own.heapTotal),
    };
  }

  resetCounters(): Promise<void> {
    return this.#server.resetCounters();
  }

  drain(request: DrainRequest): void {
    this.#server.drainListeners(request);
  }

  failHealthCheck(failed: boolean): void {
    this.#server.failHealthCheck(failed);
  }

  reopenLogs(): void {
    this.#server.pool.post({ kind: 'reopen_logs' });
  }

  quit(): void {
    void this.#server.close();
  }
}
