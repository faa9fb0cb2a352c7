/** Extension `envoy.filters.network.rbac`. */
import { fromBinary } from '@bufbuild/protobuf';
import { RBACSchema } from '#api/gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import { compileNetworkRbac, createNetworkRbac, networkRbacName } from './rbac.ts';

export const networkRbac = {
  name: networkRbacName,
  typeUrls: [`type.googleapis.com/${RBACSchema.typeName}`],
  create: (config) => createNetworkRbac(compileNetworkRbac(fromBinary(RBACSchema, config.value))),
} as const satisfies NetworkFilterExtension;
