/** `envoy.config.route.v3.RetryPolicy` in the form that the router reads, and what counts as worth a retry. */
import { fromBinary } from '@bufbuild/protobuf';
import type {
  RetryPolicy as RetryPolicyProto,
  RetryPolicy_RetryPriority,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { RetryPolicy_ResetHeaderFormat as ResetFormat } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { OmitHostMetadataConfigSchema } from '#api/gen/envoy/extensions/retry/host/omit_host_metadata/v3/omit_host_metadata_config_pb.ts';
import { PreviousPrioritiesConfigSchema } from '#api/gen/envoy/extensions/retry/priority/previous_priorities/v3/previous_priorities_config_pb.ts';
import { ResetReason } from '../http/codec.ts';
import { compileHeaderMatchers, compileHeaderMatcher, type HeaderPredicate } from '../http/header_matcher.ts';
import type { HeaderMap, ResponseHeaderMap } from '../http/header_map.ts';
import { durationMs } from '../network/duration.ts';
import type { Host } from '../upstream/upstream.ts';
import { refuseFields } from '../network/refused_fields.ts';

/** Bits of `retry_on`. */
export const RetryOn = {
  fiveXx: 1 << 0,
  gatewayError: 1 << 1,
  connectFailure: 1 << 2,
  retriable4xx: 1 << 3,
  refusedStream: 1 << 4,
  grpcCancelled: 1 << 5,
  grpcDeadlineExceeded: 1 << 6,
  grpcResourceExhausted: 1 << 7,
  grpcUnavailable: 1 << 8,
  grpcInternal: 1 << 9,
  retriableStatusCodes: 1 << 10,
  reset: 1 << 11,
  retriableHeaders: 1 << 12,
  envoyRatelimited: 1 << 13,
  resetBeforeRequest: 1 << 14,
} as const;

const grpcBits =
  RetryOn.grpcCancelled |
  RetryOn.grpcDeadlineExceeded |
  RetryOn.grpcResourceExhausted |
  RetryOn.grpcUnavailable |
  RetryOn.grpcInternal;

const retryOnNames: Readonly<Record<string, number>> = {
  '5xx': RetryOn.fiveXx,
  'gateway-error': RetryOn.gatewayError,
  'connect-failure': RetryOn.connectFailure,
  'retriable-4xx': RetryOn.retriable4xx,
  'refused-stream': RetryOn.refusedStream,
  'retriable-status-codes': RetryOn.retriableStatusCodes,
  'retriable-headers': RetryOn.retriableHeaders,
  reset: RetryOn.reset,
  'reset-before-request': RetryOn.resetBeforeRequest,
  'envoy-ratelimited': RetryOn.envoyRatelimited,
  // Only HTTP/3 has it.
  'http3-post-connect-failure': 0,
  cancelled: RetryOn.grpcCancelled,
  'deadline-exceeded': RetryOn.grpcDeadlineExceeded,
  'resource-exhausted': RetryOn.grpcResourceExhausted,
  unavailable: RetryOn.grpcUnavailable,
  internal: RetryOn.grpcInternal,
};

/** Bits of a comma separated list, HTTP and gRPC values together; unknown names are ignored, as Envoy does. */
export function parseRetryOn(text: string): number {
  let bits = 0;
  for (const part of text.split(',')) bits |= retryOnNames[part.trim()] ?? 0;
  return bits;
}

/** True asks the balancer for another host. */
export type HostPredicate = (host: Host, attempted: readonly Host[]) => boolean;

export interface RateLimitedBackOff {
  readonly headers: readonly { readonly name: string; readonly unixTimestamp: boolean }[];
  readonly maxMs: number;
}

export interface RetryPolicy {
  readonly retryOn: number;
  /** Retries besides the first attempt; default 1. */
  readonly numRetries: number;
  /** 0 means the route's timeout. */
  readonly perTryTimeoutMs: number;
  readonly perTryIdleTimeoutMs: number;
  readonly retriableStatusCodes: readonly number[];
  readonly retriableHeaders: readonly HeaderPredicate[];
  readonly retriableRequestHeaders: HeaderPredicate | undefined;
  readonly hostPredicates: readonly HostPredicate[];
  /** Attempts of the balancer to find a host that no predicate refuses. */
  readonly hostSelectionMaxAttempts: number;
  /** Every so many attempts the priorities asked so far are left out (previous_priorities); 0 for never. */
  readonly priorityUpdateFrequency: number;
  readonly backOffBaseMs: number;
  readonly backOffMaxMs: number;
  readonly rateLimited: RateLimitedBackOff | undefined;
}

const defaultBaseMs = 25;

function hostPredicate(name: string, config: Uint8Array | undefined): HostPredicate {
  switch (name) {
    case 'envoy.retry_host_predicates.previous_hosts':
      return (host, attempted) => attempted.includes(host);
    case 'envoy.retry_host_predicates.omit_canary_hosts':
      return (host) => host.metadata?.['envoy.lb']?.['canary'] === true;
    case 'envoy.retry_host_predicates.omit_host_metadata': {
      const metadata = fromBinary(OmitHostMetadataConfigSchema, config ?? new Uint8Array()).metadataMatch
        ?.filterMetadata?.['envoy.lb'];
      const wanted = Object.entries(metadata ?? {});
      return (host) =>
        wanted.length > 0 &&
        wanted.every(
          ([key, value]) => JSON.stringify(host.metadata?.['envoy.lb']?.[key]) === JSON.stringify(value),
        );
    }
    default:
      throw new Error(`retry host predicate ${name} is not supported`);
  }
}

function priorityFrequency(proto: RetryPolicy_RetryPriority | undefined): number {
  if (proto === undefined) return 0;
  if (proto.name !== 'envoy.retry_priorities.previous_priorities')
    throw new Error(`retry priority ${proto.name} is not supported`);
  const config = proto.configType.value?.value ?? new Uint8Array();
  const { updateFrequency } = fromBinary(PreviousPrioritiesConfigSchema, config);
  if (updateFrequency < 1) throw new Error('retry_priority: update_frequency must be above 0');
  return updateFrequency;
}

/** Throws Error for a bad or unsupported policy. */
export function compileRetryPolicy(proto: RetryPolicyProto): RetryPolicy {
  refuseFields(proto, 'retry_policy.');
  const baseMs = durationMs(proto.retryBackOff?.baseInterval) ?? defaultBaseMs;
  if (proto.retryBackOff !== undefined && baseMs < 1)
    throw new Error('retry_back_off.base_interval below 1 ms');
  const maxMs = durationMs(proto.retryBackOff?.maxInterval) ?? baseMs * 10;
  if (maxMs < baseMs) throw new Error('retry_back_off.max_interval must not be below base_interval');
  const limited = proto.rateLimitedRetryBackOff;
  return {
    retryOn: parseRetryOn(proto.retryOn),
    numRetries: proto.numRetries ?? 1,
    perTryTimeoutMs: durationMs(proto.perTryTimeout) ?? 0,
    perTryIdleTimeoutMs: durationMs(proto.perTryIdleTimeout) ?? 0,
    retriableStatusCodes: proto.retriableStatusCodes,
    retriableHeaders: proto.retriableHeaders.map(compileHeaderMatcher),
    retriableRequestHeaders: compileHeaderMatchers(proto.retriableRequestHeaders),
    hostPredicates: proto.retryHostPredicate.map(({ name, configType }) =>
      hostPredicate(name, configType.value?.value),
    ),
    hostSelectionMaxAttempts: Math.max(1, Number(proto.hostSelectionRetryMaxAttempts)),
    priorityUpdateFrequency: priorityFrequency(proto.retryPriority),
    backOffBaseMs: baseMs,
    backOffMaxMs: maxMs,
    rateLimited:
      limited === undefined
        ? undefined
        : {
            headers: limited.resetHeaders.map(({ name, format }) => ({
              name: name.toLowerCase(),
              unixTimestamp: format === ResetFormat.UNIX_TIMESTAMP,
            })),
            maxMs: durationMs(limited.maxInterval) ?? 300_000,
          },
  };
}

/** For requests that ask for retries by header on a route without a policy. */
export const emptyRetryPolicy: RetryPolicy = {
  retryOn: 0,
  numRetries: 1,
  perTryTimeoutMs: 0,
  perTryIdleTimeoutMs: 0,
  retriableStatusCodes: [],
  retriableHeaders: [],
  retriableRequestHeaders: undefined,
  hostPredicates: [],
  hostSelectionMaxAttempts: 1,
  priorityUpdateFrequency: 0,
  backOffBaseMs: defaultBaseMs,
  backOffMaxMs: defaultBaseMs * 10,
  rateLimited: undefined,
};

const grpcBitByStatus: Readonly<Record<number, number>> = {
  1: RetryOn.grpcCancelled,
  4: RetryOn.grpcDeadlineExceeded,
  8: RetryOn.grpcResourceExhausted,
  13: RetryOn.grpcInternal,
  14: RetryOn.grpcUnavailable,
};

/** True when a response with these headers is worth another attempt. */
export function retriesOnHeaders(
  retryOn: number,
  headers: ResponseHeaderMap,
  statusCodes: readonly number[],
  retriableHeaders: readonly HeaderPredicate[],
): boolean {
  const { status } = headers;
  if (status < 400 && (retryOn & (grpcBits | RetryOn.retriableHeaders | RetryOn.retriableStatusCodes)) === 0)
    return false;
  // A rate limited answer comes from another proxy that protects itself.
  if (headers.has('x-envoy-ratelimited')) return (retryOn & RetryOn.envoyRatelimited) !== 0;
  if ((retryOn & RetryOn.fiveXx) !== 0 && status >= 500) return true;
  if ((retryOn & RetryOn.gatewayError) !== 0 && status >= 502 && status <= 504) return true;
  if ((retryOn & RetryOn.retriable4xx) !== 0 && status === 409) return true;
  if ((retryOn & RetryOn.retriableStatusCodes) !== 0 && statusCodes.includes(status)) return true;
  if ((retryOn & RetryOn.retriableHeaders) !== 0)
    for (const predicate of retriableHeaders) if (predicate(headers)) return true;
  if ((retryOn & grpcBits) === 0) return false;
  const grpcStatus = headers.getFirst('grpc-status');
  return grpcStatus !== undefined && (retryOn & (grpcBitByStatus[Number(grpcStatus)] ?? 0)) !== 0;
}

/** True when an attempt that broke off before response headers is worth another. */
export function retriesOnReset(retryOn: number, reason: ResetReason, requestStarted: boolean): boolean {
  // An open circuit breaker never retries into itself.
  if (reason === ResetReason.overflow) return false;
  if ((retryOn & (RetryOn.fiveXx | RetryOn.gatewayError | RetryOn.reset)) !== 0) return true;
  if ((retryOn & RetryOn.resetBeforeRequest) !== 0 && !requestStarted) return true;
  if (
    (retryOn & RetryOn.connectFailure) !== 0 &&
    (reason === ResetReason.localConnectionFailure ||
      reason === ResetReason.remoteConnectionFailure ||
      reason === ResetReason.connectionTimeout)
  )
    return true;
  return (retryOn & RetryOn.refusedStream) !== 0 && reason === ResetReason.remoteRefusedStreamReset;
}

/**
 * Milliseconds to wait before retry number `n` (from 1): anything up to base * 2^(n-1), so that clients spread.
 * @param random in [0, 1)
 */
export function retryDelayMs(policy: RetryPolicy, n: number, random: number): number {
  return Math.floor(random * Math.min(policy.backOffBaseMs * 2 ** (n - 1), policy.backOffMaxMs));
}

/** Wait that the upstream asked for, with up to half as much on top; undefined when no reset header is usable. */
export function rateLimitedDelayMs(
  backOff: RateLimitedBackOff,
  headers: HeaderMap,
  nowMs: number,
  random: number,
): number | undefined {
  for (const { name, unixTimestamp } of backOff.headers) {
    const value = headers.getFirst(name);
    if (value === undefined || !/^\d{1,15}$/.test(value)) continue;
    const waitMs = unixTimestamp ? Number(value) * 1000 - nowMs : Number(value) * 1000;
    if (waitMs >= 0 && waitMs <= backOff.maxMs) return Math.floor(waitMs * (1 + random / 2));
  }
  return undefined;
}
