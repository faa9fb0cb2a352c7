/** What a load balancing policy is and what it balances over (envoy/upstream/load_balancer.h, host sets). */
import type { LoadBalancingPolicy } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { ExtensionFactory } from '../registry.ts';
import type { LoadBalancerStats } from './load_balancer_stats.ts';
import type { Host, LoadBalancerContext } from './upstream.ts';

/** Hosts of one locality inside one priority. */
export interface LocalityHosts {
  readonly locality: Host['locality'];
  /** `load_balancing_weight` of the locality; 0 takes no load when localities are weighted. */
  readonly weight: number;
  readonly hosts: readonly Host[];
  readonly healthyHosts: readonly Host[];
  readonly degradedHosts: readonly Host[];
  /** Hosts that count for nothing until a first health check has answered. */
  readonly excludedCount: number;
}

/** Hosts of one priority. Replaced as a whole when hosts or their health change. */
export interface HostSet {
  readonly priority: number;
  readonly hosts: readonly Host[];
  readonly healthyHosts: readonly Host[];
  readonly degradedHosts: readonly Host[];
  readonly excludedCount: number;
  readonly localities: readonly LocalityHosts[];
  /** Percent, 140 means that a priority takes all load while 72 percent of its hosts are healthy. */
  readonly overprovisioningFactor: number;
}

/** Chooses hosts for one cluster of one worker. */
export interface LoadBalancer {
  /** Undefined when no host may be used. */
  chooseHost(context: LoadBalancerContext): Host | undefined;
  /** Hosts or their health changed; `sets` is indexed by priority. */
  update(sets: readonly HostSet[]): void;
}

/** What zone-aware routing knows of this proxy's own side. */
export interface LocalSide {
  /** Locality of this proxy's node. */
  readonly locality: Host['locality'];
  /** Priority 0 of the cluster that this proxy belongs to (`local_cluster_name`); undefined while it is not known. */
  hosts(): HostSet | undefined;
}

/** Settings of `common_lb_config` that every policy obeys. */
export interface LoadBalancerOptions {
  /** Percent of healthy hosts under which health is ignored; 0 switches that off. Default 50. */
  readonly healthyPanicThreshold: number;
  readonly stats: LoadBalancerStats;
  /** Undefined where the bootstrap names no local cluster: zone-aware routing is then off. */
  readonly local: LocalSide | undefined;
  /** Balancers of policies that hold others (subset). Throws Error when none of the policies is compiled in. */
  createChild(policy: LoadBalancingPolicy | undefined): LoadBalancer;
  /** Numbers in [0, 1). */
  random(): number;
}

/** Extension kind `load_balancing_policy`; `create` throws Error for a bad configuration. */
export interface LoadBalancingPolicyExtension extends ExtensionFactory {
  create(config: { readonly value: Uint8Array }, options: LoadBalancerOptions): LoadBalancer;
}
