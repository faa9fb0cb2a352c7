/** Settings of active health checks (envoy.config.core.v3.HealthCheck), with Envoy's defaults. */
import type { HealthCheck, HealthCheck_Payload } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import type { HeaderValueOption } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { RequestMethod } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { CodecClientType } from '#api/gen/envoy/type/v3/http_pb.ts';
import { type StringPredicate, compileStringMatcher } from '../../http/string_matcher.ts';
import { durationMs } from '../../network/duration.ts';

/** Half-open range of HTTP status codes. */
export interface StatusRange {
  readonly start: number;
  readonly end: number;
}

interface HttpCheck {
  readonly kind: 'http';
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly removed: readonly string[];
  readonly http2: boolean;
  readonly expected: readonly StatusRange[];
  readonly retriable: readonly StatusRange[];
  readonly serviceName: StringPredicate | undefined;
  readonly send: Buffer | undefined;
  readonly receive: readonly Buffer[];
  readonly maxBodyBytes: number;
}

interface GrpcCheck {
  readonly kind: 'grpc';
  readonly service: string;
  readonly authority: string;
  readonly headers: readonly (readonly [string, string])[];
}

interface TcpCheck {
  readonly kind: 'tcp';
  readonly send: Buffer | undefined;
  readonly receive: readonly Buffer[];
}

export interface HealthCheckOptions {
  readonly check: HttpCheck | GrpcCheck | TcpCheck;
  readonly timeoutMs: number;
  readonly intervalMs: number;
  readonly unhealthyIntervalMs: number;
  readonly unhealthyEdgeIntervalMs: number;
  readonly healthyEdgeIntervalMs: number;
  readonly noTrafficIntervalMs: number;
  readonly noTrafficHealthyIntervalMs: number;
  readonly initialJitterMs: number;
  readonly intervalJitterMs: number;
  readonly intervalJitterPercent: number;
  readonly unhealthyThreshold: number;
  readonly healthyThreshold: number;
  /** 0 for the host's own port. */
  readonly port: number;
  readonly reuseConnection: boolean;
  readonly eventLogPath: string;
  readonly logFailures: boolean;
  readonly logSuccesses: boolean;
  /** ALPN to offer; undefined for what the protocol of the check needs. */
  readonly alpn: readonly string[] | undefined;
  /** Chooses the transport socket in place of the host's metadata. */
  readonly transportMatch: Readonly<Record<string, unknown>> | undefined;
}

function payload(proto: HealthCheck_Payload, where: string): Buffer {
  if (proto.payload.case === 'binary') return Buffer.from(proto.payload.value);
  const text = proto.payload.value ?? '';
  if (text === '' || text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text))
    throw new Error(`${where}: a text payload must be hexadecimal`);
  return Buffer.from(text, 'hex');
}

function headersOf(options: readonly HeaderValueOption[]): (readonly [string, string])[] {
  return options.flatMap(({ header }) =>
    header === undefined ? [] : [[header.key.toLowerCase(), header.value] as const],
  );
}

function ranges(list: readonly { start: bigint; end: bigint }[], where: string): StatusRange[] {
  return list.map(({ start, end }) => {
    if (start >= end || start < 100n || end > 600n)
      throw new Error(`${where}: bad status range [${start}, ${end})`);
    return { start: Number(start), end: Number(end) };
  });
}

function readCheck(proto: HealthCheck): HealthCheckOptions['check'] {
  const { healthChecker: checker } = proto;
  switch (checker.case) {
    case 'httpHealthCheck': {
      const http = checker.value;
      const where = 'http_health_check';
      const expected = ranges(http.expectedStatuses, `${where}.expected_statuses`);
      return {
        kind: 'http',
        method: methodNames.get(http.method) ?? 'GET',
        path: http.path,
        authority: http.host,
        headers: headersOf(http.requestHeadersToAdd),
        removed: http.requestHeadersToRemove.map((name) => name.toLowerCase()),
        http2: http.codecClientType === CodecClientType.HTTP2,
        expected: expected.length === 0 ? [{ start: 200, end: 201 }] : expected,
        retriable: ranges(http.retriableStatuses, `${where}.retriable_statuses`),
        serviceName:
          http.serviceNameMatcher === undefined ? undefined : compileStringMatcher(http.serviceNameMatcher),
        send: http.send === undefined ? undefined : payload(http.send, `${where}.send`),
        receive: http.receive.map((entry, i) => payload(entry, `${where}.receive[${i}]`)),
        maxBodyBytes: Number(http.responseBufferSize ?? 1024n),
      };
    }
    case 'grpcHealthCheck':
      return {
        kind: 'grpc',
        service: checker.value.serviceName,
        authority: checker.value.authority,
        headers: headersOf(checker.value.initialMetadata),
      };
    case 'tcpHealthCheck': {
      const tcp = checker.value;
      if (tcp.proxyProtocolConfig !== undefined)
        throw new Error('tcp_health_check.proxy_protocol_config is not implemented');
      return {
        kind: 'tcp',
        send: tcp.send === undefined ? undefined : payload(tcp.send, 'tcp_health_check.send'),
        receive: tcp.receive.map((entry, i) => payload(entry, `tcp_health_check.receive[${i}]`)),
      };
    }
    default:
      throw new Error(`health checker ${checker.case ?? 'without a kind'} is not implemented`);
  }
}

const methodNames = new Map<number, string>([
  [RequestMethod.GET, 'GET'],
  [RequestMethod.HEAD, 'HEAD'],
  [RequestMethod.POST, 'POST'],
  [RequestMethod.PUT, 'PUT'],
  [RequestMethod.DELETE, 'DELETE'],
  [RequestMethod.OPTIONS, 'OPTIONS'],
  [RequestMethod.TRACE, 'TRACE'],
  [RequestMethod.PATCH, 'PATCH'],
]);

/** @throws Error with the field that is wrong or not implemented. */
export function readHealthChecks(list: readonly HealthCheck[]): HealthCheckOptions | undefined {
  const [proto, ...others] = list;
  if (proto === undefined) return undefined;
  if (others.length > 0) throw new Error('Multiple health checks not supported');
  if (proto.eventLogger.length > 0) throw new Error('health_checks[0].event_logger is not implemented');
  const required = (name: string, value: number | undefined): number => {
    if (value === undefined || value <= 0) throw new Error(`health_checks[0].${name} must be set`);
    return value;
  };
  const intervalMs = required('interval', durationMs(proto.interval));
  const unhealthyIntervalMs = durationMs(proto.unhealthyInterval) ?? intervalMs;
  const noTrafficIntervalMs = durationMs(proto.noTrafficInterval) ?? 60_000;
  return {
    check: readCheck(proto),
    timeoutMs: required('timeout', durationMs(proto.timeout)),
    intervalMs,
    unhealthyIntervalMs,
    unhealthyEdgeIntervalMs: durationMs(proto.unhealthyEdgeInterval) ?? unhealthyIntervalMs,
    healthyEdgeIntervalMs: durationMs(proto.healthyEdgeInterval) ?? intervalMs,
    noTrafficIntervalMs,
    noTrafficHealthyIntervalMs: durationMs(proto.noTrafficHealthyInterval) ?? noTrafficIntervalMs,
    initialJitterMs: durationMs(proto.initialJitter) ?? 0,
    intervalJitterMs: durationMs(proto.intervalJitter) ?? 0,
    intervalJitterPercent: proto.intervalJitterPercent,
    unhealthyThreshold: required('unhealthy_threshold', proto.unhealthyThreshold),
    healthyThreshold: required('healthy_threshold', proto.healthyThreshold),
    port: proto.altPort ?? 0,
    reuseConnection: proto.reuseConnection ?? true,
    eventLogPath: proto.eventLogPath,
    logFailures: proto.alwaysLogHealthCheckFailures,
    logSuccesses: proto.alwaysLogHealthCheckSuccess,
    alpn: proto.tlsOptions === undefined ? undefined : proto.tlsOptions.alpnProtocols,
    transportMatch: proto.transportSocketMatchCriteria,
  };
}
