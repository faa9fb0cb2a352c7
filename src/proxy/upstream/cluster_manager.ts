/** All clusters of one worker. The config layer stages, activates and removes them; the request path only calls `get`. */
import type { Cluster as ClusterProto } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { ClusterLoadAssignment } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import type { TransportSocketContext } from '../network/transport_socket.ts';
import type { ExtensionRegistry } from '../registry.ts';
import { type ClusterHost, LiveCluster, clusterBytes, newClusterStats } from './cluster.ts';
import type { ClientCodecFactory } from './conn_pool/http_pool.ts';
import { type ResolveName, resolveName } from './dns.ts';
import { type Assignment, readAssignment } from './host_sets.ts';
import type { ClusterManager } from './upstream.ts';

export interface ClusterManagerOptions {
  /** Load balancing policies and upstream transport sockets are looked up here. */
  readonly registry: ExtensionRegistry;
  readonly sockets: TransportSocketContext;
  /** Default: the system's resolver. */
  readonly resolve?: ResolveName;
  /** HTTP/2 client codec; clusters that ask for HTTP/2 are refused without it. */
  readonly http2?: ClientCodecFactory;
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
  readonly #staged = new Set<LiveCluster>();
  /** Last assignment by EDS resource name, for clusters that come later. */
  readonly #assignments = new Map<string, Assignment>();

  constructor(options: ClusterManagerOptions) {
    this.#host = {
      registry: options.registry,
      sockets: options.sockets,
      resolve: options.resolve ?? resolveName,
      http2: options.http2,
    };
  }

  get(name: string): LiveCluster | undefined {
    return this.#live.get(name);
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
