/** `envoy.filters.network.local_ratelimit`: closes new connections for which a token bucket holds no token. */
import { fromBinary } from '@bufbuild/protobuf';
import { LocalRateLimitSchema } from '#api/gen/envoy/extensions/filters/network/local_ratelimit/v3/local_rate_limit_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import {
  NetworkFilterStatus,
  type NetworkReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/filter.ts';
import { readBucket, TokenBucket } from '../../ratelimit/token_bucket.ts';

export const networkLocalRateLimit = {
  name: 'envoy.filters.network.local_ratelimit',
  typeUrls: [typeUrlOf(LocalRateLimitSchema)],
  create(config, context) {
    const proto = fromBinary(LocalRateLimitSchema, config.value);
    if (proto.statPrefix === '') throw new Error('stat_prefix is missing');
    if (proto.tokenBucket === undefined) throw new Error('token_bucket is missing');
    const settings = readBucket(proto.tokenBucket);
    // A share key stands for one bucket wherever it is used with equal limits.
    const owner =
      proto.shareKey === ''
        ? `${context.scope ?? ''}\0${Buffer.from(config.value).toString('latin1')}`
        : `share\0${proto.shareKey}\0${settings.maxTokens}\0${settings.fillRate}`;
    const bucket = new TokenBucket(settings, context.counts, `network_local_ratelimit\0${owner}`);
    const limited = context.metrics.counter('envoy_local_rate_limit_rate_limited', {
      envoy_local_network_ratelimit_prefix: proto.statPrefix,
    });
    // There is no runtime layer for it: the default decides.
    const enabled = proto.runtimeEnabled?.defaultValue ?? true;
    const filter: NetworkReadFilter = {
      onNewConnection(callbacks: ReadFilterCallbacks) {
        if (!enabled || bucket.consume()) return NetworkFilterStatus.continue;
        limited.value++;
        callbacks.close('local_ratelimit_close');
        return NetworkFilterStatus.stopIteration;
      },
    };
    // It keeps nothing of a connection.
    return { terminal: false, create: () => filter };
  },
} as const satisfies NetworkFilterExtension;
