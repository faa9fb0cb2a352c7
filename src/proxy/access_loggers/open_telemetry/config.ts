/** `envoy.access_loggers.open_telemetry`: log records over OTLP, gRPC or HTTP. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { OpenTelemetryAccessLogConfigSchema } from '#api/gen/envoy/extensions/access_loggers/open_telemetry/v3/logs_service_pb.ts';
import type { OpenTelemetryAccessLogConfig } from '#api/gen/envoy/extensions/access_loggers/open_telemetry/v3/logs_service_pb.ts';
import {
  type AnyValue,
  AnyValueSchema,
  type KeyValue,
  KeyValueSchema,
} from '#api/gen/opentelemetry/proto/common/v1/common_pb.ts';
import { LogRecordSchema } from '#api/gen/opentelemetry/proto/logs/v1/logs_pb.ts';
import type { OperatorTable } from '#telemetry/access_log/format.ts';
import { durationMs } from '../../network/duration.ts';
import { grpcTarget, httpTarget, MessageExporter } from '../../upstream/async_client/message_exporter.ts';
import { type Attributes, encodeLogs } from '../../upstream/async_client/otlp.ts';
import type { AccessLoggerExtension, RemoteLogContext } from '../access_log.ts';
import { defaultBufferBytes, defaultFlushMs, EntryQueue } from '../entry_queue.ts';
import type { LogEntry } from '../log_entry.ts';
import { type LineFormatter, textFormat } from '../log_format.ts';

const exportMethod = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
/** Depth of nested values. */
const maxDepth = 16;

type MakeValue = (entry: LogEntry) => AnyValue;

/** Formats give one character per byte. */
function utf8(text: string): string {
  return Buffer.from(text, 'latin1').toString('utf8');
}

/** A value whose strings are formats, at any depth. @throws Error for what is neither text, list nor map. */
function compileValue(value: AnyValue | undefined, operators: OperatorTable<LogEntry>, depth = 0): MakeValue {
  const own = value?.value;
  if (depth > maxDepth) throw new Error('values are nested too deep');
  switch (own?.case) {
    case 'stringValue': {
      const format: LineFormatter = textFormat(own.value, operators);
      return (entry) =>
        create(AnyValueSchema, { value: { case: 'stringValue', value: utf8(format(entry)) } });
    }
    case 'kvlistValue': {
      const make = compilePairs(own.value.values, operators, depth);
      return (entry) =>
        create(AnyValueSchema, { value: { case: 'kvlistValue', value: { values: make(entry) } } });
    }
    case 'arrayValue': {
      const items = own.value.values.map((item) => compileValue(item, operators, depth + 1));
      return (entry) =>
        create(AnyValueSchema, {
          value: { case: 'arrayValue', value: { values: items.map((make) => make(entry)) } },
        });
    }
    default:
      throw new Error('only string values, lists and key value lists are supported');
  }
}

function compilePairs(
  pairs: readonly KeyValue[],
  operators: OperatorTable<LogEntry>,
  depth = 0,
): (entry: LogEntry) => KeyValue[] {
  const compiled = pairs.map(({ key, value }) => ({ key, make: compileValue(value, operators, depth + 1) }));
  return (entry) => compiled.map(({ key, make }) => create(KeyValueSchema, { key, value: make(entry) }));
}

function resourceOf(
  proto: OpenTelemetryAccessLogConfig,
  logName: string,
  { node }: RemoteLogContext,
): Attributes {
  const builtIn: Attributes = proto.disableBuiltinLabels
    ? []
    : [
        ['log_name', logName],
        ['zone_name', node.locality?.zone ?? ''],
        ['cluster_name', node.cluster],
        ['node_name', node.id],
      ];
  const own = (proto.resourceAttributes?.values ?? []).map(({ key, value }) => {
    if (value?.value.case !== 'stringValue')
      throw new Error('resource_attributes: only string values are supported');
    return [key, value.value.value] as const;
  });
  return [...builtIn, ...own];
}

function idBytes(hex: string, bytes: number): Uint8Array {
  return hex === '' ? new Uint8Array() : Buffer.from(hex.padStart(bytes * 2, '0'), 'hex');
}

function exporterOf(
  proto: OpenTelemetryAccessLogConfig,
  { clusterManager }: RemoteLogContext,
): MessageExporter {
  const { httpService, grpcService, commonConfig } = proto;
  const target =
    httpService === undefined
      ? grpcTarget(grpcService ?? commonConfig?.grpcService, exportMethod)
      : httpTarget(httpService);
  return new MessageExporter(target, clusterManager);
}

function refuse(proto: OpenTelemetryAccessLogConfig): void {
  const refused: readonly (readonly [string, number])[] = [
    ['resource_detectors', proto.resourceDetectors.length],
    ['formatters', proto.formatters.length],
    ['custom_tags', proto.customTags.length],
    ['filter_state_objects_to_log', proto.filterStateObjectsToLog.length],
    ['common_config.custom_tags', proto.commonConfig?.customTags.length ?? 0],
    ['common_config.filter_state_objects_to_log', proto.commonConfig?.filterStateObjectsToLog.length ?? 0],
  ];
  for (const [name, count] of refused) if (count > 0) throw new Error(`${name} is not supported`);
}

export const openTelemetryAccessLogger = {
  name: 'envoy.access_loggers.open_telemetry',
  typeUrls: [
    'type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig',
  ],
  create({ value }, { operators, remote }) {
    if (remote === undefined) throw new Error('log services are not known here');
    const proto = fromBinary(OpenTelemetryAccessLogConfigSchema, value);
    refuse(proto);
    const common = proto.commonConfig;
    const resource = resourceOf(proto, proto.logName || (common?.logName ?? ''), remote);
    const body = proto.body === undefined ? undefined : compileValue(proto.body, operators);
    const attributes = compilePairs(proto.attributes?.values ?? [], operators);
    const exporter = exporterOf(proto, remote);
    const counter = (name: string) =>
      remote.metrics.counter(`envoy_access_logs_open_telemetry_access_log_${proto.statPrefix}${name}`);
    const dropped = counter('logs_dropped');
    const written = counter('logs_written');
    const queue = new EntryQueue({
      bufferBytes: proto.bufferSizeBytes ?? common?.bufferSizeBytes ?? defaultBufferBytes,
      flushMs: durationMs(proto.bufferFlushInterval ?? common?.bufferFlushInterval) ?? defaultFlushMs,
      written: { value: 0, inc() {} },
      dropped,
      send: (entries) =>
        exporter.send(encodeLogs(resource, undefined, entries), (sent) =>
          (sent ? written : dropped).inc(entries.length),
        ),
    });
    return (entry) => {
      const { info } = entry;
      const record = create(LogRecordSchema, {
        timeUnixNano: BigInt(info.startTimeMs) * 1_000_000n,
        attributes: attributes(entry),
        traceId: idBytes(info.traceId, 16),
        spanId: idBytes(info.spanId, 8),
      });
      if (body !== undefined) record.body = body(entry);
      queue.push(toBinary(LogRecordSchema, record));
    };
  },
} satisfies AccessLoggerExtension;
