/** Reads `locality_lb_config` (envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig). */
import type { LocalityLbConfig } from '#api/gen/envoy/extensions/load_balancing_policies/common/v3/common_pb.ts';

/** How a policy treats localities. */
export interface LocalityOptions {
  /** Load goes to localities by their weights. */
  readonly weighted: boolean;
  /** No host in place of any host when a priority panics. */
  readonly failOnPanic: boolean;
}

export function readLocalityConfig(config: LocalityLbConfig | undefined): LocalityOptions {
  const specifier = config?.localityConfigSpecifier;
  return {
    weighted: specifier?.case === 'localityWeightedLbConfig',
    failOnPanic: specifier?.case === 'zoneAwareLbConfig' && specifier.value.failTrafficOnPanic,
  };
}
