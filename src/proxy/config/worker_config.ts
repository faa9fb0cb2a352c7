/** The live configuration of one worker: applies updates by type, all or nothing per resource. */
import { fromBinary } from '@bufbuild/protobuf';
import type { Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import type { Logger } from '#base/log.ts';
import { typeUrls } from '#xds/type_url.ts';
import type { FactoryContext } from '../factory_context.ts';
import type { ListenerManager } from '../listener_manager/listener_manager.ts';
import type { RouteBuildContext } from '../router/route_config.ts';
import type { LiveClusterManager } from '../upstream/cluster_manager.ts';
import { ClusterDiscovery } from './cds.ts';
import type { ConfigUpdate, Rejection, SubscriptionPort } from './config_update.ts';
import { ListenerDiscovery } from './lds.ts';
import { NamedResources } from './named_resources.ts';
import { RouteDiscovery } from './rds.ts';
import type { SecretDiscovery } from './sds.ts';

/** What waits for something before it goes live. */
export interface WarmingState {
  readonly clusters: readonly string[];
  readonly listeners: readonly string[];
}

export interface WorkerConfigOptions {
  readonly bootstrap: Bootstrap;
  readonly port: SubscriptionPort;
  /** Made first: clusters and listeners are made with it. */
  readonly secrets: SecretDiscovery;
  readonly clusters: LiveClusterManager;
  readonly listeners: ListenerManager;
  /** What filters get; routes are added per listener. */
  readonly context: Omit<FactoryContext, 'routeConfig'>;
  readonly routeContext: RouteBuildContext;
  readonly log: Logger;
  readonly onWarmingChange: (state: WarmingState) => void;
}

export class WorkerConfig {
  readonly clusters: ClusterDiscovery;
  readonly listeners: ListenerDiscovery;
  readonly routes: RouteDiscovery;
  readonly #endpoints: NamedResources<ClusterLoadAssignment>;
  readonly #options: WorkerConfigOptions;

  constructor(options: WorkerConfigOptions) {
    const { port, context, log } = options;
    this.#options = options;
    const changed = (): void => options.onWarmingChange(this.warming);
    this.routes = new RouteDiscovery(port, options.routeContext);
    this.#endpoints = new NamedResources(typeUrls.eds, port, (bytes) =>
      fromBinary(ClusterLoadAssignmentSchema, bytes),
    );
    this.clusters = new ClusterDiscovery(options.clusters, this.#endpoints, changed);
    this.listeners = new ListenerDiscovery(options.listeners, context, this.routes, log, changed);
  }

  get warming(): WarmingState {
    return { clusters: this.clusters.warming, listeners: this.listeners.warming };
  }

  /**
   * Builds the static resources. Rejects with an Error that names the first bad one.
   * @param options `dryRun` binds no address.
   */
  async start(options: { readonly dryRun: boolean } = { dryRun: false }): Promise<void> {
    const { clusters = [], listeners = [] } = this.#options.bootstrap.staticResources ?? {};
    for (const cluster of clusters) this.clusters.addStatic(cluster);
    for (const listener of listeners) await this.listeners.addStatic(listener, options);
  }

  /** Applies an update; gives what is refused. Updates of one type must not overlap. */
  async apply({ source, typeUrl, changed, removed }: ConfigUpdate): Promise<Rejection[]> {
    if (typeUrl !== typeUrls.eds && typeUrl !== typeUrls.sds) {
      const { registry } = this.#options.context;
      for (const { bytes } of changed) await registry.load(bytes);
    }
    switch (typeUrl) {
      case typeUrls.cds:
        return this.clusters.apply(changed, removed);
      case typeUrls.lds:
        return this.listeners.apply(changed, removed);
      case typeUrls.eds:
        return this.#endpoints.apply(source, changed, removed);
      case typeUrls.rds:
        return this.routes.resources.apply(source, changed, removed);
      case typeUrls.sds:
        return this.#options.secrets.resources.apply(source, changed, removed);
      default:
        return changed.map(({ name }) => ({ name, message: `resources of type ${typeUrl} are not used` }));
    }
  }
}
