/** DestinationRule.trafficPolicy.loadBalancer of a cluster. */
import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { create } from '@bufbuild/protobuf';
import {
  Cluster_CommonLbConfigSchema,
  Cluster_CommonLbConfig_ZoneAwareLbConfigSchema,
  Cluster_SlowStartConfigSchema,
  type Cluster_SlowStartConfig,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type {
  ConsistentHashLB,
  LoadBalancerSettings,
  LocalityLoadBalancerSetting,
  ZoneAwareLoadBalancerSetting,
} from '#config/kinds/destination_rule/types.ts';
import type { EffectivePolicy } from '../../model/destination_rule_index.ts';
import type { MeshIndex } from '../../model/mesh_index.ts';
import type { Service } from '../../model/service.ts';
import { durationOf, parseDuration } from '../wire.ts';

/** Fewest nodes on a hash ring, unless the rule says otherwise (Istio). */
const defaultRingSize = 1024;
/** Entries of a Maglev table, unless the rule says otherwise (Envoy). */
const defaultMaglevTable = 65_537;

function slowStart(settings: LoadBalancerSettings | undefined): Cluster_SlowStartConfig | undefined {
  const { warmup } = settings ?? {};
  const slowStartWindow = parseDuration(warmup?.duration ?? settings?.warmupDurationSecs);
  if (slowStartWindow === undefined) return undefined;
  return create(Cluster_SlowStartConfigSchema, {
    slowStartWindow,
    ...(warmup?.aggression === undefined
      ? {}
      : { aggression: { defaultValue: warmup.aggression, runtimeKey: '' } }),
    ...(warmup?.minimumPercent === undefined ? {} : { minWeightPercent: { value: warmup.minimumPercent } }),
  });
}

function applyConsistentHash(cluster: Cluster, hash: ConsistentHashLB): void {
  if (hash.maglev !== undefined) {
    cluster.lbPolicy = Cluster_LbPolicy.MAGLEV;
    cluster.lbConfig = {
      case: 'maglevLbConfig',
      value: {
        $typeName: 'envoy.config.cluster.v3.Cluster.MaglevLbConfig',
        tableSize: BigInt(hash.maglev.tableSize ?? defaultMaglevTable),
      },
    };
    return;
  }
  cluster.lbPolicy = Cluster_LbPolicy.RING_HASH;
  cluster.lbConfig = {
    case: 'ringHashLbConfig',
    value: {
      $typeName: 'envoy.config.cluster.v3.Cluster.RingHashLbConfig',
      hashFunction: 0,
      minimumRingSize: BigInt(hash.ringHash?.minimumRingSize ?? hash.minimumRingSize ?? defaultRingSize),
    },
  };
}

/** To the address that the caller asked for, in place of a choice. */
function applyPassthrough(cluster: Cluster): void {
  cluster.clusterDiscoveryType = { case: 'type', value: Cluster_DiscoveryType.ORIGINAL_DST };
  cluster.lbPolicy = Cluster_LbPolicy.CLUSTER_PROVIDED;
  cluster.edsClusterConfig = undefined;
  cluster.loadAssignment = undefined;
}

/**
 * The setting of zone-aware balancing, or undefined when it is off. A rule that says how localities are balanced keeps the
 * mesh's setting out. It needs a proxy that knows its own workload; others fall back to localities.
 */
export function zoneAware(
  policy: EffectivePolicy,
  mesh: MeshIndex,
): ZoneAwareLoadBalancerSetting | undefined {
  const own = policy.loadBalancer?.zoneAwareLbSetting;
  const ofMesh = mesh.config.zoneAwareLbSetting;
  if (own !== undefined) return (own.enabled ?? ofMesh?.enabled) === true ? own : undefined;
  if (policy.loadBalancer?.localityLbSetting !== undefined) return undefined;
  return ofMesh?.enabled === true ? ofMesh : undefined;
}

/** Sets policy and configuration of the load balancer. Without settings it is LEAST_REQUEST, Istio's default. */
export function applyLoadBalancer(
  cluster: Cluster,
  policy: EffectivePolicy,
  mesh: MeshIndex,
  service: Service,
  selfDiscovery: boolean,
): void {
  const type = cluster.clusterDiscoveryType.value;
  if (type === Cluster_DiscoveryType.ORIGINAL_DST) return;
  cluster.commonLbConfig ??= create(Cluster_CommonLbConfigSchema);
  const zones = selfDiscovery ? zoneAware(policy, mesh) : undefined;
  if (zones !== undefined) {
    cluster.commonLbConfig.localityConfigSpecifier = {
      case: 'zoneAwareLbConfig',
      value: create(
        Cluster_CommonLbConfig_ZoneAwareLbConfigSchema,
        zones.minClusterSize === undefined ? {} : { minClusterSize: BigInt(zones.minClusterSize) },
      ),
    };
  } else if (localityAware(policy, mesh, service) !== undefined) {
    cluster.commonLbConfig.localityConfigSpecifier = {
      case: 'localityWeightedLbConfig',
      value: { $typeName: 'envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig' },
    };
  }
  const settings = policy.loadBalancer;
  if (settings?.consistentHash !== undefined) return applyConsistentHash(cluster, settings.consistentHash);
  const slowStartConfig = slowStart(settings);
  switch (settings?.simple) {
    case 'PASSTHROUGH':
      return applyPassthrough(cluster);
    case 'RANDOM':
      cluster.lbPolicy = Cluster_LbPolicy.RANDOM;
      return;
    case 'ROUND_ROBIN':
      cluster.lbPolicy = Cluster_LbPolicy.ROUND_ROBIN;
      if (slowStartConfig !== undefined) {
        cluster.lbConfig = {
          case: 'roundRobinLbConfig',
          value: { $typeName: 'envoy.config.cluster.v3.Cluster.RoundRobinLbConfig', slowStartConfig },
        };
      }
      return;
    default:
      cluster.lbPolicy = Cluster_LbPolicy.LEAST_REQUEST;
      if (slowStartConfig !== undefined) {
        cluster.lbConfig = {
          case: 'leastRequestLbConfig',
          value: { $typeName: 'envoy.config.cluster.v3.Cluster.LeastRequestLbConfig', slowStartConfig },
        };
      }
  }
}

/**
 * How localities decide, or undefined when they do not. They do when outlier detection can tell that a locality fails, when
 * shares are spelled out, or when the service itself asks for near endpoints.
 */
export function localityAware(
  policy: EffectivePolicy,
  mesh: MeshIndex,
  service: Service,
): LocalityLoadBalancerSetting | undefined {
  const near: Readonly<Record<string, readonly string[]>> = {
    PreferClose: ['topology.kubernetes.io/region', 'topology.kubernetes.io/zone'],
    PreferSameZone: ['topology.kubernetes.io/region', 'topology.kubernetes.io/zone'],
    PreferSameNode: [
      'topology.kubernetes.io/region',
      'topology.kubernetes.io/zone',
      'topology.istio.io/subzone',
      'kubernetes.io/hostname',
    ],
  };
  const failoverPriority = near[service.trafficDistribution];
  if (failoverPriority !== undefined) return { failoverPriority };
  const setting = policy.loadBalancer?.localityLbSetting ?? mesh.config.localityLbSetting ?? {};
  if (setting.enabled === false) return undefined;
  const distributes = (setting.distribute ?? []).length > 0;
  return distributes || policy.outlierDetection !== undefined ? setting : undefined;
}

/** Default interval and others of slow numbers live in Envoy; this is only the panic threshold, off unless asked for. */
export function setPanicThreshold(cluster: Cluster, percent: number): void {
  cluster.commonLbConfig ??= create(Cluster_CommonLbConfigSchema);
  cluster.commonLbConfig.healthyPanicThreshold = {
    $typeName: 'envoy.type.v3.Percent',
    value: percent,
  };
}

/** How often DNS names are resolved. */
export function dnsRefreshRate(mesh: MeshIndex) {
  return parseDuration(mesh.config.dnsRefreshRate) ?? durationOf(60_000);
}
