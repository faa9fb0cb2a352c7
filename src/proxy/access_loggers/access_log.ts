/** `envoy.config.accesslog.v3.AccessLog`: a filter and a logger that is found by its typed_config. */
import type { AccessLog } from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { OperatorTable } from '#telemetry/access_log/format.ts';
import { type AccessLogger, type TypedConfig, findExtension } from '../factory_context.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../http/header_map.ts';
import type { ExtensionFactory, ExtensionRegistry } from '../registry.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { ClusterManager } from '../upstream/upstream.ts';
import type { LogEntry, LogPredicate } from './log_entry.ts';
import { compileLogFilter } from './log_filter.ts';
import type { LogSinks } from './log_sinks.ts';

/** What loggers are made with; one per worker. */
export interface AccessLogContext {
  readonly registry: ExtensionRegistry;
  readonly operators: OperatorTable<LogEntry>;
  readonly sinks: LogSinks;
  /** Undefined where there are no clusters to send logs to. */
  readonly remote?: RemoteLogContext | undefined;
}

/** What loggers that send to a service know of the worker. */
export interface RemoteLogContext {
  readonly clusterManager: ClusterManager;
  readonly metrics: MetricsRegistry;
  readonly node: Node;
}

/** Takes the entries that pass the filter; must not keep them. */
export type EntryLogger = (entry: LogEntry) => void;

/** Extension kind `access_logger`; `create` throws Error for a bad configuration. */
export interface AccessLoggerExtension extends ExtensionFactory {
  create(config: TypedConfig, context: AccessLogContext): EntryLogger;
}

class FilteredLogger implements AccessLogger {
  readonly #filter: LogPredicate | undefined;
  readonly #log: EntryLogger;
  #entry: LogEntry | undefined;

  constructor(filter: LogPredicate | undefined, log: EntryLogger) {
    this.#filter = filter;
    this.#log = log;
  }

  log(
    info: StreamInfo,
    request: RequestHeaderMap | undefined,
    response: ResponseHeaderMap | undefined,
    trailers: HeaderMap | undefined,
  ): void {
    const entry = (this.#entry ??= { info, request, response, trailers });
    entry.info = info;
    entry.request = request;
    entry.response = response;
    entry.trailers = trailers;
    if (this.#filter === undefined || this.#filter(entry)) this.#log(entry);
    // The record of a request must not outlive it here.
    this.#entry = undefined;
  }
}

function createAccessLogger(config: AccessLog, context: AccessLogContext): AccessLogger {
  const any = config.configType.case === 'typedConfig' ? config.configType.value : undefined;
  const found = findExtension<AccessLoggerExtension>(context.registry, 'access_logger', config.name, any);
  if (found === undefined) throw new Error(`nothing is compiled in for ${any?.typeUrl ?? 'it'}`);
  const filter = config.filter === undefined ? undefined : compileLogFilter(config.filter);
  return new FilteredLogger(filter, found.factory.create(found.config, context));
}

/** @throws Error that names the logger. */
export function createAccessLoggers(configs: readonly unknown[], context: AccessLogContext): AccessLogger[] {
  return (configs as readonly AccessLog[]).map((config) => {
    try {
      return createAccessLogger(config, context);
    } catch (error) {
      throw new Error(`access log ${config.name}: ${(error as Error).message}`, { cause: error });
    }
  });
}
