/** Extension `envoy.filters.http.local_ratelimit`. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type LocalRateLimit,
  LocalRateLimitSchema,
} from '#api/gen/envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import { compileHeaderRules } from '../../../http/header_rules.ts';
import { rateLimitedGrpcStatus } from '../../../http/local_reply.ts';
import { compileRateLimits } from '../../../router/rate_limit_policy.ts';
import { compileShare } from '../../../network/runtime_fraction.ts';
import { hostPoliciesOf } from '../../ratelimit/request_descriptors.ts';
import { Limiter, readLimiter } from './limiter.ts';
import {
  LocalRateLimitFilter,
  type LocalRateLimitPlace,
  type LocalRateLimitShared,
  type LocalRateLimitStats,
} from './local_ratelimit.ts';

/** Buckets kept for a descriptor with an open value, and the most that may be asked for. */
const defaultMaxDynamic = 20;
const mostDynamic = 10_000;

function statsOf(context: FactoryContext, prefix: string): LocalRateLimitStats {
  const counter = (name: string): LocalRateLimitStats['ok'] =>
    context.metrics.counter(`envoy_http_local_rate_limit_${name}`, {
      envoy_local_http_ratelimit_prefix: prefix,
    });
  return {
    enabled: counter('enabled'),
    ok: counter('ok'),
    rateLimited: counter('rate_limited'),
    enforced: counter('enforced'),
    shadowMode: counter('shadow_mode'),
  };
}

/**
 * @param key tells buckets of one process apart
 * @throws Error for what cannot run.
 */
export function compileLocalRateLimit(
  proto: LocalRateLimit,
  context: FactoryContext,
  key: string,
): LocalRateLimitPlace {
  if (proto.statPrefix === '') throw new Error('stat_prefix is missing');
  if (proto.stage > 10) throw new Error('stage must be at most 10');
  if (proto.localClusterRateLimit !== undefined) throw new Error('local_cluster_rate_limit is not supported');
  const maxDynamic = proto.maxDynamicDescriptors ?? defaultMaxDynamic;
  if (maxDynamic < 1 || maxDynamic > mostDynamic)
    throw new Error(`max_dynamic_descriptors must be 1 to ${mostDynamic}`);
  const settings = readLimiter(
    proto.tokenBucket,
    proto.descriptors,
    proto.alwaysConsumeDefaultTokenBucket ?? true,
    maxDynamic,
  );
  const status = proto.status?.code ?? 0;
  return {
    enabled: compileShare(proto.filterEnabled, 0, context.runtime),
    enforced: compileShare(proto.filterEnforced, 0, context.runtime),
    // Envoy takes no status below 400.
    status: status >= 400 ? status : 429,
    grpcStatus: proto.rateLimitedAsResourceExhausted ? rateLimitedGrpcStatus : undefined,
    responseRules: compileHeaderRules(proto.responseHeadersToAdd, []),
    notEnforcedRules: compileHeaderRules(proto.requestHeadersToAddWhenNotEnforced, []),
    descriptors: {
      own: compileRateLimits(proto.rateLimits, true),
      stage: proto.stage,
      hostPolicies: hostPoliciesOf(proto.vhRateLimits),
      localCluster: context.node.cluster,
    },
    settings,
    limiter: proto.localRateLimitPerDownstreamConnection
      ? undefined
      : new Limiter(settings, context.counts, key),
    xRateLimitHeaders: proto.enableXRatelimitHeaders === 1,
    retryAfter: proto.enableRetryAfterHeader,
    stats: statsOf(context, proto.statPrefix),
  };
}

/** An equal configuration at the same place keeps its buckets when the configuration around it changes. */
function bucketKey(context: FactoryContext, filterName: string, value: Uint8Array): string {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
  return `local_ratelimit\0${context.scope ?? ''}\0${filterName}\0${bytes}`;
}

export const httpLocalRateLimit = {
  name: 'envoy.filters.http.local_ratelimit',
  typeUrls: [typeUrlOf(LocalRateLimitSchema)],
  create(config, context, filterName) {
    const proto = fromBinary(LocalRateLimitSchema, config.value);
    const place = compileLocalRateLimit(proto, context, bucketKey(context, filterName, config.value));
    const shared: LocalRateLimitShared = { filterName, place, random: () => context.random() };
    return { createFilter: (callbacks) => new LocalRateLimitFilter(callbacks, shared) };
  },
  createRouteConfig: (config, context) =>
    compileLocalRateLimit(
      fromBinary(LocalRateLimitSchema, config.value),
      context,
      bucketKey(context, 'route', config.value),
    ),
} as const satisfies HttpFilterExtension;
