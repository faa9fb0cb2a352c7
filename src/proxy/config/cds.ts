/** Clusters of a worker: static ones and those of CDS, each warmed (EDS, SDS) before it replaces its old version. */
import { fromBinary } from '@bufbuild/protobuf';
import { type Cluster, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { ClusterLoadAssignment } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import type { LiveClusterManager, StagedCluster } from '../upstream/cluster_manager.ts';
import { type Rejection, type WireResource, messageOf } from './config_update.ts';
import type { LiveResource, NamedResources } from './named_resources.ts';
import { TimeSlice } from '#base/time_slice.ts';
import { WarmingSet } from './warming.ts';

export class ClusterDiscovery {
  readonly #manager: LiveClusterManager;
  readonly #endpoints: NamedResources<ClusterLoadAssignment>;
  readonly #static = new Set<string>();
  readonly #warming: WarmingSet<StagedCluster>;
  /** EDS subscriptions by name of the cluster. */
  readonly #subscriptions = new Map<string, LiveResource<ClusterLoadAssignment>>();

  constructor(
    manager: LiveClusterManager,
    endpoints: NamedResources<ClusterLoadAssignment>,
    onWarmingChange: () => void,
  ) {
    this.#manager = manager;
    this.#endpoints = endpoints;
    this.#warming = new WarmingSet((_name, staged) => staged.activate(), onWarmingChange);
  }

  /** Names of clusters that wait. */
  get warming(): string[] {
    return this.#warming.names;
  }

  isStatic(name: string): boolean {
    return this.#static.has(name);
  }

  /** @throws Error that names the cluster. */
  addStatic(config: Cluster): void {
    if (this.#static.has(config.name)) throw new Error(`two static clusters named ${config.name}`);
    this.#static.add(config.name);
    try {
      this.#add(config);
    } catch (error) {
      throw new Error(`cluster ${config.name}: ${messageOf(error)}`, { cause: error });
    }
  }

  async apply(changed: readonly WireResource[], removed: readonly string[]): Promise<Rejection[]> {
    const rejected: Rejection[] = [];
    const slice = new TimeSlice();
    for (const { name, bytes } of changed) {
      if (this.#static.has(name)) continue; // as Envoy: what the bootstrap names is not replaced
      try {
        this.#add(fromBinary(ClusterSchema, bytes));
      } catch (error) {
        rejected.push({ name, message: messageOf(error) });
      }
      if (slice.over) await slice.pause();
    }
    for (const name of removed) {
      if (this.#static.has(name)) continue;
      this.#warming.drop(name);
      this.#manager.remove(name);
      this.#subscriptions.get(name)?.close();
      this.#subscriptions.delete(name);
    }
    return rejected;
  }

  #add(config: Cluster): void {
    const { name } = config;
    const staged = this.#manager.stage(config);
    const before = this.#subscriptions.get(name);
    if (staged.edsServiceName === undefined) this.#subscriptions.delete(name);
    else if (!staged.unchanged) {
      try {
        this.#subscriptions.set(name, this.#subscribe(staged.edsServiceName, config));
      } catch (error) {
        staged.discard();
        throw error;
      }
    }
    // After the new one has subscribed: the same name is then never given up in between.
    if (this.#subscriptions.get(name) !== before) before?.close();
    this.#warming.add(name, staged);
  }

  #subscribe(serviceName: string, config: Cluster): LiveResource<ClusterLoadAssignment> {
    const source = config.edsClusterConfig?.edsConfig;
    if (source === undefined) throw new Error('eds_cluster_config.eds_config is not set');
    const live = this.#endpoints.get(serviceName, source, () => {
      if (live.current !== undefined) this.#manager.updateEndpoints(live.current);
      else if (live.settled) this.#manager.endpointsUnavailable(serviceName);
    });
    if (live.current === undefined && live.settled) this.#manager.endpointsUnavailable(serviceName);
    return live;
  }
}
