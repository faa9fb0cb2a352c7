/** Extension `envoy.filters.http.ratelimit`. */
import { fromBinary } from '@bufbuild/protobuf';
import { ApiVersion } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import {
  type RateLimit,
  RateLimitPerRouteSchema,
  RateLimitSchema,
} from '#api/gen/envoy/extensions/filters/http/ratelimit/v3/rate_limit_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import { compileHeaderRules } from '../../../http/header_rules.ts';
import { durationMs } from '../../../network/duration.ts';
import { compileRateLimits } from '../../../router/rate_limit_policy.ts';
import { compileShare } from '../../../network/runtime_fraction.ts';
import { readGrpcService } from '../../../upstream/async_client/grpc_call.ts';
import { hostPoliciesOf } from '../../ratelimit/request_descriptors.ts';
import {
  type ClusterRateLimitStats,
  exhaustedStatus,
  RateLimitFilter,
  rateLimitName,
  type RateLimitShared,
  type RouteRateLimit,
} from './ratelimit.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

/** Envoy's timeout for services that name none. */
const defaultTimeoutMs = 20;
/** Clusters whose counters are kept at hand. */
const maxClusters = 10_000;

function statsOf(context: FactoryContext, prefix: string): RateLimitShared['stats'] {
  const known = new Map<string, ClusterRateLimitStats>();
  const labels = prefix === '' ? {} : { envoy_ratelimit_prefix: prefix };
  return (cluster) => {
    let stats = known.get(cluster);
    if (stats === undefined) {
      const counter = (name: string): ClusterRateLimitStats['ok'] =>
        context.metrics.counter(`envoy_cluster_ratelimit_${name}`, { cluster_name: cluster, ...labels });
      stats = {
        ok: counter('ok'),
        overLimit: counter('over_limit'),
        error: counter('error'),
        failureModeAllowed: counter('failure_mode_allowed'),
      };
      if (known.size >= maxClusters) known.clear();
      known.set(cluster, stats);
    }
    return stats;
  };
}

function requestTypeOf(text: string): RateLimitShared['requestType'] {
  switch (text) {
    case '':
    case 'both':
      return 'both';
    case 'internal':
    case 'external':
      return text;
    default:
      throw new Error(`request_type '${text}' is not internal, external or both`);
  }
}

/** @throws Error that names the field which cannot be run. */
export function compileRateLimit(
  proto: RateLimit,
  context: FactoryContext,
  filterName: string,
): RateLimitShared {
  if (proto.domain === '') throw new Error('domain is missing');
  if (proto.stage > 10) throw new Error('stage must be at most 10');
  const service = proto.rateLimitService;
  if (service === undefined) throw new Error('rate_limit_service is missing');
  if (service.transportApiVersion !== ApiVersion.V3)
    throw new Error('rate_limit_service.transport_api_version must be V3');
  const target = readGrpcService(service.grpcService, defaultTimeoutMs);
  const status = proto.rateLimitedStatus?.code ?? 0;
  const onError = proto.statusOnError?.code ?? 0;
  const denyShare = proto.failureModeDenyPercent;
  return {
    filterName,
    clusters: context.clusterManager,
    // The filter's own timeout stands before that of the service.
    target: { ...target, timeoutMs: durationMs(proto.timeout) ?? target.timeoutMs },
    domain: proto.domain,
    descriptors: {
      own: compileRateLimits(proto.rateLimits, true),
      stage: proto.stage,
      hostPolicies: 'override',
      localCluster: context.node.cluster,
    },
    requestType: requestTypeOf(proto.requestType),
    enabled: compileShare(proto.filterEnabled, 1, context.runtime),
    enforced: compileShare(proto.filterEnforced, 1, context.runtime),
    failureModeDeny: compileShare(denyShare, Number(proto.failureModeDeny), context.runtime),
    // Envoy takes no status below 400.
    status: status >= 400 ? status : 429,
    statusOnError: onError === 0 ? 500 : onError,
    grpcStatus: proto.rateLimitedAsResourceExhausted ? exhaustedStatus : undefined,
    responseRules: compileHeaderRules(proto.responseHeadersToAdd, []),
    rateLimitedHeader: !proto.disableXEnvoyRatelimitedHeader,
    xRateLimitHeaders: proto.enableXRatelimitHeaders === 1,
    retryAfter: proto.enableRetryAfterHeader,
    metadataNamespace: proto.metadataNamespace === '' ? rateLimitName : proto.metadataNamespace,
    stats: statsOf(context, proto.statPrefix),
    random: () => context.random(),
  };
}

export const httpRateLimit = {
  name: rateLimitName,
  typeUrls: [typeUrlOf(RateLimitSchema), typeUrlOf(RateLimitPerRouteSchema)],
  create(config, context, filterName) {
    const shared = compileRateLimit(fromBinary(RateLimitSchema, config.value), context, filterName);
    return { createFilter: (callbacks) => new RateLimitFilter(callbacks, shared) };
  },
  createRouteConfig(config): RouteRateLimit {
    const proto = fromBinary(RateLimitPerRouteSchema, config.value);
    refuseFields(proto);
    return {
      domain: proto.domain,
      descriptors: {
        own: compileRateLimits(proto.rateLimits, true),
        hostPolicies: hostPoliciesOf(proto.vhRateLimits),
      },
    };
  },
} as const satisfies HttpFilterExtension;
