/** Routes of the listeners that ask for them by name. */
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { typeUrls } from '#xds/type_url.ts';
import { buildRoutes } from '../networking/routes.ts';
import type { Generator } from './generator.ts';

export const rds: Generator = {
  typeUrl: typeUrls.rds,
  onEndpoints: false,
  named: true,
  generate: (proxy, context, names) =>
    buildRoutes(proxy, context, names).map((route) =>
      encodeResource(RouteConfigurationSchema, route.name, route),
    ),
};
