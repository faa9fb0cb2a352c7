/** Counters that balancers keep. */

/** Plain numbers (`cluster.<name>.lb_*`). */
export interface LoadBalancerStats {
  healthyPanic: number;
  recalculateZoneStructures: number;
  subsetsActive: number;
  subsetsCreated: number;
  subsetsRemoved: number;
  subsetsSelected: number;
  subsetsFallback: number;
  subsetsFallbackPanic: number;
  zoneClusterTooSmall: number;
  zoneNoCapacityLeft: number;
  zoneNumberDiffers: number;
  zoneRoutingAllDirectly: number;
  zoneRoutingSampled: number;
  zoneRoutingCrossZone: number;
  localClusterNotOk: number;
}

export function newLoadBalancerStats(): LoadBalancerStats {
  return {
    healthyPanic: 0,
    recalculateZoneStructures: 0,
    subsetsActive: 0,
    subsetsCreated: 0,
    subsetsRemoved: 0,
    subsetsSelected: 0,
    subsetsFallback: 0,
    subsetsFallbackPanic: 0,
    zoneClusterTooSmall: 0,
    zoneNoCapacityLeft: 0,
    zoneNumberDiffers: 0,
    zoneRoutingAllDirectly: 0,
    zoneRoutingSampled: 0,
    zoneRoutingCrossZone: 0,
    localClusterNotOk: 0,
  };
}
