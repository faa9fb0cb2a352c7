/** Counters and gauges of a cluster under Envoy's names: the one list. */
import { tlsStatNames } from '../network/transport_socket.ts';
import type { LiveCluster } from '../upstream/cluster.ts';
import { HealthFlag } from '../upstream/health_flags.ts';
import type { EjectionType } from '../upstream/outlier_options.ts';
import type { ThresholdResources } from '../upstream/resource_manager.ts';

/** One number of a cluster. */
export interface ClusterStat {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  /** Undefined where the cluster does not have it. */
  readonly read: (cluster: LiveCluster) => number | undefined;
  /** The same in every worker: told by the first one alone, so that it is not added up. */
  readonly once: boolean;
}

function stat(name: string, type: ClusterStat['type'], read: ClusterStat['read'], once = false): ClusterStat {
  return { name: `envoy_cluster_${name}`, type, read, once };
}

/** What each worker counts for itself. */
const perWorker: readonly ClusterStat[] = [
  stat('upstream_cx_total', 'counter', ({ stats }) => stats.upstreamCxTotal),
  stat('upstream_cx_active', 'gauge', ({ stats }) => stats.upstreamCxActive),
  stat('upstream_cx_connect_fail', 'counter', ({ stats }) => stats.upstreamCxConnectFail),
  stat('upstream_cx_overflow', 'counter', ({ stats }) => stats.upstreamCxOverflow),
  stat('upstream_cx_none_healthy', 'counter', ({ stats }) => stats.upstreamCxNoneHealthy),
  stat('upstream_cx_connect_timeout', 'counter', ({ stats }) => stats.upstreamCxConnectTimeout),
  stat('upstream_cx_http1_total', 'counter', ({ stats }) => stats.upstreamCxHttp1Total),
  stat('upstream_cx_http2_total', 'counter', ({ stats }) => stats.upstreamCxHttp2Total),
  stat('upstream_cx_idle_timeout', 'counter', ({ stats }) => stats.upstreamCxIdleTimeout),
  stat('upstream_cx_max_duration_reached', 'counter', ({ stats }) => stats.upstreamCxMaxDurationReached),
  stat('upstream_cx_max_requests', 'counter', ({ stats }) => stats.upstreamCxMaxRequests),
  stat('upstream_rq_pending_total', 'counter', ({ stats }) => stats.upstreamRqPendingTotal),
  stat('upstream_rq_total', 'counter', ({ stats }) => stats.upstreamRqTotal),
  stat('upstream_rq_active', 'gauge', ({ stats }) => stats.upstreamRqActive),
  stat('upstream_rq_pending_active', 'gauge', pendingRequests),
  stat('upstream_rq_pending_overflow', 'counter', ({ stats }) => stats.upstreamRqPendingOverflow),
  stat('upstream_rq_pending_failure_eject', 'counter', ({ stats }) => stats.upstreamRqPendingFailureEject),
  stat('upstream_rq_retry', 'counter', ({ stats }) => stats.upstreamRqRetry),
  stat('upstream_rq_retry_success', 'counter', ({ stats }) => stats.upstreamRqRetrySuccess),
  stat(
    'upstream_internal_redirect_succeeded_total',
    'counter',
    ({ stats }) => stats.upstreamInternalRedirectSucceeded,
  ),
  stat(
    'upstream_internal_redirect_failed_total',
    'counter',
    ({ stats }) => stats.upstreamInternalRedirectFailed,
  ),
  stat('upstream_rq_retry_limit_exceeded', 'counter', ({ stats }) => stats.upstreamRqRetryLimitExceeded),
  stat('upstream_rq_retry_overflow', 'counter', ({ stats }) => stats.upstreamRqRetryOverflow),
  stat('upstream_rq_timeout', 'counter', ({ stats }) => stats.upstreamRqTimeout),
  stat('upstream_rq_per_try_timeout', 'counter', ({ stats }) => stats.upstreamRqPerTryTimeout),
  stat('upstream_rq_rx_reset', 'counter', ({ stats }) => stats.upstreamRqRxReset),
  stat('upstream_rq_tx_reset', 'counter', ({ stats }) => stats.upstreamRqTxReset),
  stat('lb_recalculate_zone_structures', 'counter', ({ stats }) => stats.lb.recalculateZoneStructures),
  stat('lb_zone_cluster_too_small', 'counter', ({ stats }) => stats.lb.zoneClusterTooSmall),
  stat('lb_subsets_active', 'gauge', ({ stats }) => stats.lb.subsetsActive),
  stat('lb_subsets_created', 'counter', ({ stats }) => stats.lb.subsetsCreated),
  stat('lb_subsets_removed', 'counter', ({ stats }) => stats.lb.subsetsRemoved),
  ...tlsStatNames.map(([name, key]) => stat(name, 'counter', ({ stats }) => stats.tls[key])),
  stat('lb_healthy_panic', 'counter', ({ stats }) => stats.lb.healthyPanic),
  stat('lb_local_cluster_not_ok', 'counter', ({ stats }) => stats.lb.localClusterNotOk),
  stat('lb_subsets_fallback', 'counter', ({ stats }) => stats.lb.subsetsFallback),
  stat('lb_subsets_fallback_panic', 'counter', ({ stats }) => stats.lb.subsetsFallbackPanic),
  stat('lb_subsets_selected', 'counter', ({ stats }) => stats.lb.subsetsSelected),
  stat('lb_zone_no_capacity_left', 'counter', ({ stats }) => stats.lb.zoneNoCapacityLeft),
  stat('lb_zone_routing_all_directly', 'counter', ({ stats }) => stats.lb.zoneRoutingAllDirectly),
  stat('lb_zone_routing_cross_zone', 'counter', ({ stats }) => stats.lb.zoneRoutingCrossZone),
  stat('lb_zone_routing_sampled', 'counter', ({ stats }) => stats.lb.zoneRoutingSampled),
];

function pendingRequests(cluster: LiveCluster): number {
  let sum = 0;
  for (const host of cluster.hosts()) for (const pool of host.allPools()) sum += pool.pendingRequests;
  return sum;
}

/** What all workers see alike: they have the same hosts. */
const perProcess: readonly ClusterStat[] = [
  stat('membership_change', 'counter', ({ stats }) => stats.membershipChange, true),
  stat('membership_total', 'gauge', (cluster) => cluster.hosts().length, true),
  stat('membership_healthy', 'gauge', (cluster) => count(cluster, (host) => host.healthy), true),
  stat('membership_degraded', 'gauge', (cluster) => count(cluster, (host) => host.degraded), true),
  stat('membership_excluded', 'gauge', (cluster) => sumOf(cluster, (set) => set.excludedCount), true),
  stat('update_attempt', 'counter', ({ stats }) => stats.updateAttempt, true),
  stat('update_success', 'counter', ({ stats }) => stats.updateSuccess, true),
  stat('update_failure', 'counter', ({ stats }) => stats.updateFailure, true),
  stat('update_empty', 'counter', ({ stats }) => stats.updateEmpty, true),
  stat('update_no_rebuild', 'counter', ({ stats }) => stats.updateNoRebuild, true),
];

function count(
  cluster: LiveCluster,
  is: (host: ReturnType<LiveCluster['hosts']>[number]) => boolean,
): number {
  let found = 0;
  for (const host of cluster.hosts()) if (is(host)) found++;
  return found;
}

function sumOf(cluster: LiveCluster, read: (set: LiveCluster['sets'][number]) => number): number {
  return cluster.sets.reduce((sum, set) => sum + read(set), 0);
}

/** Limits and what is counted against them are one for the process. */
function breakerStats(priority: 'default' | 'high'): ClusterStat[] {
  const open = (name: string, isOpen: (resources: ThresholdResources) => boolean): ClusterStat =>
    stat(
      `circuit_breakers_${priority}_${name}`,
      'gauge',
      (cluster) => (isOpen(cluster.resources(priority)) ? 1 : 0),
      true,
    );
  const remaining = (name: string, left: (resources: ThresholdResources) => number): ClusterStat =>
    stat(
      `circuit_breakers_${priority}_remaining_${name}`,
      'gauge',
      (cluster) => {
        const resources = cluster.resources(priority);
        return resources.trackRemaining ? Math.max(left(resources), 0) : undefined;
      },
      true,
    );
  return [
    open('cx_open', (r) => r.connections >= r.maxConnections),
    open('cx_pool_open', () => false),
    open('rq_open', (r) => r.requests >= r.maxRequests),
    open('rq_pending_open', (r) => r.pendingRequests >= r.maxPendingRequests),
    open('rq_retry_open', (r) => r.retries >= r.maxRetries),
    remaining('cx', (r) => r.maxConnections - r.connections),
    remaining('pending', (r) => r.maxPendingRequests - r.pendingRequests),
    remaining('rq', (r) => r.maxRequests - r.requests),
    remaining('retries', (r) => r.maxRetries - r.retries),
  ];
}

const ejectionNames: Readonly<Record<EjectionType, string>> = {
  CONSECUTIVE_5XX: 'consecutive_5xx',
  CONSECUTIVE_GATEWAY_FAILURE: 'consecutive_gateway_failure',
  CONSECUTIVE_LOCAL_ORIGIN_FAILURE: 'consecutive_local_origin_failure',
  SUCCESS_RATE: 'success_rate',
  SUCCESS_RATE_LOCAL_ORIGIN: 'local_origin_success_rate',
  FAILURE_PERCENTAGE: 'failure_percentage',
  FAILURE_PERCENTAGE_LOCAL_ORIGIN: 'local_origin_failure_percentage',
};

const outlierStats: readonly ClusterStat[] = [
  stat('outlier_detection_ejections_active', 'gauge', ({ detector }) => detector?.stats.ejectionsActive),
  stat(
    'outlier_detection_ejections_enforced_total',
    'counter',
    ({ detector }) => detector?.stats.ejectionsEnforcedTotal,
  ),
  stat(
    'outlier_detection_ejections_overflow',
    'counter',
    ({ detector }) => detector?.stats.ejectionsOverflow,
  ),
  stat('outlier_detection_ejections_total', 'counter', ({ detector }) => detector?.stats.ejectionsTotal),
  stat(
    'outlier_detection_ejections_consecutive_5xx',
    'counter',
    ({ detector }) => detector?.stats.ejectionsConsecutive5xx,
  ),
  stat(
    'outlier_detection_ejections_success_rate',
    'counter',
    ({ detector }) => detector?.stats.ejectionsSuccessRate,
  ),
  stat(
    'outlier_detection_ejections_detected_degradation',
    'counter',
    ({ detector }) => detector?.stats.detectedDegradation,
  ),
  ...(Object.entries(ejectionNames) as [EjectionType, string][]).flatMap(([type, name]) => [
    stat(
      `outlier_detection_ejections_detected_${name}`,
      'counter',
      ({ detector }) => detector?.stats.detected[type],
    ),
    stat(
      `outlier_detection_ejections_enforced_${name}`,
      'counter',
      ({ detector }) => detector?.stats.enforced[type],
    ),
  ]),
];

const healthCheckStats: readonly ClusterStat[] = [
  stat('health_check_attempt', 'counter', ({ healthChecks }) => healthChecks?.stats.attempt),
  stat('health_check_success', 'counter', ({ healthChecks }) => healthChecks?.stats.success),
  stat('health_check_failure', 'counter', ({ healthChecks }) => healthChecks?.stats.failure),
  stat('health_check_network_failure', 'counter', ({ healthChecks }) => healthChecks?.stats.networkFailure),
  stat('health_check_passive_failure', 'counter', ({ healthChecks }) => healthChecks?.stats.passiveFailure),
  stat(
    'health_check_healthy',
    'gauge',
    (cluster) =>
      cluster.healthChecks === undefined
        ? undefined
        : count(cluster, (host) => !host.has(HealthFlag.failedActiveHc)),
    true,
  ),
  stat(
    'health_check_degraded',
    'gauge',
    (cluster) =>
      cluster.healthChecks === undefined
        ? undefined
        : count(cluster, (host) => host.has(HealthFlag.degradedActiveHc)),
    true,
  ),
];

export const clusterStats: readonly ClusterStat[] = [
  ...perWorker,
  ...perProcess,
  ...breakerStats('default'),
  ...breakerStats('high'),
  ...outlierStats,
  ...healthCheckStats,
];
