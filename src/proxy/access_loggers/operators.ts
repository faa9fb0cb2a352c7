/**
 * Operators of access-log formats over one request or connection (Envoy docs: "Access logging / Command operators").
 * All text is one character per byte, as headers come off the wire; `log_sinks.ts` writes it as such.
 */
import type { OperatorTable, OperatorValue } from '#telemetry/access_log/format.ts';
import { compileTimeFormat, formatIsoMillis } from '#telemetry/access_log/time_format.ts';
import { randomUUID } from 'node:crypto';
import { formatResponseFlags, formatResponseFlagsLong } from '../stream_info/response_flags.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import { addressOperators } from './address_operators.ts';
import { coalesce } from './coalesce_operator.ts';
import { dataOperators } from './data_operators.ts';
import { durationOperators } from './duration_operators.ts';
import { camelName, snakeName } from './grpc_status_names.ts';
import { headerOperators } from './header_operators.ts';
import { type LogEntry, grpcStatusOf } from './log_entry.ts';
import { tlsOperators } from './tls_operators.ts';

/** What operators know of the process. */
export interface OperatorEnvironment {
  /** `%HOSTNAME%`. */
  readonly hostname: string;
  /** `%ENVIRONMENT(name)%`. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** An operator without argument that reads the record alone. */
function field(read: (info: StreamInfo) => OperatorValue): OperatorTable<LogEntry>[string] {
  return (argument) => {
    if (argument !== undefined) throw new Error('takes no argument');
    return ({ info }) => read(info);
  };
}

/** Text of the configuration (names of routes, clusters) as bytes. */
export function byteText(text: string): string {
  return /[^\0-\x7f]/.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}

function startTime(argument: string | undefined): (entry: LogEntry) => OperatorValue {
  if (argument === undefined || argument === '') return ({ info }) => formatIsoMillis(info.startTimeMs);
  const format = compileTimeFormat(argument);
  return ({ info }) => format(info.startTimeMs);
}

function emitTime(argument: string | undefined): (entry: LogEntry) => OperatorValue {
  if (argument === undefined || argument === '') return () => formatIsoMillis(Date.now());
  const format = compileTimeFormat(argument);
  return () => format(Date.now());
}

function grpcStatus(argument: string | undefined): (entry: LogEntry) => OperatorValue {
  switch (argument) {
    case undefined:
    case '':
    case 'CAMEL_STRING':
      return (entry) => named(grpcStatusOf(entry), camelName);
    case 'SNAKE_STRING':
      return (entry) => named(grpcStatusOf(entry), snakeName);
    case 'NUMBER':
      return grpcStatusOf;
    default:
      throw new Error('expected CAMEL_STRING, SNAKE_STRING or NUMBER');
  }
}

function named(status: number | undefined, name: (status: number) => string): string | undefined {
  return status === undefined ? undefined : name(status);
}

/** Envoy prints details without blanks, so that lines split at blanks. */
function withoutBlanks(text: string): string {
  return text.includes(' ') ? text.replaceAll(' ', '_') : text;
}

/** All operators, for the loggers of one process. */
export function createOperators(environment: OperatorEnvironment): OperatorTable<LogEntry> {
  const { hostname, variables } = environment;
  const operators: OperatorTable<LogEntry> = {
    ...headerOperators,
    ...addressOperators,
    ...durationOperators,
    ...tlsOperators,
    ...dataOperators,
    START_TIME: startTime,
    START_TIME_LOCAL: startTime,
    EMIT_TIME: emitTime,
    EMIT_TIME_LOCAL: emitTime,
    PROTOCOL: field((info) => info.protocol),
    UPSTREAM_PROTOCOL: field((info) => info.upstream?.protocol),
    RESPONSE_CODE: field((info) => info.responseCode),
    RESPONSE_CODE_DETAILS: (argument) => {
      if (argument === 'ALLOW_WHITESPACES') return ({ info }) => info.responseCodeDetails;
      if (argument !== undefined) throw new Error('expected no argument or ALLOW_WHITESPACES');
      return ({ info }) => withoutBlanks(info.responseCodeDetails);
    },
    RESPONSE_FLAGS: field((info) => formatResponseFlags(info.responseFlags)),
    RESPONSE_FLAGS_LONG: field((info) => formatResponseFlagsLong(info.responseFlags)),
    CONNECTION_TERMINATION_DETAILS: field((info) => info.connectionTerminationDetails),
    UPSTREAM_TRANSPORT_FAILURE_REASON: field((info) => {
      const reason = info.upstream?.transportFailureReason;
      return reason === undefined ? undefined : withoutBlanks(reason);
    }),
    DOWNSTREAM_TRANSPORT_FAILURE_REASON: field((info) =>
      withoutBlanks(info.connection.transportFailureReason),
    ),
    BYTES_RECEIVED: field((info) => info.bytesReceived),
    BYTES_SENT: field((info) => info.bytesSent),
    DOWNSTREAM_WIRE_BYTES_RECEIVED: field((info) => info.wireBytesReceived),
    DOWNSTREAM_WIRE_BYTES_SENT: field((info) => info.wireBytesSent),
    UPSTREAM_REQUEST_ATTEMPT_COUNT: field((info) => info.attemptCount),
    UPSTREAM_CLUSTER: field((info) => byteText(info.clusterStatName)),
    UPSTREAM_CLUSTER_RAW: field((info) => byteText(info.clusterName)),
    ROUTE_NAME: field((info) => byteText(info.routeName)),
    VIRTUAL_HOST_NAME: field((info) => byteText(info.virtualHostName)),
    VIRTUAL_CLUSTER_NAME: field(() => undefined),
    FILTER_CHAIN_NAME: field((info) => byteText(info.connection.filterChainName)),
    REQUESTED_SERVER_NAME: (argument) => {
      if (argument !== undefined && argument !== 'SNI_ONLY')
        throw new Error('expected no argument or SNI_ONLY');
      return ({ info }) => info.connection.requestedServerName;
    },
    CONNECTION_ID: field((info) => info.connection.id),
    STREAM_ID: field((info) => info.requestId),
    TRACE_ID: field((info) => info.traceId),
    SPAN_ID: field((info) => info.spanId),
    UNIQUE_ID: field(() => randomUUID()),
    GRPC_STATUS: grpcStatus,
    GRPC_STATUS_NUMBER: () => grpcStatusOf,
    HOSTNAME: () => () => hostname,
    ENVIRONMENT: (argument) => {
      if (argument === undefined || argument === '') throw new Error('expected the name of a variable');
      const value = variables[argument];
      return () => value;
    },
    ACCESS_LOG_TYPE: field((info) => (info.protocol === '' ? 'TcpConnectionEnd' : 'DownstreamEnd')),
  };
  return { ...operators, COALESCE: coalesce(operators) };
}
