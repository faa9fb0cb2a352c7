/** All clusters of one worker. The config layer stages, activates and removes them; the request path only calls `get`. */
import type { Cluster as ClusterProto } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { ClusterLoadAssignment } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import type { TransportSocketContext } from '../network/transport_socket.ts';
import type { ExtensionRegistry } from '../registry.ts';
import { type ClusterHost, LiveCluster, clusterBytes, newClusterStats } from './cluster.ts';
import type { Counts } from '../network/shared_counts.ts';
import { type ResolveName, resolveName } from './dns.ts';
import { type Assignment, readAssignment } from './host_sets.ts';
import type { LocalSide } from './load_balancer.ts';
import type { EventLog } from './outlier_event_log.ts';
import type { ClusterManager } from './upstream.ts';

export interface ClusterManagerOptions {
  /** Load balancing policies and upstream transport sockets are looked up here. */
  readonly registry: ExtensionRegistry;
  readonly sockets: TransportSocketContext;
  /** Default: the system's resolver. */
  readonly resolve?: ResolveName;
  /** Counts over all workers; absent for one worker alone. */
  readonly sharedCounts?: Counts | undefined;
  /** `cluster_manager.local_cluster_name` and the node's locality, for zone-aware routing. */
  readonly localCluster?: { readonly name: string; readonly locality: LocalSide['locality'] } | undefined;
  /** Where outlier detection writes its events. */
  readonly outlierLog?: EventLog | undefined;
  /** Opens the file that a cluster's health checks log to. */
  readonly eventFile?: ((path: string) => EventLog) | undefined;
}

/** A version of a cluster that warms. Exactly one of `activate` and `discard` is called. */
export interface StagedCluster {
  readonly name: string;
  /** True when the version equals the live one; `activate` then changes nothing. */
  readonly unchanged: boolean;
  /** EDS resource to subscribe to; undefined for other kinds of clusters. */
  readonly edsServiceName: string | undefined;
  /** Secrets and endpoints are there. */
  readonly ready: boolean;
  /** Calls back once when `ready` turns true; at once when it is. */
  onReady(callback: () => void): void;
  /** Makes it live, ready or not; the version before drains. */
  activate(): void;
  discard(): void;
}

export class LiveClusterManager implements ClusterManager {
  readonly #host: ClusterHost;
  readonly #live = new Map<string, LiveCluster>();
  #localName = '';
  readonly #staged = new Set<LiveCluster>();
  /** Last assignment by EDS resource name, for clusters that come later. */
  readonly #assignments = new Map<string, Assignment>();

  constructor(options: ClusterManagerOptions) {
    this.#host = {
      registry: options.registry,
      sockets: options.sockets,
      resolve: options.resolve ?? resolveName,
      sharedCounts: options.sharedCounts,
      local: this.#localSide(options.localCluster),
      outlierLog: options.outlierLog,
      eventFile: options.eventFile,
    };
  }

  get(name: string): LiveCluster | undefined {
    return this.#live.get(name);
  }

  #localSide(local: ClusterManagerOptions['localCluster']): LocalSide | undefined {
    if (local === undefined || local.name === '') return undefined;
    this.#localName = local.name;
    return { locality: local.locality, hosts: () => this.#live.get(local.name)?.sets[0] };
  }

  #watchLocal(cluster: LiveCluster): void {
    const changed = (): void => {
      for (const other of this.#live.values()) if (other !== cluster) other.localClusterChanged();
    };
    cluster.onHosts = changed;
    changed();
  }

  /** Live clusters in the order they were added. */
  all(): LiveCluster[] {
    return [...this.#live.values()];
  }

  /**
   * Builds a version of a cluster, which starts to warm.
   * @throws Error when the configuration is bad; the live version stays.
   */
  stage(config: ClusterProto): StagedCluster {
    const live = this.#live.get(config.name);
    if (live !== undefined && live.bytes === clusterBytes(config)) {
      return {
        name: config.name,
        unchanged: true,
        edsServiceName: live.edsServiceName,
        ready: true,
        onReady: (callback) => callback(),
        activate() {},
        discard() {},
      };
    }
    // Counters belong to the name and outlive its versions.
    const cluster = new LiveCluster(config, this.#host, live?.stats ?? newClusterStats());
    this.#staged.add(cluster);
    const known =
      cluster.edsServiceName === undefined ? undefined : this.#assignments.get(cluster.edsServiceName);
    if (known !== undefined) cluster.updateEndpoints(known);
    return {
      name: config.name,
      unchanged: false,
      edsServiceName: cluster.edsServiceName,
      get ready() {
        return cluster.ready;
      },
      onReady: (callback) => cluster.onReady(callback),
      activate: () => {
        this.#staged.delete(cluster);
        const before = this.#live.get(config.name);
        this.#live.set(config.name, cluster);
        if (config.name === this.#localName) this.#watchLocal(cluster);
        before?.drain();
      },
      discard: () => {
        if (this.#staged.delete(cluster)) cluster.close();
      },
    };
  }

  /** Requests in flight finish. False when there is no such cluster. */
  remove(name: string): boolean {
    const cluster = this.#live.get(name);
    if (cluster === undefined) return false;
    this.#live.delete(name);
    cluster.drain();
    return true;
  }

  /**
   * EDS: gives an assignment to every cluster, live or warming, that asks for its name.
   * @throws Error when it is bad; the hosts stay as they are.
   */
  updateEndpoints(proto: ClusterLoadAssignment): void {
    const assignment = readAssignment(proto, false);
    this.#assignments.set(proto.clusterName, assignment);
    for (const cluster of this.#fedBy(proto.clusterName)) cluster.updateEndpoints(assignment);
  }

  /** EDS resource gone, or not delivered in time: clusters that wait for it become ready without hosts. */
  endpointsUnavailable(serviceName: string): void {
    this.#assignments.delete(serviceName);
    for (const cluster of this.#fedBy(serviceName)) cluster.endpointsUnavailable();
  }

  #fedBy(serviceName: string): LiveCluster[] {
    return [...this.#live.values(), ...this.#staged].filter(
      (cluster) => cluster.edsServiceName === serviceName,
    );
  }

  /** Closes all connections now. */
  close(): void {
    for (const cluster of [...this.#live.values(), ...this.#staged]) cluster.close();
    this.#live.clear();
    this.#staged.clear();
  }
}
