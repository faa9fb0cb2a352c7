/** Endpoints of a cluster as Envoy wants them: grouped by locality, near ones first where localities decide. */
import { create } from '@bufbuild/protobuf';
import { HealthStatus } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import {
  type LbEndpoint,
  LbEndpointSchema,
  type LocalityLbEndpoints,
  LocalityLbEndpointsSchema,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_components_pb.ts';
import { metadataKey } from '#api/well_known.ts';
import type { Endpoint, Locality } from '../../model/service.ts';
import { buildAddress } from '../address.ts';

/** Gives each locality a priority and a weight. */
export type LocalityPolicy = (groups: readonly LocalityGroup[]) => readonly LocalityGroup[];

/** Endpoints of one locality. */
export interface LocalityGroup {
  readonly locality: Locality;
  readonly endpoints: readonly Endpoint[];
  /** 0 is tried first. */
  readonly priority: number;
  /** Share among the localities of its priority; undefined: the sum of the endpoints'. */
  readonly weight: number | undefined;
}

/** Messages of endpoints, which several clusters (subsets) and proxies share. */
const built = new WeakMap<Endpoint, LbEndpoint>();

function lbEndpoint(endpoint: Endpoint): LbEndpoint {
  const present = built.get(endpoint);
  if (present !== undefined) return present;
  const filterMetadata = {
    ...(endpoint.workload === '' ? {} : { [metadataKey.istio]: { workload: endpoint.workload } }),
    ...(endpoint.tlsMode === 'istio' ? { [metadataKey.transportSocketMatch]: { tlsMode: 'istio' } } : {}),
  };
  const message = create(LbEndpointSchema, {
    hostIdentifier: {
      case: 'endpoint',
      value: { address: buildAddress(endpoint.address, endpoint.port) },
    },
    healthStatus: endpoint.healthy ? HealthStatus.HEALTHY : HealthStatus.UNHEALTHY,
    loadBalancingWeight: endpoint.weight || 1,
    ...(Object.keys(filterMetadata).length === 0 ? {} : { metadata: { filterMetadata } }),
  });
  built.set(endpoint, message);
  return message;
}

function groupByLocality(endpoints: readonly Endpoint[]): LocalityGroup[] {
  const groups = new Map<string, { locality: Locality; endpoints: Endpoint[] }>();
  for (const endpoint of endpoints) {
    const { region, zone, subzone } = endpoint.locality;
    const key = `${region}/${zone}/${subzone}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { locality: endpoint.locality, endpoints: [endpoint] });
    else group.endpoints.push(endpoint);
  }
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, group]) => ({ ...group, priority: 0, weight: undefined }));
}

function buildGroup(group: LocalityGroup): LocalityLbEndpoints {
  const { region, zone, subzone } = group.locality;
  const sum = group.endpoints.reduce((total, endpoint) => total + (endpoint.weight || 1), 0);
  return create(LocalityLbEndpointsSchema, {
    locality: { region, zone, subZone: subzone },
    lbEndpoints: group.endpoints.map(lbEndpoint),
    loadBalancingWeight: group.weight ?? sum,
    priority: group.priority,
  });
}

/** The load assignment of a cluster; without a policy all localities are alike. */
export function buildLoadAssignment(
  clusterName: string,
  endpoints: readonly Endpoint[],
  policy: LocalityPolicy | undefined,
): ClusterLoadAssignment {
  const groups = groupByLocality(endpoints);
  const ordered = policy === undefined ? groups : policy(groups);
  return create(ClusterLoadAssignmentSchema, {
    clusterName,
    endpoints: ordered.filter((group) => group.endpoints.length > 0).map(buildGroup),
  });
}
