/** Settings and counters of outlier detection (envoy.config.cluster.v3.OutlierDetection), with Envoy's defaults. */
import type { OutlierDetection as OutlierProto } from '#api/gen/envoy/config/cluster/v3/outlier_detection_pb.ts';
import { durationMs } from '../network/duration.ts';

/** Why a host is taken out, by Envoy's names (envoy.data.cluster.v3.OutlierEjectionType). */
export type EjectionType =
  | 'CONSECUTIVE_5XX'
  | 'CONSECUTIVE_GATEWAY_FAILURE'
  | 'SUCCESS_RATE'
  | 'CONSECUTIVE_LOCAL_ORIGIN_FAILURE'
  | 'SUCCESS_RATE_LOCAL_ORIGIN'
  | 'FAILURE_PERCENTAGE'
  | 'FAILURE_PERCENTAGE_LOCAL_ORIGIN';

export interface OutlierOptions {
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
  readonly jitterMs: number;
  readonly maxEjectionPercent: number;
  readonly consecutive5xx: number;
  readonly consecutiveGateway: number;
  readonly consecutiveLocal: number;
  readonly split: boolean;
  readonly alwaysEjectOne: boolean;
  /** Hosts whose answers carry `x-envoy-degraded` are taken last for a while. */
  readonly detectDegraded: boolean;
  /** A health check that passes brings a host back at once. */
  readonly unejectOnHealthCheck: boolean;
  readonly successRateHosts: number;
  readonly successRateVolume: number;
  /** Thousandths of the standard deviation, divided. Default 1.9. */
  readonly stdevFactor: number;
  readonly failurePercentage: number;
  readonly failurePercentageHosts: number;
  readonly failurePercentageVolume: number;
  /** Percent of the detections that take effect. */
  readonly enforcing: Readonly<Record<EjectionType, number>>;
}

/** @throws Error that names what is not implemented. */
export function readOutlierOptions(proto: OutlierProto): OutlierOptions {
  if (proto.monitors.length > 0) throw new Error('outlier_detection.monitors is not implemented');
  const baseEjectionMs = durationMs(proto.baseEjectionTime) ?? 30_000;
  return {
    intervalMs: durationMs(proto.interval) ?? 10_000,
    baseEjectionMs,
    maxEjectionMs: Math.max(durationMs(proto.maxEjectionTime) ?? 300_000, baseEjectionMs),
    jitterMs: durationMs(proto.maxEjectionTimeJitter) ?? 0,
    maxEjectionPercent: Math.min(proto.maxEjectionPercent ?? 10, 100),
    consecutive5xx: proto.consecutive5xx ?? 5,
    consecutiveGateway: proto.consecutiveGatewayFailure ?? 5,
    consecutiveLocal: proto.consecutiveLocalOriginFailure ?? 5,
    split: proto.splitExternalLocalOriginErrors,
    detectDegraded: proto.detectDegradedHosts ?? false,
    alwaysEjectOne: proto.alwaysEjectOneHost ?? false,
    unejectOnHealthCheck: proto.successfulActiveHealthCheckUnejectHost ?? true,
    successRateHosts: proto.successRateMinimumHosts ?? 5,
    successRateVolume: proto.successRateRequestVolume ?? 100,
    stdevFactor: (proto.successRateStdevFactor ?? 1900) / 1000,
    failurePercentage: proto.failurePercentageThreshold ?? 85,
    failurePercentageHosts: proto.failurePercentageMinimumHosts ?? 5,
    failurePercentageVolume: proto.failurePercentageRequestVolume ?? 50,
    enforcing: {
      CONSECUTIVE_5XX: proto.enforcingConsecutive5xx ?? 100,
      CONSECUTIVE_GATEWAY_FAILURE: proto.enforcingConsecutiveGatewayFailure ?? 0,
      SUCCESS_RATE: proto.enforcingSuccessRate ?? 100,
      CONSECUTIVE_LOCAL_ORIGIN_FAILURE: proto.enforcingConsecutiveLocalOriginFailure ?? 100,
      SUCCESS_RATE_LOCAL_ORIGIN: proto.enforcingLocalOriginSuccessRate ?? 100,
      FAILURE_PERCENTAGE: proto.enforcingFailurePercentage ?? 0,
      FAILURE_PERCENTAGE_LOCAL_ORIGIN: proto.enforcingFailurePercentageLocalOrigin ?? 0,
    },
  };
}

/** Plain numbers (`cluster.<name>.outlier_detection.*`). */
export interface OutlierStats {
  /** Hosts that this worker took out and that are still out. */
  ejectionsActive: number;
  ejectionsEnforcedTotal: number;
  ejectionsOverflow: number;
  /** The older names, kept by Envoy: all detections of the consecutive kind. */
  ejectionsTotal: number;
  ejectionsConsecutive5xx: number;
  ejectionsSuccessRate: number;
  detectedDegradation: number;
  readonly detected: Record<EjectionType, number>;
  readonly enforced: Record<EjectionType, number>;
}

function noEjections(): Record<EjectionType, number> {
  return {
    CONSECUTIVE_5XX: 0,
    CONSECUTIVE_GATEWAY_FAILURE: 0,
    SUCCESS_RATE: 0,
    CONSECUTIVE_LOCAL_ORIGIN_FAILURE: 0,
    SUCCESS_RATE_LOCAL_ORIGIN: 0,
    FAILURE_PERCENTAGE: 0,
    FAILURE_PERCENTAGE_LOCAL_ORIGIN: 0,
  };
}

export function newOutlierStats(): OutlierStats {
  return {
    ejectionsActive: 0,
    ejectionsEnforcedTotal: 0,
    ejectionsOverflow: 0,
    ejectionsTotal: 0,
    ejectionsConsecutive5xx: 0,
    ejectionsSuccessRate: 0,
    detectedDegradation: 0,
    detected: noEjections(),
    enforced: noEjections(),
  };
}
