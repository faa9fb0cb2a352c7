/** Metrics of the process itself, under Envoy's and Istio's names. */
import type { FamilySnapshot, MetricType } from '#telemetry/metrics.ts';
import { shortTypeName, typeUrls } from '#xds/type_url.ts';
import type { ServerState } from '../admin/proxy_state.ts';
import type { UpdateCounts } from '../config/discovery_client.ts';

export interface ServerFacts {
  readonly version: string;
  readonly state: ServerState;
  readonly startedMs: number;
  readonly concurrency: number;
  readonly workersReplaced: number;
  readonly droppedLogBytes: number;
  readonly activeClusters: number;
  readonly activeListeners: number;
  readonly warmingClusters: number;
  readonly warmingListeners: number;
  readonly updates: ReadonlyMap<string, UpdateCounts>;
}

const stateNumbers: Readonly<Record<ServerState, number>> = {
  LIVE: 0,
  DRAINING: 1,
  PRE_INITIALIZING: 2,
  INITIALIZING: 3,
};

function family(
  name: string,
  type: MetricType,
  value: number,
  labels: Readonly<Record<string, string>> = {},
): FamilySnapshot {
  return { name, type, help: '', series: [{ labels, value }] };
}

/** Where Envoy counts updates of a type. */
const updatePrefixes: Readonly<Record<string, string>> = {
  [typeUrls.cds]: 'envoy_cluster_manager_cds_update',
  [typeUrls.lds]: 'envoy_listener_manager_lds_update',
};

export function serverFamilies(facts: ServerFacts): FamilySnapshot[] {
  const updates = [...facts.updates].flatMap(([typeUrl, { success, rejected }]) => {
    const prefix = updatePrefixes[typeUrl] ?? `envoy_${shortTypeName(typeUrl).toLowerCase()}_update`;
    return [
      family(`${prefix}_success`, 'counter', success),
      family(`${prefix}_rejected`, 'counter', rejected),
    ];
  });
  return [
    family('istio_build', 'gauge', 1, { component: 'proxy', tag: facts.version }),
    family('envoy_server_live', 'gauge', facts.state === 'LIVE' ? 1 : 0),
    family('envoy_server_state', 'gauge', stateNumbers[facts.state]),
    family('envoy_server_uptime', 'gauge', Math.floor((Date.now() - facts.startedMs) / 1000)),
    family('envoy_server_concurrency', 'gauge', facts.concurrency),
    family('envoy_server_memory_physical_size', 'gauge', process.memoryUsage.rss()),
    family('envoy_server_worker_replaced', 'counter', facts.workersReplaced),
    family('envoy_filesystem_write_dropped_bytes', 'counter', facts.droppedLogBytes),
    family('envoy_cluster_manager_active_clusters', 'gauge', facts.activeClusters),
    family('envoy_cluster_manager_warming_clusters', 'gauge', facts.warmingClusters),
    family('envoy_listener_manager_total_listeners_active', 'gauge', facts.activeListeners),
    family('envoy_listener_manager_total_listeners_warming', 'gauge', facts.warmingListeners),
    ...updates,
  ];
}
