/** Extension `envoy.filters.http.rbac`. */
import { fromBinary } from '@bufbuild/protobuf';
import { RBACPerRouteSchema, RBACSchema } from '#api/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { type CompiledHttpRbac, compileHttpRbac, createHttpRbac, httpRbacName } from './rbac.ts';

const perRouteType = `type.googleapis.com/${RBACPerRouteSchema.typeName}`;
const disabled: CompiledHttpRbac = { rules: undefined, shadow: undefined, shadowPrefix: '' };

export const httpRbac = {
  name: httpRbacName,
  typeUrls: [`type.googleapis.com/${RBACSchema.typeName}`, perRouteType],
  create: (config, _context, filterName) =>
    createHttpRbac(compileHttpRbac(fromBinary(RBACSchema, config.value)), filterName),
  /** `RBACPerRoute`: other rules for a route; without `rbac` the filter is off there. */
  createRouteConfig(config): CompiledHttpRbac {
    const { rbac } = fromBinary(RBACPerRouteSchema, config.value);
    return rbac === undefined ? disabled : compileHttpRbac(rbac);
  },
} as const satisfies HttpFilterExtension;
