/** connectionPool, outlierDetection and retryBudget of a DestinationRule, put into a cluster. */
import { create } from '@bufbuild/protobuf';
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { UpstreamConnectionOptionsSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import {
  type OutlierDetection as EnvoyOutlierDetection,
  OutlierDetectionSchema,
} from '#api/gen/envoy/config/cluster/v3/outlier_detection_pb.ts';
import type {
  ConnectionPoolSettings,
  OutlierDetection,
  RetryBudget,
  TcpKeepalive,
} from '#config/kinds/destination_rule/types.ts';
import { parseDurationMs } from '#config/schema/duration.ts';
import type { EffectivePolicy } from '../../model/destination_rule_index.ts';
import type { MeshIndex } from '../../model/mesh_index.ts';
import { durationOf, parseDuration } from '../wire.ts';
import { openCircuitBreakers } from './fixed_clusters.ts';
import { setPanicThreshold } from './load_balancer.ts';

function seconds(text: string | undefined): number | undefined {
  const ms = text === undefined ? undefined : parseDurationMs(text);
  return ms === undefined ? undefined : Math.round(ms / 1000);
}

function applyKeepalive(cluster: Cluster, keepalive: TcpKeepalive | undefined): void {
  if (keepalive === undefined) return;
  const keepaliveTime = seconds(keepalive.time);
  const keepaliveInterval = seconds(keepalive.interval);
  cluster.upstreamConnectionOptions = create(UpstreamConnectionOptionsSchema, {
    tcpKeepalive: {
      ...(keepalive.probes === undefined ? {} : { keepaliveProbes: keepalive.probes }),
      ...(keepaliveTime === undefined ? {} : { keepaliveTime }),
      ...(keepaliveInterval === undefined ? {} : { keepaliveInterval }),
    },
  });
}

function applyConnectionPool(
  cluster: Cluster,
  pool: ConnectionPoolSettings | undefined,
  budget: RetryBudget | undefined,
  mesh: MeshIndex,
): void {
  cluster.connectTimeout = parseDuration(pool?.tcp?.connectTimeout) ?? durationOf(mesh.connectTimeoutMs);
  applyKeepalive(cluster, pool?.tcp?.tcpKeepalive ?? mesh.config.tcpKeepalive);
  const breakers = openCircuitBreakers();
  const [limits] = breakers.thresholds;
  if (limits !== undefined) {
    if ((pool?.tcp?.maxConnections ?? 0) > 0) limits.maxConnections = pool?.tcp?.maxConnections;
    if ((pool?.http?.http1MaxPendingRequests ?? 0) > 0) {
      limits.maxPendingRequests = pool?.http?.http1MaxPendingRequests;
    }
    if ((pool?.http?.http2MaxRequests ?? 0) > 0) limits.maxRequests = pool?.http?.http2MaxRequests;
    if ((pool?.http?.maxRetries ?? 0) > 0) limits.maxRetries = pool?.http?.maxRetries;
    if (budget !== undefined) {
      limits.retryBudget = {
        $typeName: 'envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget',
        budgetPercent: { $typeName: 'envoy.type.v3.Percent', value: budget.percent ?? 20 },
        minRetryConcurrency: budget.minRetryConcurrency ?? 3,
        budgetInterval: parseDuration(budget.budgetInterval),
      };
    }
  }
  cluster.circuitBreakers = breakers;
}

/** Ejection as Istio sets it up: by errors in a row; the statistical modes stay off. */
export function outlierDetection(settings: OutlierDetection): EnvoyOutlierDetection {
  const out = create(OutlierDetectionSchema, { enforcingSuccessRate: 0 });
  const errors = settings.consecutive5xxErrors;
  if (errors !== undefined) {
    out.consecutive5xx = errors;
    out.enforcingConsecutive5xx = errors > 0 ? 100 : 0;
  }
  const gatewayErrors = settings.consecutiveGatewayErrors ?? settings.consecutiveErrors;
  if (gatewayErrors !== undefined) {
    out.consecutiveGatewayFailure = gatewayErrors;
    out.enforcingConsecutiveGatewayFailure = gatewayErrors > 0 ? 100 : 0;
  }
  out.interval = parseDuration(settings.interval);
  out.baseEjectionTime = parseDuration(settings.baseEjectionTime);
  if ((settings.maxEjectionPercent ?? 0) > 0) out.maxEjectionPercent = settings.maxEjectionPercent;
  if (settings.splitExternalLocalOriginErrors === true) {
    out.splitExternalLocalOriginErrors = true;
    const failures = settings.consecutiveLocalOriginFailures;
    if (failures !== undefined && failures > 0) {
      out.consecutiveLocalOriginFailure = failures;
      out.enforcingConsecutiveLocalOriginFailure = 100;
    }
    out.enforcingLocalOriginSuccessRate = 0;
  }
  return out;
}

/** Puts limits and ejection into a cluster. */
export function applyTrafficPolicy(cluster: Cluster, policy: EffectivePolicy, mesh: MeshIndex): void {
  const pool = policy.connectionPool ?? mesh.config.defaultTrafficPolicy?.connectionPool;
  applyConnectionPool(cluster, pool, policy.retryBudget, mesh);
  const ejection = policy.outlierDetection ?? mesh.config.defaultTrafficPolicy?.outlierDetection;
  if (ejection === undefined) return;
  cluster.outlierDetection = outlierDetection(ejection);
  // Panic would send traffic to ejected hosts; Istio keeps it off unless a share is asked for.
  setPanicThreshold(cluster, ejection.minHealthPercent ?? 0);
}
