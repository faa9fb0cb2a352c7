/** The main thread of a proxy: joins discovery, workers, admin and metrics. */
import { hostname } from 'node:os';
import { clone, create } from '@bufbuild/protobuf';
import type { Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { type Node, NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { ConfigSource } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import type { Logger } from '#base/log.ts';
import { type MetricsSnapshot, mergeSnapshots } from '#telemetry/metrics.ts';
import { typeUrls } from '#xds/type_url.ts';
import { type AdminServer, startAdminServer } from '../admin/admin_server.ts';
import type { DrainRequest, ProxyState } from '../admin/proxy_state.ts';
import { initialFetchTimeoutMs, readApiSource, sourceKey } from '../config/config_source.ts';
import { DiscoveryClient } from '../config/discovery_client.ts';
import { GrpcSources } from '../config/grpc_sources.ts';
import { type CountBlock, LocalCounts, SharedCounts } from '../network/shared_counts.ts';
import { InlineWorker } from './inline_worker.ts';
import type { ProxyExit, ProxyHandle, ProxyOptions } from './proxy_handle.ts';
import { CounterBase } from './counter_base.ts';
import { connectionsName, countedWorkers } from './counts.ts';
import { LogLevels } from './log_levels.ts';
import type { ExtensionName, FromWorker, ToWorker } from './messages.ts';
import { systemWorld } from './overload/monitors.ts';
import { OverloadManager } from './overload/overload_manager.ts';
import { Readiness } from './readiness.ts';
import { RuntimeLayers } from './runtime.ts';
import { serverFamilies } from './server_stats.ts';
import { settleHeap } from './settle_heap.ts';
import { StreamWriter } from './standard_streams.ts';
import { WorkerPool } from './worker_pool.ts';
import { WorkerThread } from './worker_thread.ts';

/** Time from live to the collection of what the start has left, milliseconds. */
const settleAfterMs = 100;

export class ProxyServer implements ProxyHandle {
  readonly exited: Promise<Error | undefined>;
  readonly onExit: Promise<ProxyExit | undefined>;
  readonly readiness = new Readiness();
  readonly discovery: DiscoveryClient;
  readonly pool: WorkerPool;
  readonly bootstrap: Bootstrap;
  readonly node: Node;
  readonly options: ProxyOptions;
  readonly startedMs = Date.now();
  readonly logLevels: LogLevels;
  readonly runtime: RuntimeLayers;
  readonly overload: OverloadManager;
  /** Lines pass the levels that `/logging` sets. */
  readonly log: Logger;
  readonly #log: Logger;
  readonly #connections: CountBlock;
  readonly #counterBase = new CounterBase();
  #drained: DrainRequest | undefined;
  readonly #grpc: GrpcSources;
  readonly #streams: Readonly<Record<1 | 2, StreamWriter>> = {
    1: new StreamWriter(1),
    2: new StreamWriter(2),
  };
  readonly #scopes = new Map<string, Logger>();
  #admin: AdminServer | undefined;
  #settling: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #end: (error: Error | undefined) => void = () => {};

  constructor(options: ProxyOptions, bootstrap: Bootstrap, bytes: Uint8Array) {
    this.options = options;
    this.bootstrap = bootstrap;
    this.logLevels = new LogLevels(options.logLevel ?? 'info', (name, level) =>
      this.pool.post({ kind: 'log_level', name, level }),
    );
    this.log = this.logLevels.filter(options.log);
    this.#log = this.log.scope('proxy');
    this.exited = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.onExit = this.exited.then((error) => (error === undefined ? undefined : { error }));
    this.node = bootstrap.node === undefined ? create(NodeSchema) : clone(NodeSchema, bootstrap.node);
    if (this.node.userAgentName === '') this.node.userAgentName = 'trysail';
    if (this.node.userAgentVersionType.case === undefined)
      this.node.userAgentVersionType = { case: 'userAgentVersion', value: this.version };
    const { dynamicResources } = bootstrap;
    this.readiness.clustersReceived = dynamicResources?.cdsConfig === undefined;
    this.readiness.listenersReceived = dynamicResources?.ldsConfig === undefined;
    this.#grpc = new GrpcSources(bootstrap.staticResources?.clusters ?? []);
    const ads = dynamicResources?.adsConfig;
    this.discovery = new DiscoveryClient({
      node: () => this.node,
      log: this.log,
      ads: ads === undefined ? undefined : readApiSource(ads),
      transport: (cluster, typeUrl) =>
        options.transports?.get(cluster) ?? this.#grpc.transport(cluster, typeUrl),
      broadcast: (update) => this.pool.broadcast(update),
      give: (worker, update) => this.pool.give(worker, update),
    });
    const concurrency = Math.max(1, options.concurrency);
    const rows = countedWorkers(concurrency);
    const memory = this.inline ? undefined : SharedCounts.allocate(rows);
    const sharedCounts = memory === undefined ? undefined : new SharedCounts(memory, rows, concurrency);
    const counts = sharedCounts ?? new LocalCounts();
    this.#connections = counts.open(connectionsName);
    this.runtime = new RuntimeLayers(bootstrap.layeredRuntime, () => {
      this.pool.post({ kind: 'runtime', values: [...this.runtime.values] });
    });
    this.overload = new OverloadManager({
      config: bootstrap.overloadManager,
      world: systemWorld(() => this.openConnections),
      log: this.log,
      onChange: (request) => this.pool.post({ kind: 'overload', request }),
      shrinkHeap: () => this.#shrinkHeap(),
    });
    this.pool = new WorkerPool({
      concurrency,
      log: this.log,
      init: {
        bootstrap: bytes,
        concurrency,
        counts: memory,
        drainTimeMs: options.drainTimeMs ?? 600_000,
        drainStrategy: options.drainStrategy ?? 'gradual',
        runtime: [...this.runtime.values],
        logLevel: options.logLevel ?? 'info',
        hostname: hostname(),
        environment: options.environment ?? {},
      },
      onMessage: (worker, message) => this.#onMessage(worker, message),
      replay: () => this.discovery.replay(),
      standing: () => this.#standing(),
      onWorkerGone: (worker) => {
        sharedCounts?.releaseWorker(worker);
        this.readiness.setWarming(worker, { clusters: [], listeners: [] });
        return this.discovery.workerGone(worker);
      },
      makeWorker: (init, callbacks) =>
        this.inline
          ? new InlineWorker(init, callbacks, counts)
          : new WorkerThread(
              init,
              callbacks,
              options.workerEntry ?? new URL('./worker_main.ts', import.meta.url),
            ),
      ...(options.stuckAfterMs === undefined ? {} : { stuckAfterMs: options.stuckAfterMs }),
    });
  }

  /** True when the one worker runs on this thread. */
  get inline(): boolean {
    return this.options.concurrency <= 1 && this.options.inline === true;
  }

  get version(): string {
    return this.options.version ?? 'dev';
  }

  get adminAddress(): string | undefined {
    return this.#admin?.address;
  }

  /** @param state what admin pages show. */
  async start(state: ProxyState): Promise<void> {
    try {
      await this.#startAdmin(state);
      await this.pool.start();
      this.readiness.workersStarted = true;
      this.overload.start();
      this.#subscribe();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Downstream connections of all workers, as they count them together. */
  get openConnections(): number {
    return this.#connections.value(0);
  }

  ready(): boolean {
    return this.readiness.state === 'LIVE';
  }

  readyReason(): string {
    return this.readiness.reason;
  }

  /** `/reset_counters`. */
  async resetCounters(): Promise<void> {
    this.#counterBase.reset(await this.#workerStats());
  }

  async #workerStats(): Promise<MetricsSnapshot> {
    const snapshots = await this.pool.ask('stats');
    const [first] = snapshots;
    return snapshots.length === 1 && first !== undefined ? first : mergeSnapshots(snapshots);
  }

  async stats(): Promise<MetricsSnapshot> {
    const workers = this.#counterBase.apply(await this.#workerStats());
    const dynamic = (typeUrl: string): number => this.discovery.store.ofType(typeUrl).length;
    const statics = this.bootstrap.staticResources;
    const { clusters, listeners } = this.readiness.warming;
    const own = serverFamilies({
      version: this.version,
      state: this.readiness.state,
      startedMs: this.startedMs,
      concurrency: this.options.concurrency,
      workersReplaced: this.pool.replaced,
      droppedLogBytes: this.#streams[1].droppedBytes + this.#streams[2].droppedBytes,
      activeClusters: (statics?.clusters.length ?? 0) + dynamic(typeUrls.cds) - clusters.length,
      activeListeners: (statics?.listeners.length ?? 0) + dynamic(typeUrls.lds) - listeners.length,
      warmingClusters: clusters.length,
      warmingListeners: listeners.length,
      updates: this.discovery.counts,
    });
    return [...workers, ...own, ...this.overload.families()];
  }

  async activeConnections(): Promise<number> {
    const all = (await this.pool.ask('listeners')).flat();
    const dynamic = this.bootstrap.dynamicResources?.ldsConfig !== undefined;
    const counted = dynamic ? all.filter((listener) => !listener.static) : all;
    return counted.reduce((sum, { activeConnections }) => sum + activeConnections, 0);
  }

  drain(): Promise<void> {
    this.readiness.draining = true;
    const inboundOnly = this.node.id.startsWith('sidecar~');
    this.drainListeners({ inboundOnly, graceful: true, stop: false });
    return Promise.resolve();
  }

  /** `/drain_listeners`, and `drain`. */
  drainListeners(request: DrainRequest): void {
    this.#drained = request;
    this.pool.post({ kind: 'drain', request });
  }

  /** `/healthcheck/fail` and `/healthcheck/ok`. */
  failHealthCheck(failed: boolean): void {
    this.readiness.failedByAdmin = failed;
    this.pool.post({ kind: 'health_check_failed', failed });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** What a worker that starts later has to be told. */
  #standing(): ToWorker[] {
    const messages: ToWorker[] = [
      { kind: 'runtime', values: [...this.runtime.values] },
      { kind: 'overload', request: this.overload.request },
    ];
    for (const [name, level] of this.logLevels.all()) messages.push({ kind: 'log_level', name, level });
    if (this.readiness.failedByAdmin) messages.push({ kind: 'health_check_failed', failed: true });
    if (this.#drained !== undefined) messages.push({ kind: 'drain', request: this.#drained });
    return messages;
  }

  #shrinkHeap(): void {
    this.pool.post({ kind: 'settle_heap' });
    if (!this.inline) settleHeap();
  }

  async #close(): Promise<void> {
    clearTimeout(this.#settling);
    this.overload.close();
    this.discovery.close();
    this.#grpc.close();
    await this.pool.close();
    await this.#admin?.close();
    await Promise.all([this.#streams[1].finish(), this.#streams[2].finish()]);
    this.#end(undefined);
  }

  async #startAdmin(state: ProxyState): Promise<void> {
    const address = this.bootstrap.admin?.address?.address;
    if (address?.case === undefined) return;
    const target =
      address.case === 'pipe'
        ? { path: address.value.path }
        : address.case === 'socketAddress'
          ? { host: address.value.address, port: address.value.portSpecifier.value ?? 0 }
          : undefined;
    if (target === undefined || ('host' in target && typeof target.port !== 'number'))
      throw new Error('admin.address: neither socket_address with port_value nor pipe');
    this.#admin = await startAdminServer(
      state,
      target as { host: string; port: number } | { path: string },
      this.#log.scope('admin'),
    );
  }

  /** Clusters first; listeners when the clusters are warm, so that no request meets a cluster without hosts. */
  #subscribe(): void {
    const { cdsConfig, ldsConfig } = this.bootstrap.dynamicResources ?? {};
    const run = async (): Promise<void> => {
      if (cdsConfig !== undefined) {
        await this.#firstResponse(cdsConfig, typeUrls.cds);
        this.readiness.clustersReceived = true;
        await this.readiness.clustersWarm();
      }
      if (ldsConfig !== undefined) {
        await this.#firstResponse(ldsConfig, typeUrls.lds);
        this.readiness.listenersReceived = true;
        await this.readiness.listenersWarm();
      }
      // Before there are many requests, and not before who waits for readiness has seen it.
      if (cdsConfig === undefined && ldsConfig === undefined) this.#shrinkHeap();
      else this.#settling = setTimeout(() => this.#shrinkHeap(), settleAfterMs);
    };
    run().catch((error: unknown) => {
      this.#log.error('discovery cannot start', { error });
      this.#end(error instanceof Error ? error : new Error(String(error)));
      void this.close();
    });
  }

  async #firstResponse(source: ConfigSource, typeUrl: string): Promise<void> {
    const response = this.discovery.subscribeAll(sourceKey(source), typeUrl);
    const timeoutMs = initialFetchTimeoutMs(source);
    if (timeoutMs === 0) return response;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#log.warn('no first response in time, going on without', { type: typeUrl, timeoutMs });
        resolve();
      }, timeoutMs);
      timer.unref();
    });
    await Promise.race([response, timeout]);
    clearTimeout(timer);
  }

  #onMessage(worker: number, message: FromWorker): void {
    switch (message.kind) {
      case 'subscribe': {
        const { source, typeUrl, name } = message;
        const known = this.discovery.subscribe(worker, source, typeUrl, name);
        if (known !== undefined) this.pool.give(worker, known);
        return;
      }
      case 'unsubscribe':
        this.discovery.unsubscribe(worker, message.source, message.typeUrl, message.name);
        return;
      case 'warming':
        this.readiness.setWarming(worker, message.state);
        return;
      case 'log':
        this.#scope(message.scope)[message.level](message.message, { worker, ...message.fields });
        return;
      case 'write':
        this.#streams[message.fd].push(message.text);
        return;
      case 'started':
        this.#learnExtensions(message.extensions);
        return;
      default:
    }
  }

  #scope(name: string): Logger {
    let logger = this.#scopes.get(name);
    if (logger === undefined) {
      logger = this.options.log.scope(name);
      this.#scopes.set(name, logger);
    }
    return logger;
  }

  /** The control plane sends private filters only to those who list them. */
  #learnExtensions(extensions: readonly ExtensionName[]): void {
    if (this.node.extensions.length > 0) return;
    this.node.extensions = create(NodeSchema, {
      extensions: extensions.map(({ category, name, typeUrls: urls }) => ({
        category,
        name,
        typeUrls: [...urls],
      })),
    }).extensions;
  }
}
