/** What a load balancing policy is and what it balances over (envoy/upstream/load_balancer.h, host sets). */
import type { ExtensionFactory } from '../registry.ts';
import type { Host, LoadBalancerContext } from './upstream.ts';

/** Hosts of one locality inside one priority. */
export interface LocalityHosts {
  readonly locality: Host['locality'];
  /** `load_balancing_weight` of the locality; 0 takes no load when localities are weighted. */
  readonly weight: number;
  readonly hosts: readonly Host[];
  readonly healthyHosts: readonly Host[];
}

/** Hosts of one priority. Replaced as a whole when hosts or their health change. */
export interface HostSet {
  readonly priority: number;
  readonly hosts: readonly Host[];
  readonly healthyHosts: readonly Host[];
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

/** Settings of `common_lb_config` that every policy obeys. */
export interface LoadBalancerOptions {
  /** Percent of healthy hosts under which health is ignored; 0 switches that off. Default 50. */
  readonly healthyPanicThreshold: number;
  /** Numbers in [0, 1). */
  random(): number;
}

/** Extension kind `load_balancing_policy`; `create` throws Error for a bad configuration. */
export interface LoadBalancingPolicyExtension extends ExtensionFactory {
  create(config: { readonly value: Uint8Array }, options: LoadBalancerOptions): LoadBalancer;
}
