/** Which load balancing policy a cluster asks for: `load_balancing_policy`, else the older `lb_policy` and its config. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type Cluster,
  Cluster_LbPolicy as LbPolicy,
  Cluster_RingHashLbConfig_HashFunction as OldHashFunction,
  type Cluster_LbSubsetConfig,
  type Cluster_SlowStartConfig,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import {
  type LocalityLbConfig,
  LocalityLbConfigSchema,
  LocalityLbConfig_LocalityWeightedLbConfigSchema,
  LocalityLbConfig_ZoneAwareLbConfigSchema,
  type SlowStartConfig,
  SlowStartConfigSchema,
} from '#api/gen/envoy/extensions/load_balancing_policies/common/v3/common_pb.ts';
import { LeastRequestSchema } from '#api/gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.ts';
import { MaglevSchema } from '#api/gen/envoy/extensions/load_balancing_policies/maglev/v3/maglev_pb.ts';
import { RandomSchema } from '#api/gen/envoy/extensions/load_balancing_policies/random/v3/random_pb.ts';
import {
  RingHash_HashFunction,
  RingHashSchema,
} from '#api/gen/envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash_pb.ts';
import { RoundRobinSchema } from '#api/gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.ts';
import {
  SubsetSchema,
  type Subset_LbSubsetFallbackPolicy,
  type Subset_LbSubsetMetadataFallbackPolicy,
  type Subset_LbSubsetSelector_LbSubsetSelectorFallbackPolicy as SelectorFallback,
} from '#api/gen/envoy/extensions/load_balancing_policies/subset/v3/subset_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ExtensionRegistry } from '../registry.ts';
import type { LoadBalancer, LoadBalancerOptions, LoadBalancingPolicyExtension } from './load_balancer.ts';

interface PolicyConfig {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** `common_lb_config` says for all old policies what the new ones say each for itself. */
function localityConfig(cluster: Cluster): { localityLbConfig?: LocalityLbConfig } {
  const specifier = cluster.commonLbConfig?.localityConfigSpecifier;
  if (specifier?.case === 'localityWeightedLbConfig') {
    const value = create(LocalityLbConfig_LocalityWeightedLbConfigSchema);
    const config = { case: 'localityWeightedLbConfig' as const, value };
    return { localityLbConfig: create(LocalityLbConfigSchema, { localityConfigSpecifier: config }) };
  }
  if (specifier?.case !== 'zoneAwareLbConfig') return {};
  const { failTrafficOnPanic, routingEnabled, minClusterSize } = specifier.value;
  const value = create(LocalityLbConfig_ZoneAwareLbConfigSchema, { failTrafficOnPanic });
  value.routingEnabled = routingEnabled;
  value.minClusterSize = minClusterSize;
  const config = { case: 'zoneAwareLbConfig' as const, value };
  return { localityLbConfig: create(LocalityLbConfigSchema, { localityConfigSpecifier: config }) };
}

function slowStart(old: Cluster_SlowStartConfig | undefined): { slowStartConfig?: SlowStartConfig } {
  if (old === undefined) return {};
  const slowStartConfig = create(SlowStartConfigSchema);
  slowStartConfig.slowStartWindow = old.slowStartWindow;
  slowStartConfig.aggression = old.aggression;
  slowStartConfig.minWeightPercent = old.minWeightPercent;
  return { slowStartConfig };
}

function hashing(cluster: Cluster) {
  const config = cluster.commonLbConfig?.consistentHashingLbConfig;
  const weighted =
    cluster.commonLbConfig?.localityConfigSpecifier.case === 'localityWeightedLbConfig'
      ? { localityWeightedLbConfig: {} }
      : {};
  if (config === undefined) return weighted;
  const { useHostnameForHashing, hashBalanceFactor } = config;
  return {
    ...weighted,
    consistentHashingLbConfig: {
      useHostnameForHashing,
      ...(hashBalanceFactor === undefined ? {} : { hashBalanceFactor }),
    },
  };
}

/** The old fields written as a policy of the new form. */
function legacyPolicy(cluster: Cluster): PolicyConfig {
  const { lbConfig } = cluster;
  const locality = localityConfig(cluster);
  switch (cluster.lbPolicy) {
    case LbPolicy.LEAST_REQUEST: {
      const old = lbConfig.case === 'leastRequestLbConfig' ? lbConfig.value : undefined;
      const message = create(LeastRequestSchema, {
        ...locality,
        ...slowStart(old?.slowStartConfig),
        ...(old?.choiceCount === undefined ? {} : { choiceCount: old.choiceCount }),
        ...(old?.activeRequestBias === undefined ? {} : { activeRequestBias: old.activeRequestBias }),
      });
      return { typeUrl: typeUrlOf(LeastRequestSchema), value: toBinary(LeastRequestSchema, message) };
    }
    case LbPolicy.RANDOM:
      return {
        typeUrl: typeUrlOf(RandomSchema),
        value: toBinary(RandomSchema, create(RandomSchema, locality)),
      };
    case LbPolicy.RING_HASH: {
      const old = lbConfig.case === 'ringHashLbConfig' ? lbConfig.value : undefined;
      const message = create(RingHashSchema, {
        ...hashing(cluster),
        hashFunction:
          old?.hashFunction === OldHashFunction.MURMUR_HASH_2
            ? RingHash_HashFunction.MURMUR_HASH_2
            : RingHash_HashFunction.XX_HASH,
        ...(old?.minimumRingSize === undefined ? {} : { minimumRingSize: old.minimumRingSize }),
        ...(old?.maximumRingSize === undefined ? {} : { maximumRingSize: old.maximumRingSize }),
      });
      return { typeUrl: typeUrlOf(RingHashSchema), value: toBinary(RingHashSchema, message) };
    }
    case LbPolicy.MAGLEV: {
      const old = lbConfig.case === 'maglevLbConfig' ? lbConfig.value : undefined;
      const message = create(MaglevSchema, {
        ...hashing(cluster),
        ...(old?.tableSize === undefined ? {} : { tableSize: old.tableSize }),
      });
      return { typeUrl: typeUrlOf(MaglevSchema), value: toBinary(MaglevSchema, message) };
    }
    default: {
      const old = lbConfig.case === 'roundRobinLbConfig' ? lbConfig.value : undefined;
      const message = create(RoundRobinSchema, { ...locality, ...slowStart(old?.slowStartConfig) });
      return { typeUrl: typeUrlOf(RoundRobinSchema), value: toBinary(RoundRobinSchema, message) };
    }
  }
}

// The old enums and the new ones have the same numbers.
/** `lb_subset_config` around the policy that its subsets balance by. */
function subsetPolicy(config: Cluster_LbSubsetConfig, inner: PolicyConfig): PolicyConfig {
  const message = create(SubsetSchema, {
    fallbackPolicy: config.fallbackPolicy as number as Subset_LbSubsetFallbackPolicy,
    subsetSelectors: config.subsetSelectors.map((selector) => ({
      keys: selector.keys,
      singleHostPerSubset: selector.singleHostPerSubset,
      fallbackPolicy: selector.fallbackPolicy as number as SelectorFallback,
      fallbackKeysSubset: selector.fallbackKeysSubset,
    })),
    localityWeightAware: config.localityWeightAware,
    scaleLocalityWeight: config.scaleLocalityWeight,
    panicModeAny: config.panicModeAny,
    listAsAny: config.listAsAny,
    metadataFallbackPolicy: config.metadataFallbackPolicy as number as Subset_LbSubsetMetadataFallbackPolicy,
    subsetLbPolicy: {
      policies: [
        {
          typedExtensionConfig: {
            name: 'inner',
            typedConfig: { typeUrl: inner.typeUrl, value: inner.value },
          },
        },
      ],
    },
    ...(config.defaultSubset === undefined ? {} : { defaultSubset: config.defaultSubset }),
  });
  return { typeUrl: typeUrlOf(SubsetSchema), value: toBinary(SubsetSchema, message) };
}

/** What balancers get from their cluster. */
export type LoadBalancerEnvironment = Pick<LoadBalancerOptions, 'stats' | 'local'>;

/**
 * Makes the balancer of a cluster; of several policies the first that is compiled in counts, as in Envoy.
 * @throws Error when none is, or when its configuration is bad.
 */
export function createLoadBalancer(
  cluster: Cluster,
  registry: ExtensionRegistry,
  environment: LoadBalancerEnvironment,
): LoadBalancer {
  const find = (typeUrl: string): LoadBalancingPolicyExtension | undefined =>
    registry.find('load_balancing_policy', typeUrl) as LoadBalancingPolicyExtension | undefined;
  const options: LoadBalancerOptions = {
    ...environment,
    healthyPanicThreshold: cluster.commonLbConfig?.healthyPanicThreshold?.value ?? 50,
    random: Math.random,
    createChild(policy) {
      const policies = policy?.policies ?? [];
      for (const { typedExtensionConfig } of policies) {
        const any = typedExtensionConfig?.typedConfig;
        const factory = any === undefined ? undefined : find(any.typeUrl);
        if (any !== undefined && factory !== undefined) return factory.create(any, options);
      }
      const names = policies.map(({ typedExtensionConfig }) => typedExtensionConfig?.name ?? '').join(', ');
      throw new Error(`none of the load balancing policies is compiled in: ${names}`);
    },
  };
  if (cluster.loadBalancingPolicy !== undefined) return options.createChild(cluster.loadBalancingPolicy);
  const plain = legacyPolicy(cluster);
  const subsets = cluster.lbSubsetConfig;
  const config =
    subsets === undefined || subsets.subsetSelectors.length === 0 ? plain : subsetPolicy(subsets, plain);
  const factory = find(config.typeUrl);
  if (factory === undefined) throw new Error(`load balancing policy ${config.typeUrl} is not compiled in`);
  return factory.create(config, options);
}
