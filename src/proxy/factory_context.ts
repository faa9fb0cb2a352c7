/** What factories of extensions get from the worker that builds them (envoy Server::Configuration::FactoryContext). */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Logger } from '#base/log.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { HttpFilterFactory } from './http/filter.ts';
import type { NetworkFilterFactory } from './network/filter.ts';
import type { ListenerFilterFactory } from './network/listener_filter.ts';
import type { ExtensionFactory, ExtensionRegistry } from './registry.ts';
import type { StreamInfo } from './stream_info/stream_info.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from './http/header_map.ts';
import type { ClusterManager } from './upstream/upstream.ts';

/** A `google.protobuf.Any` as the generated types give it. */
export interface TypedConfig {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** Writes one entry per finished request or connection. */
export interface AccessLogger {
  log(
    info: StreamInfo,
    request: RequestHeaderMap | undefined,
    response: ResponseHeaderMap | undefined,
    trailers: HeaderMap | undefined,
  ): void;
}

/** A live route configuration; RDS swaps what `current` gives between two requests. */
export interface RouteConfigProvider<RouteConfig> {
  /** Undefined until RDS has delivered it for the first time. */
  readonly current: RouteConfig | undefined;
  /** Gives up the subscription. */
  close(): void;
}

export interface FactoryContext {
  readonly registry: ExtensionRegistry;
  readonly clusterManager: ClusterManager;
  readonly metrics: MetricsRegistry;
  readonly node: Node;
  readonly log: Logger;
  /** Traffic direction of the listener that owns the extension. */
  readonly direction: 'inbound' | 'outbound' | 'unspecified';
  /** Access loggers from `repeated AccessLog`; throws Error with a readable cause for what is unknown. */
  accessLoggers(configs: readonly unknown[]): AccessLogger[];
  /** Subscribes to a route configuration by RDS name, or wraps an inline one (a decoded RouteConfiguration message). */
  routeConfig<T>(source: { readonly rds: string } | { readonly inline: unknown }): RouteConfigProvider<T>;
  /** Runtime fraction: true with probability numerator/denominator. */
  random(): number;
}

/** Factory kinds, as they stand in `extensions.ts`. Each decodes its own typed_config and throws Error when it is bad. */
export interface HttpFilterExtension extends ExtensionFactory {
  create(config: TypedConfig, context: FactoryContext, filterName: string): HttpFilterFactory;
  /** Decodes a `typed_per_filter_config` of this filter. */
  createRouteConfig?(config: TypedConfig, context: FactoryContext): unknown;
}

export interface NetworkFilterExtension extends ExtensionFactory {
  create(config: TypedConfig, context: FactoryContext): NetworkFilterFactory;
}

export interface ListenerFilterExtension extends ExtensionFactory {
  create(config: TypedConfig): ListenerFilterFactory;
}
