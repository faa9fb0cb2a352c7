/** Clusters that every proxy has, and the pieces that all clusters share. */
import { create, type JsonObject } from '@bufbuild/protobuf';
import {
  type CircuitBreakers,
  CircuitBreakersSchema,
} from '#api/gen/envoy/config/cluster/v3/circuit_breaker_pb.ts';
import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  ClusterSchema,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { type BindConfig, BindConfigSchema } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import { type Metadata, MetadataSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  fixedCluster,
  INBOUND_PASSTHROUGH_SOURCE,
  INBOUND_PASSTHROUGH_SOURCE_V6,
  metadataKey,
} from '#api/well_known.ts';
import type { MeshIndex } from '../../model/mesh_index.ts';
import { durationOf } from '../wire.ts';
import { downstreamProtocolOptions, withProtocolOptions } from './protocol_options.ts';

/** Practically no limit: what Istio sets where a DestinationRule sets none (Envoy's own default is 1024). */
export const unlimited = 4_294_967_295;

/** Circuit breakers without limits; what is left of them is counted. */
export function openCircuitBreakers(): CircuitBreakers {
  return create(CircuitBreakersSchema, {
    thresholds: [
      {
        maxConnections: unlimited,
        maxPendingRequests: unlimited,
        maxRequests: unlimited,
        maxRetries: unlimited,
        trackRemaining: true,
      },
    ],
  });
}

/** Metadata `istio`: where a resource comes from. */
export function istioMetadata(fields: JsonObject): Metadata {
  return create(MetadataSchema, { filterMetadata: { [metadataKey.istio]: fields } });
}

/** Connections to the application come from 127.0.0.6, which capture lets pass. */
export function inboundBindConfig(ipv6: boolean): BindConfig {
  return create(BindConfigSchema, {
    sourceAddress: {
      address: ipv6 ? INBOUND_PASSTHROUGH_SOURCE_V6 : INBOUND_PASSTHROUGH_SOURCE,
      portSpecifier: { case: 'portValue', value: 0 },
    },
  });
}

/** A cluster to the address that the caller asked for. */
export function originalDstCluster(name: string, mesh: MeshIndex): Cluster {
  return create(ClusterSchema, {
    name,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.ORIGINAL_DST },
    connectTimeout: durationOf(mesh.connectTimeoutMs),
    lbPolicy: Cluster_LbPolicy.CLUSTER_PROVIDED,
    circuitBreakers: openCircuitBreakers(),
  });
}

/** `PassthroughCluster`. */
export function passthroughCluster(mesh: MeshIndex): Cluster {
  return withProtocolOptions(originalDstCluster(fixedCluster.passthrough, mesh), downstreamProtocolOptions());
}

/** `InboundPassthroughCluster`. */
export function inboundPassthroughCluster(mesh: MeshIndex, ipv6: boolean): Cluster {
  const cluster = originalDstCluster(fixedCluster.inboundPassthrough, mesh);
  cluster.upstreamBindConfig = inboundBindConfig(ipv6);
  return withProtocolOptions(cluster, downstreamProtocolOptions());
}

/** `BlackHoleCluster`. */
export function blackHoleCluster(mesh: MeshIndex): Cluster {
  return create(ClusterSchema, {
    name: fixedCluster.blackHole,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.STATIC },
    connectTimeout: durationOf(mesh.connectTimeoutMs),
  });
}
