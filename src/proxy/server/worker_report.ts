/** What a worker tells of itself: metrics, listeners, hosts, certificates. */
import type {
  FamilySnapshot,
  Labels,
  MetricsRegistry,
  MetricsSnapshot,
  SeriesSnapshot,
} from '#telemetry/metrics.ts';
import type { WorkerConfig } from '../config/worker_config.ts';
import type { ListenerManager } from '../listener_manager/listener_manager.ts';
import { formatAddress } from '../network/address.ts';
import { tlsStatNames } from '../network/transport_socket.ts';
import type { LiveCluster } from '../upstream/cluster.ts';
import type { LiveClusterManager } from '../upstream/cluster_manager.ts';
import type { UpstreamHost } from '../upstream/host.ts';
import { type ClusterStat, clusterStats } from './cluster_stats.ts';
import { ResponseCodeFamilies } from './response_code_stats.ts';
import type { StatInclusion } from './stat_inclusion.ts';
import type { ClusterLimits, ClusterState, HostState, ListenerState } from '../admin/proxy_state.ts';
import { type ContextCertificates, liveCertificates } from '../network/tls_contexts.ts';
import type { ThresholdResources } from '../upstream/resource_manager.ts';

function hostState(host: UpstreamHost): HostState {
  const { region, zone, subZone } = host.locality;
  return {
    address: host.address.ip,
    port: host.address.port,
    hostname: host.hostname,
    healthFlags: host.flags,
    successRate: host.monitor?.successRate ?? -1,
    localOriginSuccessRate: host.monitor?.localOriginSuccessRate ?? -1,
    weight: host.weight,
    canary: host.metadata?.['envoy.lb']?.['canary'] === true,
    priority: host.priority,
    region,
    zone,
    subZone,
    stats: {
      cx_active: host.stats.cxActive,
      cx_connect_fail: host.stats.cxConnectFail,
      cx_total: host.stats.cxTotal,
      rq_active: host.activeRequests,
      rq_error: host.stats.rqError,
      rq_pending_active: host.allPools().reduce((sum, pool) => sum + pool.pendingRequests, 0),
      rq_success: host.stats.rqSuccess,
      rq_timeout: host.stats.rqTimeout,
      rq_total: host.stats.rqTotal,
    },
  };
}

function limitsOf(resources: ThresholdResources): ClusterLimits {
  const { maxConnections, maxPendingRequests, maxRequests, maxRetries } = resources;
  return { maxConnections, maxPendingRequests, maxRequests, maxRetries };
}

/** What a cluster shows: its labels, and which of `clusterStats`; undefined for none. */
interface KeptStats {
  readonly labels: Labels;
  readonly wanted: readonly boolean[] | undefined;
  /** Of its counts by status, by name and code. */
  readonly codes: Map<string, boolean>;
}

export class WorkerReport {
  readonly #metrics: MetricsRegistry;
  readonly #clusters: LiveClusterManager;
  readonly #listeners: ListenerManager;
  readonly #config: WorkerConfig;
  readonly #inclusion: StatInclusion;
  readonly #first: boolean;
  readonly #kept = new WeakMap<LiveCluster, KeptStats>();

  /** @param first the worker that tells what is the same in all. */
  constructor(
    metrics: MetricsRegistry,
    clusters: LiveClusterManager,
    listeners: ListenerManager,
    config: WorkerConfig,
    inclusion: StatInclusion,
    first: boolean,
  ) {
    this.#first = first;
    this.#inclusion = inclusion;
    this.#metrics = metrics;
    this.#clusters = clusters;
    this.#listeners = listeners;
    this.#config = config;
  }

  /** Own metrics, and the counters of clusters and listeners under Envoy's names. */
  stats(): MetricsSnapshot {
    return [
      ...this.#inclusion.filter(this.#metrics.snapshot()),
      ...this.#clusterFamilies(),
      ...this.#inclusion.filter(this.#listenerFamilies()),
    ];
  }

  listeners(): ListenerState[] {
    return this.#listeners.all().map((listener) => ({
      name: listener.name,
      static: this.#config.listeners.isStatic(listener.name),
      addresses: listener.boundAddresses,
      activeConnections: listener.stats.downstreamCxActive,
      totalConnections: listener.stats.downstreamCxTotal,
    }));
  }

  clusters(): ClusterState[] {
    return this.#clusters.all().map((cluster) => ({
      name: cluster.name,
      observabilityName: cluster.statName,
      edsServiceName: cluster.edsServiceName ?? '',
      static: this.#config.clusters.isStatic(cluster.name),
      limits: {
        default: limitsOf(cluster.resources('default')),
        high: limitsOf(cluster.resources('high')),
      },
      hosts: cluster.hosts().map(hostState),
    }));
  }

  certificates(): ContextCertificates[] {
    return liveCertificates();
  }

  connections(): number {
    return this.#listeners.all().reduce((sum, { stats }) => sum + stats.downstreamCxActive, 0);
  }

  /** A mesh has many clusters and asks for few of their counters: what is kept is looked up once per cluster. */
  #clusterFamilies(): FamilySnapshot[] {
    const series: SeriesSnapshot[][] = clusterStats.map(() => []);
    const codes = new ResponseCodeFamilies();
    for (const cluster of this.#clusters.all()) {
      let kept = this.#kept.get(cluster);
      if (kept === undefined) {
        const labels = { cluster_name: cluster.statName };
        const wanted = clusterStats.map(({ name }) => this.#inclusion.includes(name, labels));
        kept = { labels, wanted: wanted.includes(true) ? wanted : undefined, codes: new Map() };
        this.#kept.set(cluster, kept);
      }
      const { labels, wanted, codes: keptCodes } = kept;
      codes.add(labels, cluster.stats.codes, (name, own) => {
        const key = `${name} ${own['envoy_response_code'] ?? own['envoy_response_code_class'] ?? ''}`;
        let keeps = keptCodes.get(key);
        if (keeps === undefined) keptCodes.set(key, (keeps = this.#inclusion.includes(name, own)));
        return keeps;
      });
      if (wanted === undefined) continue;
      for (let i = 0; i < clusterStats.length; i++) {
        if (wanted[i] !== true) continue;
        const { once, read } = clusterStats[i] as ClusterStat;
        const value = once && !this.#first ? undefined : read(cluster);
        if (value !== undefined) (series[i] as SeriesSnapshot[]).push({ labels, value });
      }
    }
    const families = clusterStats.flatMap(({ name, type }, i): FamilySnapshot[] => {
      const list = series[i] ?? [];
      return list.length === 0 ? [] : [{ name, type, help: '', series: list }];
    });
    return [...families, ...codes.families()];
  }

  #listenerFamilies(): FamilySnapshot[] {
    const listeners = this.#listeners.all();
    const family = (
      name: string,
      type: 'counter' | 'gauge',
      read: (stats: (typeof listeners)[number]['stats']) => number,
    ): FamilySnapshot => ({
      name: `envoy_listener_${name}`,
      type,
      help: '',
      series: listeners.map(({ version, stats }) => ({
        // As Envoy: the address with `_` for `:`.
        labels: {
          listener_address: version.addresses[0] === undefined ? '' : statAddress(version.addresses[0]),
        },
        value: read(stats),
      })),
    });
    return [
      family('downstream_cx_total', 'counter', (stats) => stats.downstreamCxTotal),
      family('downstream_cx_active', 'gauge', (stats) => stats.downstreamCxActive),
      family('downstream_cx_overflow', 'counter', (stats) => stats.downstreamCxOverflow),
      family('downstream_global_cx_overflow', 'counter', (stats) => stats.downstreamGlobalCxOverflow),
      family('downstream_cx_overload_reject', 'counter', (stats) => stats.downstreamCxOverloadReject),
      family('no_filter_chain_match', 'counter', (stats) => stats.noFilterChainMatch),
      ...tlsStatNames.map(([name, key]) => family(name, 'counter', (stats) => stats.tls[key])),
    ];
  }
}

function statAddress(address: { readonly ip: string; readonly port: number }): string {
  return formatAddress(address).replaceAll(':', '_');
}
