/** Faults and CORS of a rule: configuration of filters, per route. */
import type { Any } from '@bufbuild/protobuf/wkt';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { CorsPolicySchema } from '#api/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts';
import { HTTPFaultSchema } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import {
  type FractionalPercent,
  FractionalPercent_DenominatorType,
  FractionalPercentSchema,
} from '#api/gen/envoy/type/v3/percent_pb.ts';
import { grpcCodes } from '#api/grpc_codes.ts';
import { httpFilter } from '#api/well_known.ts';
import type {
  CorsPolicy,
  FaultAbort,
  FaultDelay,
  HTTPFaultInjection,
  Percent,
} from '#config/kinds/virtual_service/types.ts';
import { parseDurationMs } from '#config/schema/duration.ts';
import { any, exactMatch, parseDuration } from '../wire.ts';
import { stringMatcher } from './string_match.ts';

/** A share with four decimals; `whole` when the field is absent. */
export function fraction(percent: Percent | undefined, whole: number): FractionalPercent {
  return create(FractionalPercentSchema, {
    numerator: Math.round((percent?.value ?? (percent === undefined ? whole : 0)) * 10_000),
    denominator: FractionalPercent_DenominatorType.MILLION,
  });
}

type FaultInit = Exclude<MessageInitShape<typeof HTTPFaultSchema>, { $typeName: string }>;

function delayFields(delay: FaultDelay | undefined): Pick<FaultInit, 'delay' | 'abort'> {
  const fixedDelay = parseDuration(delay?.fixedDelay);
  if (delay === undefined || fixedDelay === undefined) return {};
  const percent = delay.percentage ?? (delay.percent === undefined ? undefined : { value: delay.percent });
  return {
    delay: {
      faultDelaySecifier: { case: 'fixedDelay', value: fixedDelay },
      percentage: fraction(percent, 0),
    },
  };
}

function abortFields(abort: FaultAbort | undefined): Pick<FaultInit, 'delay' | 'abort'> {
  if (abort === undefined) return {};
  const grpc = abort.grpcStatus === undefined ? -1 : grpcCodes.indexOf(abort.grpcStatus);
  const percentage = fraction(abort.percentage, 100);
  if (abort.httpStatus !== undefined) {
    return { abort: { errorType: { case: 'httpStatus', value: abort.httpStatus }, percentage } };
  }
  return grpc < 0 ? {} : { abort: { errorType: { case: 'grpcStatus', value: grpc }, percentage } };
}

function corsConfig(cors: CorsPolicy): Any {
  const origins = (cors.allowOrigins ?? []).map((origin) => stringMatcher(origin) ?? exactMatch('*'));
  for (const origin of cors.allowOrigin ?? []) origins.push(exactMatch(origin));
  const maxAgeMs = cors.maxAge === undefined ? undefined : parseDurationMs(cors.maxAge);
  return any(CorsPolicySchema, {
    allowOriginStringMatch: origins,
    allowMethods: (cors.allowMethods ?? []).join(','),
    allowHeaders: (cors.allowHeaders ?? []).join(','),
    exposeHeaders: (cors.exposeHeaders ?? []).join(','),
    ...(maxAgeMs === undefined ? {} : { maxAge: String(Math.round(maxAgeMs / 1000)) }),
    ...(cors.allowCredentials === undefined ? {} : { allowCredentials: cors.allowCredentials }),
    forwardNotMatchingPreflights: cors.unmatchedPreflights !== 'IGNORE',
    filterEnabled: { defaultValue: { numerator: 100 } },
  });
}

/** Per-route configuration of filters, by filter name. */
export function routeFilters(
  fault: HTTPFaultInjection | undefined,
  cors: CorsPolicy | undefined,
): Record<string, Any> {
  const out: Record<string, Any> = {};
  if (fault !== undefined) {
    out[httpFilter.fault] = any(HTTPFaultSchema, {
      ...delayFields(fault.delay),
      ...abortFields(fault.abort),
    });
  }
  if (cors !== undefined) out[httpFilter.cors] = corsConfig(cors);
  return out;
}
