/** One worker: the whole data plane on one event loop. It knows threads only as a function that posts messages. */
import { create, fromBinary } from '@bufbuild/protobuf';
import { BootstrapSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { NodeSchema, TrafficDirection } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Listener } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import { createAccessLoggers } from '../access_loggers/access_log.ts';
import { LogSinks } from '../access_loggers/log_sinks.ts';
import { createOperators } from '../access_loggers/operators.ts';
import { headerCommands } from '../access_loggers/header_commands.ts';
import { setMoreCommands } from '../http/header_formatter.ts';
import { compileReplyBody } from '../access_loggers/reply_body.ts';
import type { DrainRequest } from '../admin/proxy_state.ts';
import type { ConfigUpdate, Rejection, SubscriptionPort } from '../config/config_update.ts';
import { messageOf } from '../config/config_update.ts';
import { SecretDiscovery } from '../config/sds.ts';
import { WorkerConfig } from '../config/worker_config.ts';
import { createExtensions } from '../extensions.ts';
import type { FactoryContext } from '../factory_context.ts';
import { ListenerManager } from '../listener_manager/listener_manager.ts';
import { OverloadState } from '../network/overload_state.ts';
import { RuntimeValues } from '../network/runtime.ts';
import { type Counts, LocalCounts, SharedCounts } from '../network/shared_counts.ts';
import { workerTimers } from '../network/timer_wheel.ts';
import type { ExtensionRegistry } from '../registry.ts';
import { LiveClusterManager } from '../upstream/cluster_manager.ts';
import { extensionNames } from './extension_names.ts';
import type { Answers, FromWorker, Question, ToWorker, WorkerInit } from './messages.ts';
import { connectionLimit } from './overload/monitors.ts';
import { connectionsName, countedWorkers } from './counts.ts';
import { settleHeap } from './settle_heap.ts';
import { StatInclusion } from './stat_inclusion.ts';
import { WorkerLog } from './worker_log.ts';
import { WorkerReport } from './worker_report.ts';
import { routeBuildContext } from './route_build_context.ts';
import { refuseFields } from '../network/refused_fields.ts';

export class WorkerRuntime {
  readonly #post: (message: FromWorker) => void;
  readonly #log: WorkerLog;
  readonly #registry: ExtensionRegistry;
  readonly #sinks: LogSinks;
  readonly #clusters: LiveClusterManager;
  readonly #listeners: ListenerManager;
  readonly #config: WorkerConfig;
  readonly #report: WorkerReport;
  readonly #overload: OverloadState;
  readonly #runtime: RuntimeValues;
  readonly #drainTimeMs: number;
  readonly #bootstrap: Uint8Array;

  /** @param more `counts` of a worker on the main thread, which reads them too. */
  constructor(
    init: WorkerInit,
    post: (message: FromWorker) => void,
    more: { readonly counts?: Counts | undefined } = {},
  ) {
    this.#post = post;
    this.#drainTimeMs = init.drainTimeMs;
    this.#bootstrap = init.bootstrap;
    this.#log = new WorkerLog(init.logLevel, post);
    const log = this.#log.logger('proxy');
    const bootstrap = fromBinary(BootstrapSchema, init.bootstrap);
    refuseFields(bootstrap, 'bootstrap.');
    const registry = createExtensions();
    this.#registry = registry;
    const metrics = new MetricsRegistry();
    const sinks = new LogSinks((fd, text) => post({ kind: 'write', fd, text }));
    this.#sinks = sinks;
    const operators = createOperators({ hostname: init.hostname, variables: init.environment });
    setMoreCommands(headerCommands(operators));
    const port: SubscriptionPort = {
      subscribe: (source, typeUrl, name) => post({ kind: 'subscribe', source, typeUrl, name }),
      unsubscribe: (source, typeUrl, name) => post({ kind: 'unsubscribe', source, typeUrl, name }),
    };
    const secrets = new SecretDiscovery(port, bootstrap.staticResources?.secrets ?? []);
    const sockets = { secrets };
    const counts = more.counts ?? countsOf(init);
    const overload = new OverloadState(counts.open(connectionsName));
    overload.maxConnections = connectionLimit(bootstrap.overloadManager?.resourceMonitors ?? []) ?? Infinity;
    this.#overload = overload;
    this.#runtime = new RuntimeValues(new Map(init.runtime));
    const { clusterManager } = bootstrap;
    const { region = '', zone = '', subZone = '' } = bootstrap.node?.locality ?? {};
    const eventFile = (path: string) => {
      const sink = sinks.open(path);
      return (line: string): void => sink.write(line);
    };
    const outlierPath = clusterManager?.outlierDetection?.eventLogPath ?? '';
    const clusters = new LiveClusterManager({
      registry,
      sockets,
      sharedCounts: init.counts === undefined ? undefined : counts,
      localCluster: {
        name: clusterManager?.localClusterName ?? '',
        locality: { region, zone, subZone },
      },
      outlierLog: outlierPath === '' ? undefined : eventFile(outlierPath),
      eventFile,
    });
    this.#clusters = clusters;
    this.#listeners = new ListenerManager({
      log,
      sockets,
      drainTimeMs: init.drainTimeMs,
      drainStrategy: init.drainStrategy,
      overload,
      runtime: this.#runtime,
    });
    const node = bootstrap.node ?? create(NodeSchema);
    const remote = { clusterManager: clusters, metrics, node };
    const context: Omit<FactoryContext, 'routeConfig'> = {
      registry,
      clusterManager: clusters,
      metrics,
      node,
      log,
      direction: 'unspecified',
      environment: init.environment,
      accessLoggers: (configs) => createAccessLoggers(configs, { registry, operators, sinks, remote }),
      replyBody: (format) => compileReplyBody(format, operators),
      counts,
      overload,
      runtime: this.#runtime,
      random: Math.random,
    };
    this.#config = new WorkerConfig({
      bootstrap,
      port,
      secrets,
      clusters,
      listeners: this.#listeners,
      context,
      routeContext: routeBuildContext(context),
      log,
      onWarmingChange: (state) => post({ kind: 'warming', state }),
    });
    this.#report = new WorkerReport(
      metrics,
      clusters,
      this.#listeners,
      this.#config,
      new StatInclusion(bootstrap.statsConfig?.statsMatcher),
      init.index === 0,
    );
  }

  /** Makes the static resources live. Rejects with an Error that names the bad one. */
  async start(): Promise<void> {
    await this.#registry.load(this.#bootstrap);
    await this.#config.start();
    this.#post({ kind: 'started', extensions: extensionNames(this.#registry) });
  }

  /** Builds the static resources and drops them. Rejects with an Error that names the bad one. */
  async validate(): Promise<void> {
    await this.#registry.load(this.#bootstrap);
    return this.#config.start({ dryRun: true });
  }

  /** Resolves when the message is dealt with. */
  async handle(message: ToWorker): Promise<void> {
    switch (message.kind) {
      case 'update':
        this.#post({ kind: 'verdict', id: message.id, rejected: await this.#apply(message.update) });
        return;
      case 'ask':
        this.#post({ kind: 'answer', id: message.id, value: this.#answer(message.question) });
        return;
      case 'log_level':
        this.#log.levels.set(message.name, message.level);
        return;
      case 'overload':
        Object.assign(this.#overload, message.request);
        return;
      case 'runtime':
        this.#runtime.replace(new Map(message.values));
        return;
      case 'health_check_failed':
        this.#listeners.healthCheckFailed = message.failed;
        return;
      case 'reopen_logs':
        this.#sinks.reopen();
        return;
      case 'settle_heap':
        settleHeap();
        return;
      case 'drain':
        this.#drain(message.request);
        return;
      case 'close':
        this.#listeners.close();
        this.#clusters.close();
        await this.#sinks.close();
        this.#post({ kind: 'closed' });
    }
  }

  async #apply(update: ConfigUpdate): Promise<Rejection[]> {
    try {
      return await this.#config.apply(update);
    } catch (error) {
      // A fault of ours: the resources are refused, the worker goes on with what it had.
      const message = `internal error: ${messageOf(error)}`;
      this.#log.logger('config').error('update failed', { error, type: update.typeUrl });
      return update.changed.map(({ name }) => ({ name, message }));
    }
  }

  #drain({ inboundOnly, graceful, stop }: DrainRequest): void {
    const which = ({ trafficDirection }: Listener): boolean =>
      !inboundOnly || trafficDirection === TrafficDirection.INBOUND;
    if (graceful) this.#listeners.drain(which);
    if (!stop) return;
    if (!graceful) this.#listeners.stopAccepting(which);
    else workerTimers.schedule(this.#drainTimeMs, () => this.#listeners.stopAccepting(which), undefined);
  }

  #answer(question: Question): Answers[Question] {
    switch (question) {
      case 'stats':
        return this.#report.stats();
      case 'listeners':
        return this.#report.listeners();
      case 'clusters':
        return this.#report.clusters();
      case 'certificates':
        return this.#report.certificates();
      case 'connections':
        return this.#report.connections();
      case 'memory': {
        const { heapUsed, heapTotal } = process.memoryUsage();
        return { heapUsed, heapTotal };
      }
    }
  }
}

function countsOf({ counts, concurrency, index }: WorkerInit): Counts {
  return counts === undefined
    ? new LocalCounts()
    : new SharedCounts(counts, countedWorkers(concurrency), index);
}
