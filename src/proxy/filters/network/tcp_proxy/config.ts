/** Reads envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy. */
import { fromBinary } from '@bufbuild/protobuf';
import {
  type TcpProxy,
  TcpProxySchema,
} from '#api/gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { AccessLogger, FactoryContext, NetworkFilterExtension } from '../../../factory_context.ts';
import { durationMs } from '../../../network/duration.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { TcpProxyFilter } from './tcp_proxy.ts';

export interface TcpProxyConfig {
  readonly clusterManager: ClusterManager;
  /** Cluster of one connection. */
  chooseCluster(): string;
  /** 0 means never. */
  readonly idleTimeoutMs: number;
  /** 0 means no limit. */
  readonly maxDurationMs: number;
  /** At least 1. */
  readonly maxConnectAttempts: number;
  /** Consistent balancers place a connection by its source address. */
  readonly hashSourceIp: boolean;
  readonly accessLoggers: readonly AccessLogger[];
  /** 0 logs only at the end. */
  readonly logIntervalMs: number;
  readonly logOnConnected: boolean;
}

function clusterChooser(proto: TcpProxy, random: () => number): () => string {
  const { clusterSpecifier: specifier } = proto;
  if (specifier.case === 'cluster') {
    const name = specifier.value;
    return () => name;
  }
  if (specifier.case !== 'weightedClusters')
    throw new Error('tcp_proxy: neither cluster nor weighted_clusters');
  const { clusters } = specifier.value;
  const total = clusters.reduce((sum, entry) => sum + entry.weight, 0);
  const last = clusters.at(-1);
  if (last === undefined || total <= 0) throw new Error('tcp_proxy: the sum of weights must be above 0');
  return () => {
    let point = random() * total;
    for (const { name, weight } of clusters) {
      if (point < weight) return name;
      point -= weight;
    }
    return last.name;
  };
}

function readConfig(proto: TcpProxy, context: FactoryContext): TcpProxyConfig {
  if (proto.tunnelingConfig !== undefined) throw new Error('tcp_proxy: tunneling_config is not implemented');
  const log = proto.accessLogOptions;
  const attempts = proto.maxConnectAttempts ?? 1;
  if (attempts < 1) throw new Error('tcp_proxy: max_connect_attempts must be at least 1');
  return {
    clusterManager: context.clusterManager,
    chooseCluster: clusterChooser(proto, () => context.random()),
    idleTimeoutMs: durationMs(proto.idleTimeout) ?? 3_600_000,
    maxDurationMs: durationMs(proto.maxDownstreamConnectionDuration) ?? 0,
    maxConnectAttempts: attempts,
    hashSourceIp: proto.hashPolicy.some((policy) => policy.policySpecifier.case === 'sourceIp'),
    accessLoggers: proto.accessLog.length === 0 ? [] : context.accessLoggers(proto.accessLog),
    logIntervalMs: durationMs(log?.accessLogFlushInterval ?? proto.accessLogFlushInterval) ?? 0,
    logOnConnected: log?.flushAccessLogOnConnected ?? proto.flushAccessLogOnConnected,
  };
}

export const tcpProxy = {
  name: 'envoy.filters.network.tcp_proxy',
  typeUrls: [typeUrlOf(TcpProxySchema)],
  create(config, context) {
    return {
      terminal: true,
      filter: new TcpProxyFilter(readConfig(fromBinary(TcpProxySchema, config.value), context)),
      close() {},
    };
  },
} satisfies NetworkFilterExtension;
