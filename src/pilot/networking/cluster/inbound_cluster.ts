/** Clusters to the proxy's own application: one per port that it serves. */
import { create } from '@bufbuild/protobuf';
import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  ClusterSchema,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { buildClusterName } from '#api/cluster_name.ts';
import type { ConnectionPoolSettings } from '#config/kinds/destination_rule/types.ts';
import type { MeshIndex } from '../../model/mesh_index.ts';
import type { InboundPort } from '../../model/inbound_port.ts';
import { buildAddress } from '../address.ts';
import { durationOf } from '../wire.ts';
import { inboundBindConfig, istioMetadata } from './fixed_clusters.ts';
import { protocolOptions, withProtocolOptions } from './protocol_options.ts';
import { applyTrafficPolicy } from './traffic_policy.ts';

/** Name of the cluster of an inbound port. */
export function inboundClusterName(port: number): string {
  return buildClusterName({ direction: 'inbound', port, subset: '', host: '' });
}

/** Idle connections to the application's old addresses are forgotten after this time. */
const cleanupIntervalMs = 60_000;

/**
 * The cluster of an inbound port. Captured connections go where they were going, from 127.0.0.6; a Sidecar object may name
 * another endpoint.
 */
export function inboundCluster(
  port: InboundPort,
  mesh: MeshIndex,
  pool: ConnectionPoolSettings | undefined,
  ipv6: boolean,
): Cluster {
  const name = inboundClusterName(port.targetPort);
  const { endpoint } = port;
  const cluster = create(ClusterSchema, { name });
  if (endpoint === undefined) {
    cluster.clusterDiscoveryType = { case: 'type', value: Cluster_DiscoveryType.ORIGINAL_DST };
    cluster.lbPolicy = Cluster_LbPolicy.CLUSTER_PROVIDED;
    cluster.cleanupInterval = durationOf(cleanupIntervalMs);
    cluster.upstreamBindConfig = inboundBindConfig(ipv6);
  } else {
    cluster.clusterDiscoveryType = { case: 'type', value: Cluster_DiscoveryType.STATIC };
    cluster.loadAssignment = create(ClusterSchema, {
      loadAssignment: {
        clusterName: name,
        endpoints: [
          {
            lbEndpoints: [
              {
                hostIdentifier: {
                  case: 'endpoint',
                  value: { address: buildAddress(endpoint.address, endpoint.port) },
                },
              },
            ],
          },
        ],
      },
    }).loadAssignment;
  }
  applyTrafficPolicy(cluster, pool === undefined ? {} : { connectionPool: pool }, mesh);
  withProtocolOptions(cluster, protocolOptions(port.protocol, pool, false));
  cluster.metadata = istioMetadata({
    services: port.services.map(({ hostname, name: service, namespace }) => ({
      host: hostname,
      name: service,
      namespace,
    })),
  });
  return cluster;
}
