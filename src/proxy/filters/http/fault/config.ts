/** `envoy.filters.http.fault`: delays and aborts on purpose. */
import { fromBinary } from '@bufbuild/protobuf';
import { type HTTPFault, HTTPFaultSchema } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { compileHeaderMatchers, type HeaderPredicate } from '../../../http/header_matcher.ts';
import { durationMs } from '../../../network/duration.ts';
import { fractionOf } from '../../../router/route_match.ts';
import { FaultFilter, type FaultShared } from './fault.ts';

/** Where the length of a delay comes from. */
export type DelaySource =
  | { readonly kind: 'fixed'; readonly ms: number; readonly fraction: number }
  /** `x-envoy-fault-delay-request`, bounded by the configured share. */
  | { readonly kind: 'header'; readonly fraction: number };

/** Where the status of an abort comes from. */
export type AbortSource =
  | { readonly kind: 'http'; readonly status: number; readonly fraction: number }
  | { readonly kind: 'grpc'; readonly status: number; readonly fraction: number }
  /** `x-envoy-fault-abort-request` or `-grpc-request`. */
  | { readonly kind: 'header'; readonly fraction: number };

export interface FaultConfig {
  readonly delay: DelaySource | undefined;
  readonly abort: AbortSource | undefined;
  readonly abortBody: string;
  /** Only for this upstream cluster; empty for all. */
  readonly upstreamCluster: string;
  readonly headers: HeaderPredicate | undefined;
  /** Values of `x-envoy-downstream-service-node`; empty for all. */
  readonly downstreamNodes: readonly string[];
  /** Faults at the same time; undefined for no bound. */
  readonly maxActive: number | undefined;
}

function readDelay(fault: HTTPFault): DelaySource | undefined {
  const { delay } = fault;
  if (delay === undefined) return undefined;
  const fraction = fractionOf(delay.percentage);
  switch (delay.faultDelaySecifier.case) {
    case 'fixedDelay':
      return { kind: 'fixed', ms: durationMs(delay.faultDelaySecifier.value) ?? 0, fraction };
    case 'headerDelay':
      return { kind: 'header', fraction };
    default:
      throw new Error('fault delay without fixed_delay or header_delay');
  }
}

function readAbort(fault: HTTPFault): AbortSource | undefined {
  const { abort } = fault;
  if (abort === undefined) return undefined;
  const fraction = fractionOf(abort.percentage);
  const { errorType } = abort;
  switch (errorType.case) {
    case 'httpStatus':
      if (errorType.value < 200 || errorType.value > 599)
        throw new Error(`fault abort http_status ${errorType.value} is outside 200-599`);
      return { kind: 'http', status: errorType.value, fraction };
    case 'grpcStatus':
      return { kind: 'grpc', status: errorType.value, fraction };
    case 'headerAbort':
      return { kind: 'header', fraction };
    default:
      throw new Error('fault abort without a status');
  }
}

function readFault(value: Uint8Array): FaultConfig {
  const fault = fromBinary(HTTPFaultSchema, value);
  if (fault.responseRateLimit !== undefined) throw new Error('fault response_rate_limit is not supported');
  return {
    delay: readDelay(fault),
    abort: readAbort(fault),
    abortBody: fault.abort?.responseBody ?? '',
    upstreamCluster: fault.upstreamCluster,
    headers: compileHeaderMatchers(fault.headers),
    downstreamNodes: fault.downstreamNodes,
    maxActive: fault.maxActiveFaults,
  };
}

export const fault = {
  name: 'envoy.filters.http.fault',
  typeUrls: [typeUrlOf(HTTPFaultSchema)],
  create(config, context, filterName) {
    const shared: FaultShared = {
      config: readFault(config.value),
      filterName,
      random: () => context.random(),
      active: 0,
    };
    return { createFilter: (callbacks) => new FaultFilter(callbacks, shared) };
  },
  createRouteConfig: (config) => readFault(config.value),
} satisfies HttpFilterExtension;
