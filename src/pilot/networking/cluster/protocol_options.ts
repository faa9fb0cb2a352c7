/** `envoy.extensions.upstreams.http.v3.HttpProtocolOptions` of clusters: which HTTP is spoken upstream. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { Http2ProtocolOptionsSchema } from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import {
  type HttpProtocolOptions,
  HttpProtocolOptionsSchema,
} from '#api/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts';
import { HTTP_PROTOCOL_OPTIONS } from '#api/type_urls.ts';
import type { ConnectionPoolSettings } from '#config/kinds/destination_rule/types.ts';
import { isHttp, isHttp2, type Protocol } from '../../model/protocol.ts';
import { any, parseDuration } from '../wire.ts';

/** Upstream speaks what the caller spoke. */
export function downstreamProtocolOptions(): HttpProtocolOptions {
  return create(HttpProtocolOptionsSchema, {
    upstreamProtocolOptions: {
      case: 'useDownstreamProtocolConfig',
      value: { httpProtocolOptions: {}, http2ProtocolOptions: {} },
    },
  });
}

function http2Options(
  pool: ConnectionPoolSettings | undefined,
): MessageInitShape<typeof Http2ProtocolOptionsSchema> {
  const { maxConcurrentStreams, http2KeepAlive } = pool?.http ?? {};
  const interval = parseDuration(http2KeepAlive?.interval);
  const timeout = parseDuration(http2KeepAlive?.timeout);
  return {
    ...(maxConcurrentStreams === undefined ? {} : { maxConcurrentStreams }),
    ...(interval === undefined || timeout === undefined
      ? {}
      : { connectionKeepalive: { interval, timeout } }),
  };
}

/** Limits of connections that HTTP itself keeps; undefined when none is set. */
function connectionLimits(pool: ConnectionPoolSettings | undefined) {
  const idleTimeout = parseDuration(pool?.http?.idleTimeout);
  const maxConnectionDuration = parseDuration(pool?.tcp?.maxConnectionDuration);
  const maxRequests = pool?.http?.maxRequestsPerConnection ?? 0;
  if (idleTimeout === undefined && maxConnectionDuration === undefined && maxRequests === 0) return undefined;
  return {
    ...(idleTimeout === undefined ? {} : { idleTimeout }),
    ...(maxConnectionDuration === undefined ? {} : { maxConnectionDuration }),
    ...(maxRequests === 0 ? {} : { maxRequestsPerConnection: maxRequests }),
  };
}

/** Whether connections of a port's cluster speak HTTP/2 whatever the caller speaks; parameters as `protocolOptions`. */
export function alwaysHttp2(
  protocol: Protocol,
  pool: ConnectionPoolSettings | undefined,
  meshUpgrades: boolean,
): boolean {
  if (pool?.http?.useClientProtocol === true) return false;
  if (isHttp2(protocol)) return true;
  const policy = pool?.http?.h2UpgradePolicy ?? 'DEFAULT';
  return protocol === 'HTTP' && (policy === 'UPGRADE' || (policy === 'DEFAULT' && meshUpgrades));
}

/**
 * Options for a port; undefined for protocols without HTTP.
 * @param meshUpgrades Whether MeshConfig turns HTTP/1.1 into HTTP/2 between sidecars.
 */
export function protocolOptions(
  protocol: Protocol,
  pool: ConnectionPoolSettings | undefined,
  meshUpgrades: boolean,
): HttpProtocolOptions | undefined {
  const auto = protocol === 'Auto';
  if (!auto && !isHttp(protocol)) return undefined;
  const limits = connectionLimits(pool);
  const base = limits === undefined ? {} : { commonHttpProtocolOptions: limits };
  if (auto || pool?.http?.useClientProtocol === true) {
    return create(HttpProtocolOptionsSchema, {
      ...base,
      upstreamProtocolOptions: {
        case: 'useDownstreamProtocolConfig',
        value: { httpProtocolOptions: {}, http2ProtocolOptions: http2Options(pool) },
      },
    });
  }
  return create(HttpProtocolOptionsSchema, {
    ...base,
    upstreamProtocolOptions: {
      case: 'explicitHttpConfig',
      value: {
        protocolConfig: alwaysHttp2(protocol, pool, meshUpgrades)
          ? { case: 'http2ProtocolOptions', value: http2Options(pool) }
          : { case: 'httpProtocolOptions', value: {} },
      },
    },
  });
}

/** Puts the options into a cluster. */
export function withProtocolOptions(cluster: Cluster, options: HttpProtocolOptions | undefined): Cluster {
  if (options !== undefined) {
    cluster.typedExtensionProtocolOptions[HTTP_PROTOCOL_OPTIONS] = any(HttpProtocolOptionsSchema, options);
  }
  return cluster;
}
