/** Config sources (envoy.config.core.v3.ConfigSource) as short texts: equal sources share one stream. */
import {
  ApiConfigSource_ApiType as ApiType,
  type ApiConfigSource,
  type ConfigSource,
} from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import type { XdsProtocol } from '#xds/transport.ts';
import { durationMs } from '../network/duration.ts';

/** The aggregated stream of `dynamic_resources.ads_config`. */
export const adsKey = 'ads';

/** A gRPC server behind a static cluster. */
export interface GrpcSource {
  readonly cluster: string;
  readonly protocol: XdsProtocol;
}

/**
 * The server and variant that an API config source names.
 * @throws Error for REST and for anything but one gRPC service that names a cluster.
 */
export function readApiSource(api: ApiConfigSource): GrpcSource {
  const target = api.grpcServices[0]?.targetSpecifier;
  const cluster = target?.case === 'envoyGrpc' ? target.value.clusterName : api.clusterNames[0];
  if (cluster === undefined || cluster === '')
    throw new Error('api_config_source: no grpc_services entry with envoy_grpc.cluster_name');
  switch (api.apiType) {
    case ApiType.GRPC:
    case ApiType.AGGREGATED_GRPC:
      return { cluster, protocol: 'sotw' };
    case ApiType.DELTA_GRPC:
    case ApiType.AGGREGATED_DELTA_GRPC:
      return { cluster, protocol: 'delta' };
    default:
      throw new Error(`api_config_source: api_type ${api.apiType} is not supported, use GRPC or DELTA_GRPC`);
  }
}

/**
 * Text of a source: `ads`, or `grpc:CLUSTER:VARIANT`. An absent source is `ads`.
 * @throws Error for sources that are not supported (files, REST).
 */
export function sourceKey(source: ConfigSource | undefined): string {
  const specifier = source?.configSourceSpecifier;
  switch (specifier?.case) {
    case undefined:
    case 'ads':
    case 'self':
      return adsKey;
    case 'apiConfigSource': {
      const { apiType } = specifier.value;
      if (apiType === ApiType.AGGREGATED_GRPC || apiType === ApiType.AGGREGATED_DELTA_GRPC) return adsKey;
      const { cluster, protocol } = readApiSource(specifier.value);
      return `grpc:${cluster}:${protocol}`;
    }
    default:
      throw new Error(`config source ${specifier?.case} is not supported, use ads or api_config_source`);
  }
}

/** The server of a key that `sourceKey` made; undefined for `ads`. */
export function parseSourceKey(key: string): GrpcSource | undefined {
  if (key === adsKey) return undefined;
  const end = key.lastIndexOf(':');
  return { cluster: key.slice('grpc:'.length, end), protocol: key.slice(end + 1) as XdsProtocol };
}

/** `initial_fetch_timeout` in milliseconds: default 15 000, 0 waits for ever. */
export function initialFetchTimeoutMs(source: ConfigSource | undefined): number {
  return durationMs(source?.initialFetchTimeout) ?? 15_000;
}
