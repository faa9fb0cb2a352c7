/**
 * `envoy.access_loggers.http_grpc` and `tcp_grpc`: entries to an access log service (envoy.service.accesslog.v3). Each
 * flush is a stream of its own with one message, which names the sender and carries the entries.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { ApiVersion } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import {
  HTTPAccessLogEntrySchema,
  TCPAccessLogEntrySchema,
} from '#api/gen/envoy/data/accesslog/v3/accesslog_pb.ts';
import {
  type CommonGrpcAccessLogConfig,
  HttpGrpcAccessLogConfigSchema,
  TcpGrpcAccessLogConfigSchema,
} from '#api/gen/envoy/extensions/access_loggers/grpc/v3/als_pb.ts';
import { StreamAccessLogsMessage_IdentifierSchema } from '#api/gen/envoy/service/accesslog/v3/als_pb.ts';
import { durationMs } from '../../network/duration.ts';
import { grpcTarget, MessageExporter } from '../../upstream/async_client/message_exporter.ts';
import type { AccessLoggerExtension, RemoteLogContext } from '../access_log.ts';
import { defaultBufferBytes, defaultFlushMs, EntryQueue } from '../entry_queue.ts';
import { httpEntry, tcpEntry } from './entry.ts';

const method = '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs';
/** `StreamAccessLogsMessage.http_logs` and `tcp_logs`. */
const httpLogs = 2;
const tcpLogs = 3;

function lowerCase(names: readonly string[]): string[] {
  return names.map((name) => name.toLowerCase());
}

function createQueue(
  config: CommonGrpcAccessLogConfig | undefined,
  remote: RemoteLogContext | undefined,
  logs: number,
): EntryQueue {
  if (remote === undefined) throw new Error('log services are not known here');
  if (config === undefined || config.logName === '') throw new Error('common_config.log_name is missing');
  if (config.transportApiVersion !== ApiVersion.V3)
    throw new Error('common_config.transport_api_version: only V3 is supported');
  if (config.filterStateObjectsToLog.length > 0)
    throw new Error('common_config.filter_state_objects_to_log is not supported');
  if (config.customTags.length > 0) throw new Error('common_config.custom_tags is not supported');
  if (config.grpcStreamRetryPolicy !== undefined)
    throw new Error('common_config.grpc_stream_retry_policy is not supported');
  const identifier = toBinary(
    StreamAccessLogsMessage_IdentifierSchema,
    create(StreamAccessLogsMessage_IdentifierSchema, { node: remote.node, logName: config.logName }),
  );
  const exporter = new MessageExporter(grpcTarget(config.grpcService, method), remote.clusterManager);
  const counter = (name: string) => remote.metrics.counter(`envoy_access_logs_grpc_access_log_${name}`);
  const flushed = counter('grpc_entries_flushed');
  const failed = counter('grpc_entries_flush_failed');
  return new EntryQueue({
    bufferBytes: config.bufferSizeBytes ?? defaultBufferBytes,
    flushMs: durationMs(config.bufferFlushInterval) ?? defaultFlushMs,
    written: counter('logs_written'),
    dropped: counter('logs_dropped'),
    send: (entries) => {
      const writer = new BinaryWriter();
      writer.tag(1, WireType.LengthDelimited).bytes(identifier);
      writer.tag(logs, WireType.LengthDelimited).fork();
      for (const entry of entries) writer.tag(1, WireType.LengthDelimited).bytes(entry);
      writer.join();
      return exporter.send(writer.finish(), (sent) => (sent ? flushed : failed).inc(entries.length));
    },
  });
}

export const httpGrpcAccessLogger = {
  name: 'envoy.access_loggers.http_grpc',
  typeUrls: ['type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig'],
  create({ value }, { remote }) {
    const proto = fromBinary(HttpGrpcAccessLogConfigSchema, value);
    const queue = createQueue(proto.commonConfig, remote, httpLogs);
    const names = {
      request: lowerCase(proto.additionalRequestHeadersToLog),
      response: lowerCase(proto.additionalResponseHeadersToLog),
      trailers: lowerCase(proto.additionalResponseTrailersToLog),
    };
    return (entry) => queue.push(toBinary(HTTPAccessLogEntrySchema, httpEntry(entry, names)));
  },
} satisfies AccessLoggerExtension;

export const tcpGrpcAccessLogger = {
  name: 'envoy.access_loggers.tcp_grpc',
  typeUrls: ['type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig'],
  create({ value }, { remote }) {
    const proto = fromBinary(TcpGrpcAccessLogConfigSchema, value);
    const queue = createQueue(proto.commonConfig, remote, tcpLogs);
    return (entry) => queue.push(toBinary(TCPAccessLogEntrySchema, tcpEntry(entry)));
  },
} satisfies AccessLoggerExtension;
