/**
 * The bootstrap of the proxy, one message for both data planes: node, admin, the static clusters prometheus_stats,
 * agent, sds-grpc and xds-grpc, the static listeners for metrics and health, and ADS for the rest.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { BootstrapSchema, type Bootstrap } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import {
  Cluster_DiscoveryType,
  ClusterSchema,
  type Cluster,
} from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { AddressSchema, type Address } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import {
  ApiConfigSource_ApiType,
  ApiVersion,
  ConfigSourceSchema,
} from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { Http2ProtocolOptionsSchema } from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import { FileAccessLogSchema } from '#api/gen/envoy/extensions/access_loggers/file/v3/file_pb.ts';
import { DownstreamConnectionsConfigSchema } from '#api/gen/envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections_pb.ts';
import { HttpProtocolOptionsSchema } from '#api/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts';
import { localClusterName } from '#api/well_known.ts';
import { staticListener } from './bootstrap_listeners.ts';
import { buildStatsConfig } from './bootstrap_stats.ts';
import { buildNode } from './node.ts';
import type { AgentOptions, Endpoint } from './options.ts';
import { sdsSocketPath, xdsSocketPath } from './sockets.ts';

/** Names of the static clusters. */
export const staticClusters = {
  admin: 'prometheus_stats',
  agent: 'agent',
  sds: 'sds-grpc',
  xds: 'xds-grpc',
} as const;

/** Largest downstream connection count of Istio's bootstrap: no limit below the 32-bit range. */
const maxConnections = 2_147_483_647n;

function socketAddress({ address, port }: Endpoint): Address {
  return create(AddressSchema, {
    address: { case: 'socketAddress', value: { address, portSpecifier: { case: 'portValue', value: port } } },
  });
}

function pipeAddress(path: string): Address {
  return create(AddressSchema, { address: { case: 'pipe', value: { path } } });
}

/** Address by which the proxy reaches a listener of its own host. */
function reachable(endpoint: Endpoint): Endpoint {
  if (endpoint.address === '0.0.0.0') return { address: '127.0.0.1', port: endpoint.port };
  if (endpoint.address === '::') return { address: '::1', port: endpoint.port };
  return endpoint;
}

function staticCluster(name: string, address: Address, http2: boolean): Cluster {
  const protocol = create(HttpProtocolOptionsSchema, {
    upstreamProtocolOptions: {
      case: 'explicitHttpConfig',
      value: {
        protocolConfig: {
          case: 'http2ProtocolOptions',
          value: create(Http2ProtocolOptionsSchema, {
            connectionKeepalive: {
              interval: { seconds: 30n, nanos: 0 },
              timeout: { seconds: 10n, nanos: 0 },
            },
          }),
        },
      },
    },
  });
  return create(ClusterSchema, {
    name,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.STATIC },
    connectTimeout: { seconds: http2 ? 1n : 0n, nanos: http2 ? 0 : 250_000_000 },
    loadAssignment: {
      clusterName: name,
      endpoints: [{ lbEndpoints: [{ hostIdentifier: { case: 'endpoint', value: { address } } }] }],
    },
    ...(http2
      ? {
          typedExtensionProtocolOptions: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': anyPack(
              HttpProtocolOptionsSchema,
              protocol,
            ),
          },
        }
      : {}),
  });
}

/** `lds_config` and `cds_config`: all over ADS, and startup waits for them without limit. */
function adsSource() {
  return create(ConfigSourceSchema, {
    configSourceSpecifier: { case: 'ads', value: {} },
    initialFetchTimeout: { seconds: 0n, nanos: 0 },
    resourceApiVersion: ApiVersion.V3,
  });
}

/** The proxy knows its own workload, for zone-aware balancing (`ISTIO_META_ENABLE_SELF_DISCOVERY`). */
function selfDiscovery({ metadata }: AgentOptions): boolean {
  return metadata['ENABLE_SELF_DISCOVERY'] === 'true';
}

/** The workload that the proxy is part of, by EDS. */
function ownCluster(): Cluster {
  return create(ClusterSchema, {
    name: localClusterName,
    clusterDiscoveryType: { case: 'type', value: Cluster_DiscoveryType.EDS },
    // With a time limit: a control plane that does not know the name must not hold the start up.
    edsClusterConfig: {
      serviceName: localClusterName,
      edsConfig: { configSourceSpecifier: { case: 'ads', value: {} }, resourceApiVersion: ApiVersion.V3 },
    },
  });
}

function clusterManager(
  options: AgentOptions,
): Pick<MessageInitShape<typeof BootstrapSchema>, 'clusterManager'> {
  const { outlierLogPath } = options;
  const local = selfDiscovery(options);
  if (outlierLogPath === undefined && !local) return {};
  return {
    clusterManager: {
      ...(local ? { localClusterName } : {}),
      ...(outlierLogPath === undefined ? {} : { outlierDetection: { eventLogPath: outlierLogPath } }),
    },
  };
}

/** Builds the bootstrap; stock Envoy accepts it (`--mode validate`). */
export function buildBootstrap(options: AgentOptions): Bootstrap {
  const { endpoints, runDirectory } = options;
  const connectionLimit = create(DownstreamConnectionsConfigSchema, {
    maxActiveDownstreamConnections: maxConnections,
  });
  const nullLog = create(FileAccessLogSchema, { path: '/dev/null' });
  return create(BootstrapSchema, {
    node: buildNode(options),
    admin: {
      accessLog: [
        {
          name: 'envoy.access_loggers.file',
          configType: { case: 'typedConfig', value: anyPack(FileAccessLogSchema, nullLog) },
        },
      ],
      address: socketAddress(endpoints.admin),
    },
    layeredRuntime: {
      layers: [
        {
          name: 'global config',
          layerSpecifier: {
            case: 'staticLayer',
            value: {
              're2.max_program_size.error_level': '32768',
            },
          },
        },
        { name: 'admin', layerSpecifier: { case: 'adminLayer', value: {} } },
      ],
    },
    overloadManager: {
      resourceMonitors: [
        {
          name: 'envoy.resource_monitors.global_downstream_max_connections',
          configType: {
            case: 'typedConfig',
            value: anyPack(DownstreamConnectionsConfigSchema, connectionLimit),
          },
        },
      ],
    },
    ...clusterManager(options),
    statsConfig: buildStatsConfig(options.domain, options.proxyConfig.statsInclusion),
    applicationLogConfig: {
      logFormat: {
        logFormat: { case: 'textFormat', value: '%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t' },
      },
    },
    dynamicResources: {
      ldsConfig: adsSource(),
      cdsConfig: adsSource(),
      adsConfig: {
        apiType:
          (options.xdsProtocol ?? 'delta') === 'delta'
            ? ApiConfigSource_ApiType.DELTA_GRPC
            : ApiConfigSource_ApiType.GRPC,
        transportApiVersion: ApiVersion.V3,
        setNodeOnFirstMessageOnly: true,
        grpcServices: [
          { targetSpecifier: { case: 'envoyGrpc', value: { clusterName: staticClusters.xds } } },
        ],
      },
    },
    staticResources: {
      clusters: [
        staticCluster(staticClusters.admin, socketAddress(reachable(endpoints.admin)), false),
        staticCluster(staticClusters.agent, socketAddress(reachable(endpoints.status)), false),
        // In one process a transport in memory stands for each of the two.
        ...(options.dataPlane.kind === 'built_in'
          ? []
          : [
              staticCluster(staticClusters.sds, pipeAddress(sdsSocketPath(runDirectory)), true),
              staticCluster(staticClusters.xds, pipeAddress(xdsSocketPath(runDirectory)), true),
            ]),
        ...(selfDiscovery(options) ? [ownCluster()] : []),
      ],
      listeners: [
        staticListener(
          'stats',
          socketAddress(endpoints.prometheus),
          '/stats/prometheus',
          staticClusters.admin,
        ),
        staticListener('agent', socketAddress(endpoints.health), '/healthz/ready', staticClusters.agent),
      ],
    },
  });
}
