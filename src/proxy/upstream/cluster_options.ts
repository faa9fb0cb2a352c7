/** What a live cluster reads from envoy.config.cluster.v3.Cluster, with Envoy's defaults filled in. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type Cluster,
  Cluster_ClusterProtocolSelection as ProtocolSelection,
  Cluster_DiscoveryType as DiscoveryType,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { SocketAddress } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import { HealthStatus } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import type {
  Http1ProtocolOptions,
  Http2ProtocolOptions,
} from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import {
  type HttpProtocolOptions,
  HttpProtocolOptionsSchema,
} from '#api/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts';
import type { Address } from '../network/address.ts';
import type { Http2Options } from '../http/http2/options.ts';
import { readHttp2Options } from '../http/http2_options.ts';
import { durationMs } from '../network/duration.ts';
import type { KeepaliveOptions } from '../network/socket_options.ts';
import { refuseFields } from '../network/refused_fields.ts';

const httpOptionsKey = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';

/** Where a cluster's hosts come from. */
export type Discovery = 'static' | 'strict_dns' | 'logical_dns' | 'eds' | 'original_dst';

/** Which HTTP version goes upstream: fixed, that of the downstream request, or what ALPN chooses. */
export type ProtocolChoice = 'http1' | 'http2' | 'downstream' | 'auto';

export interface ClusterOptions {
  readonly discovery: Discovery;
  readonly protocol: ProtocolChoice;
  readonly connectTimeoutMs: number;
  /** 0 means never. */
  readonly idleTimeoutMs: number;
  readonly maxConnectionDurationMs: number;
  /** 0 means no limit. */
  readonly maxRequestsPerConnection: number;
  readonly maxResponseHeadersKb: number;
  readonly maxResponseHeaders: number;
  readonly bufferLimitBytes: number;
  /** Connections of a pool in proportion to its streams, 1 to 3. */
  readonly preconnectRatio: number;
  readonly http1: Http1ProtocolOptions | undefined;
  readonly http2: Http2Options;
  readonly sourceAddresses: readonly Address[];
  readonly keepalive: KeepaliveOptions | undefined;
  /** Hosts that turn unhealthy lose their TCP connections at once. */
  readonly closeOnHealthFailure: boolean;
  /** Hosts that are gone from their cluster go at once, even while their health checks pass. */
  readonly removeWhileHealthy: boolean;
  /** All connections are renewed when the set of hosts changes. */
  readonly renewOnHostSetChange: boolean;
  /** New hosts count for nothing until a health check has answered. */
  readonly ignoreNewHosts: boolean;
  /** Hosts that a request may ask for by address: bit `n` for `HealthStatus` `n` (`override_host_status`). */
  readonly overrideHostStatuses: number;
  /** SNI follows the request's authority. */
  readonly autoSni: boolean;
  readonly autoSanValidation: boolean;
  /** Header that `auto_sni` reads in place of the authority; empty for none. */
  readonly autoSniHeader: string;
}

const dnsClusterType = 'envoy.clusters.dns';

function discoveryOf(cluster: Cluster): Discovery {
  const { clusterDiscoveryType: type } = cluster;
  if (type.case === 'clusterType') {
    if (type.value.name === dnsClusterType) return 'strict_dns';
    throw new Error(`cluster type ${type.value.name} is not compiled in`);
  }
  switch (type.value ?? DiscoveryType.STATIC) {
    case DiscoveryType.STRICT_DNS:
      return 'strict_dns';
    case DiscoveryType.LOGICAL_DNS:
      return 'logical_dns';
    case DiscoveryType.EDS:
      return 'eds';
    case DiscoveryType.ORIGINAL_DST:
      return 'original_dst';
    default:
      return 'static';
  }
}

function protocolOf(cluster: Cluster, http: HttpProtocolOptions | undefined): ProtocolChoice {
  const options = http?.upstreamProtocolOptions;
  if (options === undefined) {
    if (cluster.protocolSelection === ProtocolSelection.USE_DOWNSTREAM_PROTOCOL) return 'downstream';
    return cluster.http2ProtocolOptions === undefined ? 'http1' : 'http2';
  }
  switch (options.case) {
    case 'explicitHttpConfig':
      return options.value.protocolConfig.case === 'http2ProtocolOptions' ? 'http2' : 'http1';
    case 'useDownstreamProtocolConfig':
      return 'downstream';
    case 'autoConfig':
      return 'auto';
    default:
      return 'http1';
  }
}

function http1Of(cluster: Cluster, http: HttpProtocolOptions | undefined): Http1ProtocolOptions | undefined {
  const options = http?.upstreamProtocolOptions;
  if (options?.case === 'explicitHttpConfig')
    return options.value.protocolConfig.case === 'httpProtocolOptions'
      ? options.value.protocolConfig.value
      : undefined;
  if (options?.case === undefined) return cluster.httpProtocolOptions;
  return options.value.httpProtocolOptions;
}

function http2Of(cluster: Cluster, http: HttpProtocolOptions | undefined): Http2ProtocolOptions | undefined {
  const options = http?.upstreamProtocolOptions;
  if (options?.case === 'explicitHttpConfig')
    return options.value.protocolConfig.case === 'http2ProtocolOptions'
      ? options.value.protocolConfig.value
      : undefined;
  if (options?.case === undefined) return cluster.http2ProtocolOptions;
  return options.value.http2ProtocolOptions;
}

function sourceAddress(proto: SocketAddress | undefined): Address[] {
  if (proto === undefined || proto.address === '') return [];
  return [
    { ip: proto.address, port: proto.portSpecifier.case === 'portValue' ? proto.portSpecifier.value : 0 },
  ];
}

function preconnectOf(cluster: Cluster): number {
  const policy = cluster.preconnectPolicy;
  const ratio = policy?.perUpstreamPreconnectRatio ?? 1;
  if (ratio < 1 || ratio > 3)
    throw new Error(`preconnect_policy.per_upstream_preconnect_ratio: ${ratio} is not between 1 and 3`);
  if ((policy?.predictivePreconnectRatio ?? 1) !== 1)
    throw new Error('preconnect_policy.predictive_preconnect_ratio is not supported');
  return ratio;
}

const usableStatuses: readonly HealthStatus[] = [
  HealthStatus.UNKNOWN,
  HealthStatus.HEALTHY,
  HealthStatus.DEGRADED,
];

function statusBits(statuses: readonly HealthStatus[] = usableStatuses): number {
  let bits = 0;
  for (const status of statuses) bits |= 1 << status;
  return bits;
}

/** @throws Error when the cluster asks for what is not there. */
export function readClusterOptions(cluster: Cluster): ClusterOptions {
  refuseFields(cluster);
  refuseFields(cluster.upstreamBindConfig, 'upstream_bind_config.');
  for (const thresholds of cluster.circuitBreakers?.thresholds ?? [])
    refuseFields(thresholds, 'circuit_breakers.thresholds.');
  const any = cluster.typedExtensionProtocolOptions[httpOptionsKey];
  const http = any === undefined ? undefined : fromBinary(HttpProtocolOptionsSchema, any.value);
  refuseFields(http);
  refuseFields(http1Of(cluster, http), 'http_protocol_options.');
  const common = http?.commonHttpProtocolOptions ?? cluster.commonHttpProtocolOptions;
  refuseFields(common, 'common_http_protocol_options.');
  const upstream = http?.upstreamHttpProtocolOptions ?? cluster.upstreamHttpProtocolOptions;
  const bind = cluster.upstreamBindConfig;
  const keepalive = cluster.upstreamConnectionOptions?.tcpKeepalive;
  return {
    discovery: discoveryOf(cluster),
    protocol: protocolOf(cluster, http),
    connectTimeoutMs: durationMs(cluster.connectTimeout) ?? 5000,
    idleTimeoutMs: durationMs(common?.idleTimeout) ?? 3_600_000,
    maxConnectionDurationMs: durationMs(common?.maxConnectionDuration) ?? 0,
    maxRequestsPerConnection: common?.maxRequestsPerConnection ?? cluster.maxRequestsPerConnection ?? 0,
    maxResponseHeadersKb: common?.maxResponseHeadersKb ?? 60,
    maxResponseHeaders: common?.maxHeadersCount ?? 100,
    bufferLimitBytes: cluster.perConnectionBufferLimitBytes ?? 1024 * 1024,
    preconnectRatio: preconnectOf(cluster),
    http1: http1Of(cluster, http),
    http2: readHttp2Options(http2Of(cluster, http), {
      maxHeadersKb: common?.maxResponseHeadersKb ?? 60,
      maxHeadersCount: common?.maxHeadersCount ?? 100,
      underscores: 'allow',
      highWatermark: cluster.perConnectionBufferLimitBytes ?? 1024 * 1024,
    }),
    sourceAddresses: [
      ...sourceAddress(bind?.sourceAddress),
      ...(bind?.extraSourceAddresses ?? []).flatMap((extra) => sourceAddress(extra.address)),
      ...(bind?.additionalSourceAddresses ?? []).flatMap(sourceAddress),
    ],
    keepalive:
      keepalive === undefined
        ? undefined
        : {
            probes: keepalive.keepaliveProbes,
            timeSeconds: keepalive.keepaliveTime,
            intervalSeconds: keepalive.keepaliveInterval,
          },
    closeOnHealthFailure: cluster.closeConnectionsOnHostHealthFailure,
    removeWhileHealthy: cluster.ignoreHealthOnHostRemoval,
    renewOnHostSetChange: cluster.commonLbConfig?.closeConnectionsOnHostSetChange ?? false,
    ignoreNewHosts: cluster.commonLbConfig?.ignoreNewHostsUntilFirstHc ?? false,
    overrideHostStatuses: statusBits(cluster.commonLbConfig?.overrideHostStatus?.statuses),
    autoSni: upstream?.autoSni ?? false,
    autoSanValidation: upstream?.autoSanValidation ?? false,
    autoSniHeader: upstream?.overrideAutoSniHeader.toLowerCase() ?? '',
  };
}
