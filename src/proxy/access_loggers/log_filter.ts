/** `envoy.config.accesslog.v3.AccessLogFilter`: which requests are logged. */
import {
  type AccessLogFilter,
  type ComparisonFilter,
  ComparisonFilter_Op as Op,
  GrpcStatusFilter_Status as GrpcStatusName,
  type RuntimeFilter,
} from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import { AccessLogType } from '#api/gen/envoy/data/accesslog/v3/accesslog_pb.ts';
import { FractionalPercent_DenominatorType as Denominator } from '#api/gen/envoy/type/v3/percent_pb.ts';
import { GrpcStatus, httpToGrpcStatus } from '../http/grpc.ts';
import { compileHeaderMatcher } from '../http/header_matcher.ts';
import { formatResponseFlags } from '../stream_info/response_flags.ts';
import { celFilterType, compileCelFilter } from './cel_filter.ts';
import { type LogEntry, type LogPredicate, grpcStatusOf } from './log_entry.ts';

function comparison(
  config: ComparisonFilter | undefined,
  read: (entry: LogEntry) => number | undefined,
): LogPredicate {
  const limit = config?.value?.defaultValue;
  if (config === undefined || limit === undefined) throw new Error('comparison without value');
  const compare = (test: (value: number) => boolean): LogPredicate => {
    return (entry) => {
      const value = read(entry);
      return value !== undefined && test(value);
    };
  };
  switch (config.op) {
    case Op.EQ:
      return compare((value) => value === limit);
    case Op.GE:
      return compare((value) => value >= limit);
    case Op.LE:
      return compare((value) => value <= limit);
    case Op.NE:
      return compare((value) => value !== limit);
    default:
      throw new Error(`comparison ${config.op} is not known`);
  }
}

/** Part of all requests; the bits of x-request-id decide unless randomness is independent. */
function runtime({ percentSampled, useIndependentRandomness }: RuntimeFilter): LogPredicate {
  const denominators = new Map<number, number>([
    [Denominator.HUNDRED, 100],
    [Denominator.TEN_THOUSAND, 10_000],
    [Denominator.MILLION, 1_000_000],
  ]);
  const denominator = denominators.get(percentSampled?.denominator ?? Denominator.HUNDRED) ?? 100;
  const numerator = percentSampled?.numerator ?? 0;
  return ({ info }) => {
    const bits = useIndependentRandomness ? NaN : Number.parseInt(info.requestId.slice(0, 8), 16);
    const random = Number.isNaN(bits) ? Math.floor(Math.random() * denominator) : bits % denominator;
    return random < numerator;
  };
}

function responseFlags(wanted: readonly string[]): LogPredicate {
  if (wanted.length === 0) return ({ info }) => info.responseFlags !== 0;
  const set = new Set(wanted);
  return ({ info }) =>
    info.responseFlags !== 0 &&
    formatResponseFlags(info.responseFlags)
      .split(',')
      .some((flag) => set.has(flag));
}

/** The status of the call; without one, what the HTTP status stands for. */
function effectiveGrpcStatus(entry: LogEntry): number {
  const status = grpcStatusOf(entry);
  if (status !== undefined) return status;
  const { responseCode } = entry.info;
  return responseCode === 200 ? GrpcStatus.ok : httpToGrpcStatus(responseCode);
}

function typeNames(types: readonly number[]): Set<string> {
  const names = new Map<number, string>(Object.entries(AccessLogType).map(([name, value]) => [value, name]));
  return new Set(types.map((type) => names.get(type) ?? ''));
}

/** @throws Error with a readable cause for a filter that is not supported. */
export function compileLogFilter(filter: AccessLogFilter): LogPredicate {
  const { filterSpecifier: specifier } = filter;
  switch (specifier.case) {
    case 'statusCodeFilter':
      return comparison(specifier.value.comparison, ({ info }) => info.responseCode);
    case 'durationFilter':
      return comparison(specifier.value.comparison, ({ info }) =>
        Number.isNaN(info.end) ? undefined : Math.floor(info.end - info.start),
      );
    case 'notHealthCheckFilter':
      return ({ info }) => !info.healthCheck;
    case 'traceableFilter':
      return ({ info }) => info.traceId !== '';
    case 'runtimeFilter':
      return runtime(specifier.value);
    case 'andFilter': {
      const all = specifier.value.filters.map(compileLogFilter);
      return (entry) => all.every((predicate) => predicate(entry));
    }
    case 'orFilter': {
      const any = specifier.value.filters.map(compileLogFilter);
      return (entry) => any.some((predicate) => predicate(entry));
    }
    case 'headerFilter': {
      if (specifier.value.header === undefined) throw new Error('header_filter without header');
      const matches = compileHeaderMatcher(specifier.value.header);
      return ({ request }) => request !== undefined && matches(request);
    }
    case 'responseFlagFilter':
      return responseFlags(specifier.value.flags);
    case 'grpcStatusFilter': {
      const wanted = new Set<number>(specifier.value.statuses);
      for (const status of wanted)
        if (!(Object.values(GrpcStatusName) as number[]).includes(status))
          throw new Error(`gRPC status ${status} is not known`);
      const { exclude } = specifier.value;
      return (entry) => wanted.has(effectiveGrpcStatus(entry)) !== exclude;
    }
    case 'logTypeFilter': {
      const wanted = typeNames(specifier.value.types);
      const { exclude } = specifier.value;
      return ({ info }) =>
        wanted.has(info.protocol === '' ? 'TcpConnectionEnd' : 'DownstreamEnd') !== exclude;
    }
    case 'extensionFilter': {
      const config = specifier.value.configType.value;
      if (config?.typeUrl === celFilterType) return compileCelFilter(config.value);
      throw new Error(
        `access log filter ${specifier.value.name} (${specifier.value.configType.value?.typeUrl ?? 'no type'}) is not supported`,
      );
    }
    case 'metadataFilter':
      throw new Error('metadata_filter is not supported');
    default:
      throw new Error('access log filter without specifier');
  }
}
