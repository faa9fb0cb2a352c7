/** Extension `envoy.filters.http.cors`. Policies come with routes: `Cors` itself has no fields. */
import { fromBinary } from '@bufbuild/protobuf';
import { CorsPolicySchema, CorsSchema } from '#api/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { compileCorsPolicy, CorsFilter, type CorsShared } from './cors.ts';

export const cors = {
  name: 'envoy.filters.http.cors',
  typeUrls: [typeUrlOf(CorsSchema), typeUrlOf(CorsPolicySchema)],
  create(_config, context, filterName) {
    const labels = { envoy_http_conn_manager_prefix: context.statPrefix ?? '' };
    const shared: CorsShared = {
      filterName,
      originValid: context.metrics.counter('envoy_http_cors_origin_valid', labels),
      originInvalid: context.metrics.counter('envoy_http_cors_origin_invalid', labels),
      random: () => context.random(),
    };
    return { createFilter: (callbacks) => new CorsFilter(callbacks, shared) };
  },
  createRouteConfig: (config, context) =>
    compileCorsPolicy(fromBinary(CorsPolicySchema, config.value), context.runtime),
} as const satisfies HttpFilterExtension;
