/** Why a host is not taken, or taken last: one bit per cause (envoy Host::HealthFlag). */
export const HealthFlag = {
  /** An active health check failed. */
  failedActiveHc: 1,
  /** Outlier detection took it out. */
  failedOutlierCheck: 2,
  /** EDS says UNHEALTHY or TIMEOUT. */
  failedEdsHealth: 4,
  /** The health check's answer said so (`x-envoy-degraded`). */
  degradedActiveHc: 8,
  /** EDS says DEGRADED. */
  degradedEdsHealth: 16,
  /** Gone from its cluster, kept because its health checks pass. */
  pendingDynamicRemoval: 32,
  /** New, and no health check has answered yet; such hosts do not count for panic and shares. */
  pendingActiveHc: 64,
  /** The answer said that the host takes no traffic now (`x-envoy-immediate-health-check-fail`). */
  excludedViaImmediateHcFail: 128,
  /** The last health check got no answer in time. */
  activeHcTimeout: 256,
  /** EDS says DRAINING. */
  edsStatusDraining: 512,
  /** An answer to a request said so (`x-envoy-degraded`). */
  degradedOutlierDetection: 1024,
} as const;

/** With one of them a host is unhealthy. */
export const unhealthyFlags =
  HealthFlag.failedActiveHc |
  HealthFlag.failedOutlierCheck |
  HealthFlag.failedEdsHealth |
  HealthFlag.edsStatusDraining;

/** With one of them, and none of the above, a host is used when healthy ones cannot take the load. */
export const degradedFlags =
  HealthFlag.degradedActiveHc | HealthFlag.degradedEdsHealth | HealthFlag.degradedOutlierDetection;

/** With one of them a host counts for nothing. */
export const excludedFlags = HealthFlag.pendingActiveHc | HealthFlag.excludedViaImmediateHcFail;

/** Names as `/clusters` writes them, in its order. */
const flagNames: readonly (readonly [number, string])[] = [
  [HealthFlag.failedActiveHc, '/failed_active_hc'],
  [HealthFlag.failedOutlierCheck, '/failed_outlier_check'],
  [HealthFlag.failedEdsHealth, '/failed_eds_health'],
  [HealthFlag.degradedActiveHc, '/degraded_active_hc'],
  [HealthFlag.degradedEdsHealth, '/degraded_eds_health'],
  [HealthFlag.pendingDynamicRemoval, '/pending_dynamic_removal'],
  [HealthFlag.pendingActiveHc, '/pending_active_hc'],
  [HealthFlag.excludedViaImmediateHcFail, '/excluded_via_immediate_hc_fail'],
  [HealthFlag.activeHcTimeout, '/active_hc_timeout'],
  [HealthFlag.edsStatusDraining, '/eds_status_draining'],
  [HealthFlag.degradedOutlierDetection, '/degraded_outlier_detection'],
];

/** `healthy`, or the names of the flags one after the other (`health_flags` of `/clusters`). */
export function healthFlagsText(flags: number): string {
  let text = '';
  for (const [flag, name] of flagNames) if ((flags & flag) !== 0) text += name;
  return text === '' ? 'healthy' : text;
}
