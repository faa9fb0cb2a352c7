/** Extension `envoy.filters.network.rbac`. */
import { fromBinary } from '@bufbuild/protobuf';
import { RBACSchema } from '#api/gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import { levelOf, RbacCounts } from '../../rbac/stats.ts';
import { compileNetworkRbac, createNetworkRbac, networkRbacName } from './rbac.ts';

export const networkRbac = {
  name: networkRbacName,
  typeUrls: [`type.googleapis.com/${RBACSchema.typeName}`],
  create(config, context) {
    const proto = fromBinary(RBACSchema, config.value);
    const shadow = proto.shadowRulesStatPrefix;
    const labels = { envoy_rbac_prefix: levelOf(proto.statPrefix) };
    const shadowLabels = shadow === '' ? labels : { ...labels, envoy_rbac_shadow_prefix: levelOf(shadow) };
    return createNetworkRbac({
      ...compileNetworkRbac(proto),
      counts: new RbacCounts(context.metrics, 'envoy_rbac', labels, false),
      shadowCounts: new RbacCounts(context.metrics, 'envoy_rbac', shadowLabels, true),
    });
  },
} as const satisfies NetworkFilterExtension;
