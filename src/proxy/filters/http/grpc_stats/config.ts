/** Extension `envoy.filters.http.grpc_stats`. Statistics per method are not kept; the counts go to filter state. */
import { FilterConfigSchema } from '#api/gen/envoy/extensions/filters/http/grpc_stats/v3/config_pb.ts';
import { fromBinary } from '@bufbuild/protobuf';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { grpcStatsKey, GrpcStatsFilter } from './grpc_stats.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

export const grpcStats = {
  name: grpcStatsKey,
  typeUrls: [`type.googleapis.com/${FilterConfigSchema.typeName}`],
  create(config, { log }) {
    const proto = fromBinary(FilterConfigSchema, config.value);
    refuseFields(proto);
    const { perMethodStatSpecifier } = proto;
    const { case: kind, value } = perMethodStatSpecifier;
    if (kind === 'individualMethodStatsAllowlist' || (kind === 'statsForAllMethods' && value.value))
      log.warn('grpc_stats: statistics per method are not kept');
    return { createFilter: (callbacks) => new GrpcStatsFilter(callbacks) };
  },
} as const satisfies HttpFilterExtension;
