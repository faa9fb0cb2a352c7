/** Clusters: where requests can go. */
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { typeUrls } from '#xds/type_url.ts';
import { buildClusters } from '../networking/clusters.ts';
import type { Generator } from './generator.ts';

export const cds: Generator = {
  typeUrl: typeUrls.cds,
  onEndpoints: false,
  named: false,
  generate: (proxy, context) =>
    buildClusters(proxy, context).map((cluster) => encodeResource(ClusterSchema, cluster.name, cluster)),
};
