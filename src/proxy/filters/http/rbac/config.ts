/** Extension `envoy.filters.http.rbac`. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type RBAC,
  RBACPerRouteSchema,
  RBACSchema,
} from '#api/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts';
import type { FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import { levelOf, RbacCounts } from '../../rbac/stats.ts';
import {
  type CompiledHttpRbac,
  compileHttpRbac,
  createHttpRbac,
  type HttpRbacShared,
  httpRbacName,
} from './rbac.ts';

const perRouteType = `type.googleapis.com/${RBACPerRouteSchema.typeName}`;
const disabled: CompiledHttpRbac = { rules: undefined, shadow: undefined, perPolicy: false };

function sharedOf(proto: RBAC, context: FactoryContext, filterName: string): HttpRbacShared {
  const counts = (prefix: string, shadow: boolean): RbacCounts =>
    new RbacCounts(
      context.metrics,
      'envoy_http_rbac',
      {
        envoy_http_conn_manager_prefix: context.statPrefix ?? '',
        ...(prefix === '' ? {} : { envoy_rbac_http_prefix: levelOf(prefix) }),
      },
      shadow,
    );
  return {
    config: compileHttpRbac(proto),
    filterName,
    enforcedPrefix: `${proto.rulesStatPrefix}enforced_`,
    shadowPrefix: `${proto.shadowRulesStatPrefix}shadow_`,
    counts: counts(proto.rulesStatPrefix, false),
    shadowCounts: counts(proto.shadowRulesStatPrefix, true),
  };
}

export const httpRbac = {
  name: httpRbacName,
  typeUrls: [`type.googleapis.com/${RBACSchema.typeName}`, perRouteType],
  create: (config, context, filterName) =>
    createHttpRbac(sharedOf(fromBinary(RBACSchema, config.value), context, filterName)),
  /** `RBACPerRoute`: other rules for a route; without `rbac` the filter is off there. */
  createRouteConfig(config): CompiledHttpRbac {
    const { rbac } = fromBinary(RBACPerRouteSchema, config.value);
    return rbac === undefined ? disabled : compileHttpRbac(rbac);
  },
} as const satisfies HttpFilterExtension;
