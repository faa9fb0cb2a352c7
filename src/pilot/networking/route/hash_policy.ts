/** What hash load balancers hash: it stands in the route, the balancer in the cluster. */
import { create } from '@bufbuild/protobuf';
import {
  type RouteAction_HashPolicy,
  RouteAction_HashPolicySchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { ConsistentHashLB } from '#config/kinds/destination_rule/types.ts';
import { parseDuration } from '../wire.ts';

/** The hash policy of a consistentHash block; undefined when it names no key. */
export function hashPolicy(hash: ConsistentHashLB | undefined): RouteAction_HashPolicy | undefined {
  if (hash === undefined) return undefined;
  if (hash.httpHeaderName !== undefined) {
    return create(RouteAction_HashPolicySchema, {
      policySpecifier: { case: 'header', value: { headerName: hash.httpHeaderName } },
    });
  }
  if (hash.httpCookie !== undefined) {
    const ttl = parseDuration(hash.httpCookie.ttl);
    return create(RouteAction_HashPolicySchema, {
      policySpecifier: {
        case: 'cookie',
        value: {
          name: hash.httpCookie.name ?? '',
          path: hash.httpCookie.path ?? '',
          ...(ttl === undefined ? {} : { ttl }),
          attributes: (hash.httpCookie.attributes ?? []).map(({ name, value }) => ({
            name: name ?? '',
            value: value ?? '',
          })),
        },
      },
    });
  }
  if (hash.useSourceIp === true) {
    return create(RouteAction_HashPolicySchema, {
      policySpecifier: { case: 'connectionProperties', value: { sourceIp: true } },
    });
  }
  if (hash.httpQueryParameterName !== undefined) {
    return create(RouteAction_HashPolicySchema, {
      policySpecifier: { case: 'queryParameter', value: { name: hash.httpQueryParameterName } },
    });
  }
  return undefined;
}
