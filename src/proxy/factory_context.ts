/** What factories of extensions get from the worker that builds them (envoy Server::Configuration::FactoryContext). */
import { fromBinary, type JsonObject } from '@bufbuild/protobuf';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { SubstitutionFormatString } from '#api/gen/envoy/config/core/v3/substitution_format_string_pb.ts';
import type { ConfigSource } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { TypedStructSchema as UdpaTypedStructSchema } from '#api/gen/udpa/type/v1/typed_struct_pb.ts';
import { TypedStructSchema } from '#api/gen/xds/type/v3/typed_struct_pb.ts';
import { TYPED_STRUCT, UDPA_TYPED_STRUCT } from '#api/type_urls.ts';
import type { Logger } from '#base/log.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { HttpFilterFactory, TerminalHttpFilterFactory } from './http/filter.ts';
import type { ReplyBodyFormat } from './http/local_reply.ts';
import type { NetworkFilterFactory } from './network/filter.ts';
import type { ListenerFilterFactory } from './network/listener_filter.ts';
import type { OverloadState } from './network/overload_state.ts';
import type { RuntimeValues } from './network/runtime.ts';
import type { Counts } from './network/shared_counts.ts';
import type { ExtensionFactory, ExtensionKind, ExtensionRegistry } from './registry.ts';
import type { StreamInfo } from './stream_info/stream_info.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from './http/header_map.ts';
import type { ClusterManager } from './upstream/upstream.ts';

/** A `google.protobuf.Any` as the generated types give it. */
export interface TypedConfig {
  readonly typeUrl: string;
  readonly value: Uint8Array;
  /** Set when it came as TypedStruct: the configuration as JSON; `typeUrl` is then the inner one and `value` is empty. */
  readonly struct?: JsonObject;
}

const noBytes = new Uint8Array();

/** A typed_config with TypedStruct (of either package) taken off. */
export function readTypedConfig(any: { readonly typeUrl: string; readonly value: Uint8Array }): TypedConfig {
  if (any.typeUrl === TYPED_STRUCT) {
    const { typeUrl, value } = fromBinary(TypedStructSchema, any.value);
    return { typeUrl, value: noBytes, struct: value ?? {} };
  }
  if (any.typeUrl === UDPA_TYPED_STRUCT) {
    const { typeUrl, value } = fromBinary(UdpaTypedStructSchema, any.value);
    return { typeUrl, value: noBytes, struct: value ?? {} };
  }
  return { typeUrl: any.typeUrl, value: any.value };
}

/** What `findExtension` found. */
export interface FoundExtension<Factory extends ExtensionFactory> {
  readonly factory: Factory;
  readonly config: TypedConfig;
}

/**
 * The extension for a name and its typed_config, which may be absent or a TypedStruct. Undefined when nothing is compiled
 * in for it: the caller skips what is optional and refuses the rest by name.
 * @throws Error when the extension is there but does not read TypedStruct.
 */
export function findExtension<Factory extends ExtensionFactory>(
  registry: ExtensionRegistry,
  kind: ExtensionKind,
  name: string,
  any: { readonly typeUrl: string; readonly value: Uint8Array } | undefined,
): FoundExtension<Factory> | undefined {
  const config = any === undefined ? { typeUrl: '', value: noBytes } : readTypedConfig(any);
  const found = config.typeUrl === '' ? registry.findByName(kind, name) : registry.find(kind, config.typeUrl);
  if (found === undefined) return undefined;
  if (config.struct !== undefined && found.readsStruct !== true)
    throw new Error(`${name}: ${config.typeUrl} as TypedStruct is not supported, send the message itself`);
  return { factory: found as Factory, config };
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
  /** Environment variables that configurations may name; absent where none are known. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Access loggers from `repeated AccessLog`; throws Error with a readable cause for what is unknown. */
  accessLoggers(configs: readonly unknown[]): AccessLogger[];
  /** Compiles a format of reply bodies; throws Error that names an unknown operator. Absent where formats are not known. */
  readonly replyBody?: (format: SubstitutionFormatString) => ReplyBodyFormat;
  /**
   * Subscribes to a route configuration by RDS name (from ADS unless a source is named), or wraps an inline one (a decoded
   * RouteConfiguration message). Called only while the factory's `create` runs: the listener then waits for the routes.
   */
  routeConfig<T>(
    source:
      | { readonly rds: string; readonly configSource?: ConfigSource | undefined }
      | { readonly inline: unknown },
  ): RouteConfigProvider<T>;
  /** Counts over all workers, by name: rate limits, circuit breakers. */
  readonly counts: Counts;
  readonly overload: OverloadState;
  readonly runtime: RuntimeValues;
  /** Runtime fraction: true with probability numerator/denominator. */
  random(): number;
  /** Place in the configuration of what is built (listener and filter chain, or route): the same in all workers. */
  readonly scope?: string;
  /** `per_connection_buffer_limit_bytes` of the listener; undefined where it says nothing. */
  readonly bufferLimitBytes?: number | undefined;
  /** `stat_prefix` of the connection manager that HTTP filters belong to. */
  readonly statPrefix?: string;
}

/** Factory kinds, as they stand in `extensions.ts`. Each decodes its own typed_config and throws Error when it is bad. */
export interface HttpFilterExtension extends ExtensionFactory {
  create(
    config: TypedConfig,
    context: FactoryContext,
    filterName: string,
  ): HttpFilterFactory | TerminalHttpFilterFactory;
  /** Decodes a `typed_per_filter_config` of this filter. */
  createRouteConfig?(config: TypedConfig, context: FactoryContext): unknown;
}

export interface NetworkFilterExtension extends ExtensionFactory {
  create(config: TypedConfig, context: FactoryContext): NetworkFilterFactory;
}

export interface ListenerFilterExtension extends ExtensionFactory {
  create(config: TypedConfig): ListenerFilterFactory;
}
