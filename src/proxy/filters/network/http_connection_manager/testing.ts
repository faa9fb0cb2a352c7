/** Fixtures of this room's tests and of the micro benches: a connection manager on a real socket with real clusters. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { create, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { NodeSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { RouteConfiguration } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { HttpConnectionManagerSchema } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { silentLogger } from '#base/log.ts';
import { MetricsRegistry } from '#telemetry/metrics.ts';
import type { AccessLogger, FactoryContext, HttpFilterExtension } from '../../../factory_context.ts';
import { findExtension } from '../../../factory_context.ts';
import { leastRequest } from '../../../load_balancing_policies/least_request/least_request.ts';
import { roundRobin } from '../../../load_balancing_policies/round_robin/round_robin.ts';
import type { ChainHandle, ConnectionInfo, TerminalNetworkFilter } from '../../../network/connection.ts';
import { createConnectionInfo } from '../../../network/connection_info.ts';
import { newOverloadState } from '../../../network/overload_state.ts';
import { noSecrets } from '../../../network/secret.ts';
import { RuntimeValues } from '../../../network/runtime.ts';
import { LocalCounts } from '../../../network/shared_counts.ts';
import { ExtensionRegistry } from '../../../registry.ts';
import { buildRouteTable, type RouteTable } from '../../../router/route_config.ts';
import { LiveClusterManager } from '../../../upstream/cluster_manager.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { routerFilter } from '../../http/router/config.ts';
import { httpConnectionManager } from './http_connection_manager.ts';

const types = createTypeRegistry();

/** Port of a server in this process, or of another one. */
export type Port = number;

/** Listens on a loopback port. */
export async function listen(server: Server): Promise<Port> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

export interface ProxyOptions {
  /** HttpConnectionManager as JSON; `http_filters` defaults to the router, `stat_prefix` to `test`. */
  readonly hcm?: Record<string, JsonValue>;
  /** RouteConfiguration as JSON; default: everything to cluster `a`. */
  readonly routes?: JsonValue;
  /** Cluster name to endpoint ports. */
  readonly clusters?: Readonly<Record<string, readonly Port[]>>;
  /** More Cluster fields as JSON, by name. */
  readonly clusterOptions?: Readonly<Record<string, Record<string, JsonValue>>>;
  /** HTTP filters besides the router. */
  readonly filters?: readonly HttpFilterExtension[];
  readonly accessLoggers?: AccessLogger[];
  readonly random?: () => number;
  /** In place of the clusters. */
  readonly clusterManager?: ClusterManager;
}

/** Everything to cluster `a`. */
export const catchAllRoutes: JsonValue = {
  name: 'r',
  virtual_hosts: [
    { name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'a' } }] },
  ],
};

const routerJson: JsonValue = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
};

/** A proxy of one listener. */
export class TestProxy {
  readonly clusters: LiveClusterManager;
  readonly metrics = new MetricsRegistry();
  readonly server: Server;
  readonly sockets = new Set<Socket>();
  port = 0;
  draining = false;
  readonly drainCallbacks = new Set<() => void>();
  #context: FactoryContext;
  #chain: { name: string; current: TerminalNetworkFilter };

  constructor(options: ProxyOptions) {
    const registry = new ExtensionRegistry({
      http_filter: [routerFilter, ...(options.filters ?? [])],
      load_balancing_policy: [roundRobin, leastRequest],
    });
    this.clusters = new LiveClusterManager({
      registry,
      sockets: { secrets: noSecrets },
    });
    for (const [name, ports] of Object.entries(options.clusters ?? {})) {
      const staged = this.clusters.stage(
        fromJson(
          ClusterSchema,
          {
            name,
            type: 'STATIC',
            connect_timeout: '1s',
            ...options.clusterOptions?.[name],
            load_assignment: {
              cluster_name: name,
              endpoints: [
                {
                  lb_endpoints: ports.map((port) => ({
                    endpoint: {
                      hostname: `host-${port}`,
                      address: { socket_address: { address: '127.0.0.1', port_value: port } },
                    },
                  })),
                },
              ],
            },
          },
          { registry: types },
        ),
      );
      staged.activate();
    }
    const context: FactoryContext = {
      registry,
      clusterManager: options.clusterManager ?? this.clusters,
      metrics: this.metrics,
      node: create(NodeSchema, { id: 'test' }),
      log: silentLogger,
      direction: 'inbound',
      accessLoggers: () => [...(options.accessLoggers ?? [])],
      routeConfig: <T>(source: unknown) => {
        const table: RouteTable = buildRouteTable((source as { inline: RouteConfiguration }).inline, {
          filterConfig: (name, any) => {
            const found = findExtension<HttpFilterExtension>(registry, 'http_filter', name, any);
            return found?.factory.createRouteConfig?.(found.config, context);
          },
        });
        return { current: table as T, close() {} };
      },
      counts: new LocalCounts(),
      overload: newOverloadState(),
      runtime: new RuntimeValues(),
      random: options.random ?? Math.random,
    };
    this.#context = context;
    this.#chain = { name: '', current: this.#build(options) };
    this.server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  #build(options: ProxyOptions): TerminalNetworkFilter {
    const message = fromJson(
      HttpConnectionManagerSchema,
      {
        stat_prefix: 'test',
        http_filters: [routerJson],
        route_config: options.routes ?? catchAllRoutes,
        ...options.hcm,
      },
      { registry: types },
    );
    const made = httpConnectionManager.create(
      { typeUrl: '', value: toBinary(HttpConnectionManagerSchema, message) },
      this.#context,
    );
    return made.filter;
  }

  /** New filters for the chain: open connections take them with their next request. */
  update(options: ProxyOptions): void {
    this.#chain.current = this.#build(options);
  }

  #accept(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    const info = createConnectionInfo(socket, undefined);
    if (info !== undefined) this.take(socket, info);
    socket.resume();
  }

  /** Hands a connection to the chain. */
  take(socket: Socket, info: ConnectionInfo): void {
    const { drainCallbacks } = this;
    const isDraining = (): boolean => this.draining;
    this.#chain.current.onConnection({
      socket,
      info,
      chain: this.#chain as ChainHandle,
      drain: {
        get draining() {
          return isDraining();
        },
        onDrain(callback) {
          drainCallbacks.add(callback);
          return () => drainCallbacks.delete(callback);
        },
      },
    });
  }

  drain(): void {
    this.draining = true;
    for (const callback of this.drainCallbacks) callback();
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    this.clusters.close();
  }
}

/** Starts a proxy on a loopback port. */
export async function startProxy(options: ProxyOptions): Promise<TestProxy> {
  const proxy = new TestProxy(options);
  proxy.port = await listen(proxy.server);
  return proxy;
}
