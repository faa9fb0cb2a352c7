/** Reads `locality_lb_config` (envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig). */
import {
  type LocalityLbConfig,
  LocalityLbConfig_ZoneAwareLbConfig_LocalityBasis as Basis,
} from '#api/gen/envoy/extensions/load_balancing_policies/common/v3/common_pb.ts';

/** `ZoneAwareLbConfig`. */
export interface ZoneAwareOptions {
  /** Percent of the requests that are looked at. Default 100. */
  readonly routingPercent: number;
  /** Fewest healthy hosts of the upstream. Default 6. */
  readonly minClusterSize: number;
  /** No host in place of any host when a priority, or this proxy's own cluster, panics. */
  readonly failOnPanic: boolean;
  /** Hosts of the own zone take everything when there are at least so many of them; 0 switches that off. */
  readonly forceLocalMinSize: number;
  /** Zones are compared by the weights of their hosts in place of their number. */
  readonly byWeight: boolean;
}

/** How a policy treats localities. */
export interface LocalityOptions {
  /** Load goes to localities by their weights. */
  readonly weighted: boolean;
  readonly zoneAware: ZoneAwareOptions | undefined;
}

/** Localities are not looked at. */
export const noLocality: LocalityOptions = { weighted: false, zoneAware: undefined };

export function readLocalityConfig(config: LocalityLbConfig | undefined): LocalityOptions {
  const specifier = config?.localityConfigSpecifier;
  if (specifier?.case === 'localityWeightedLbConfig') return { weighted: true, zoneAware: undefined };
  if (specifier?.case !== 'zoneAwareLbConfig') return noLocality;
  const { routingEnabled, minClusterSize, failTrafficOnPanic, forceLocalZone, localityBasis } =
    specifier.value;
  const force =
    forceLocalZone === undefined
      ? specifier.value.forceLocalityDirectRouting
        ? 1
        : 0
      : (forceLocalZone.minSize ?? 1);
  return {
    weighted: false,
    zoneAware: {
      routingPercent: routingEnabled?.value ?? 100,
      minClusterSize: Number(minClusterSize ?? 6n),
      failOnPanic: failTrafficOnPanic,
      forceLocalMinSize: force,
      byWeight: localityBasis === Basis.HEALTHY_HOSTS_WEIGHT,
    },
  };
}
