/** Endpoints of the clusters that ask for them by name. */
import { create } from '@bufbuild/protobuf';
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { typeUrls } from '#xds/type_url.ts';
import { buildEndpoints } from '../networking/endpoints.ts';
import type { Generator } from './generator.ts';

/** A cluster that has gone from the registry while proxies still ask for it: it warms, and has no endpoints. */
function empty(clusterName: string): ClusterLoadAssignment {
  return create(ClusterLoadAssignmentSchema, { clusterName });
}

export const eds: Generator = {
  typeUrl: typeUrls.eds,
  onEndpoints: true,
  named: true,
  generate: (proxy, context, names) => {
    const built = buildEndpoints(proxy, context, names);
    const known = new Set(built.map(({ clusterName }) => clusterName));
    const missing = names.filter((name) => !known.has(name)).map(empty);
    return [...built, ...missing].map((assignment) =>
      encodeResource(ClusterLoadAssignmentSchema, assignment.clusterName, assignment),
    );
  },
};
