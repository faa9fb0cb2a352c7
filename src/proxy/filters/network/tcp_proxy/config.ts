/** Reads envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy. */
import { fromBinary } from '@bufbuild/protobuf';
import type { Metadata } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  type ProxyProtocolTlvMergePolicy,
  type TcpProxy,
  TcpProxySchema,
  UpstreamConnectMode,
} from '#api/gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { AccessLogger, FactoryContext, NetworkFilterExtension } from '../../../factory_context.ts';
import { durationMs } from '../../../network/duration.ts';
import type { ProxyTlv } from '../../../network/proxy_header.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { TcpProxyStats } from './stats.ts';
import { TcpProxyFilter } from './tcp_proxy.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

/** Where one connection goes. */
export interface ClusterChoice {
  readonly name: string;
  /** Subset of the cluster (`metadata_match`, namespace envoy.lb); undefined for all hosts. */
  readonly metadataMatch: Readonly<Record<string, unknown>> | undefined;
}

export interface TcpProxyConfig {
  readonly clusterManager: ClusterManager;
  readonly stats: TcpProxyStats;
  /** Cluster of one connection. */
  chooseCluster(): ClusterChoice;
  /** 0 means never. */
  readonly idleTimeoutMs: number;
  /** 0 means no limit. */
  readonly maxDurationMs: number;
  /** Part of the duration that a connection may last longer, by chance; 0 to 1. */
  readonly maxDurationJitter: number;
  /** At least 1. */
  readonly maxConnectAttempts: number;
  /** First wait between attempts, doubled each time, milliseconds; 0 waits not at all. */
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** Consistent balancers place a connection by its source address. */
  readonly hashSourceIp: boolean;
  /** Added to PROXY headers that go to hosts. */
  readonly proxyTlvs: readonly ProxyTlv[];
  readonly tlvMerge: ProxyProtocolTlvMergePolicy;
  readonly accessLoggers: readonly AccessLogger[];
  /** 0 logs only at the end. */
  readonly logIntervalMs: number;
  /** Bytes that may wait for the client; undefined for the default. */
  readonly bufferLimitBytes: number | undefined;
  readonly logOnStart: boolean;
  readonly logOnConnected: boolean;
  random(): number;
}

type SubsetMatch = Readonly<Record<string, unknown>> | undefined;

function subsetOf(metadata: Metadata | undefined): SubsetMatch {
  return metadata?.filterMetadata['envoy.lb'];
}

function clusterChooser(proto: TcpProxy, random: () => number): () => ClusterChoice {
  refuseFields(proto, 'tcp_proxy: ');
  const { clusterSpecifier: specifier } = proto;
  const own = subsetOf(proto.metadataMatch);
  if (specifier.case === 'cluster') {
    const choice: ClusterChoice = { name: specifier.value, metadataMatch: own };
    return () => choice;
  }
  if (specifier.case !== 'weightedClusters')
    throw new Error('tcp_proxy: neither cluster nor weighted_clusters');
  const clusters = specifier.value.clusters.map(({ name, weight, metadataMatch }) => {
    const more = subsetOf(metadataMatch);
    const merged = more === undefined ? own : { ...own, ...more };
    return { weight, choice: { name, metadataMatch: merged } satisfies ClusterChoice };
  });
  const total = clusters.reduce((sum, entry) => sum + entry.weight, 0);
  const last = clusters.at(-1);
  if (last === undefined || total <= 0) throw new Error('tcp_proxy: the sum of weights must be above 0');
  return () => {
    let point = random() * total;
    for (const { choice, weight } of clusters) {
      if (point < weight) return choice;
      point -= weight;
    }
    return last.choice;
  };
}

function refuseUnknown(proto: TcpProxy): void {
  if (proto.tunnelingConfig !== undefined) throw new Error('tcp_proxy: tunneling_config is not implemented');
  if (proto.upstreamConnectMode !== UpstreamConnectMode.IMMEDIATE)
    throw new Error('tcp_proxy: upstream_connect_mode other than IMMEDIATE is not implemented');
  if (proto.checkDrainClose === true) throw new Error('tcp_proxy: check_drain_close is not implemented');
  for (const policy of proto.hashPolicy)
    if (policy.policySpecifier.case !== 'sourceIp')
      throw new Error('tcp_proxy: hash_policy other than source_ip is not implemented');
  for (const tlv of proto.proxyProtocolTlvs)
    if (tlv.formatString !== undefined)
      throw new Error('tcp_proxy: proxy_protocol_tlvs.format_string is not implemented');
}

function readConfig(proto: TcpProxy, context: FactoryContext): TcpProxyConfig {
  refuseUnknown(proto);
  const log = proto.accessLogOptions;
  const attempts = proto.maxConnectAttempts ?? 1;
  if (attempts < 1) throw new Error('tcp_proxy: max_connect_attempts must be at least 1');
  const backoffBaseMs = durationMs(proto.backoffOptions?.baseInterval) ?? 0;
  return {
    clusterManager: context.clusterManager,
    stats: new TcpProxyStats(context.metrics, proto.statPrefix),
    chooseCluster: clusterChooser(proto, () => context.random()),
    idleTimeoutMs: durationMs(proto.idleTimeout) ?? 3_600_000,
    maxDurationMs: durationMs(proto.maxDownstreamConnectionDuration) ?? 0,
    maxDurationJitter: (proto.maxDownstreamConnectionDurationJitterPercentage?.value ?? 0) / 100,
    maxConnectAttempts: attempts,
    backoffBaseMs,
    backoffMaxMs: durationMs(proto.backoffOptions?.maxInterval) ?? backoffBaseMs * 10,
    hashSourceIp: proto.hashPolicy.length > 0,
    proxyTlvs: proto.proxyProtocolTlvs.map(({ type, value }) => ({ type, value: Buffer.from(value) })),
    tlvMerge: proto.proxyProtocolTlvMergePolicy,
    accessLoggers: proto.accessLog.length === 0 ? [] : context.accessLoggers(proto.accessLog),
    bufferLimitBytes: context.bufferLimitBytes,
    logIntervalMs: durationMs(log?.accessLogFlushInterval ?? proto.accessLogFlushInterval) ?? 0,
    logOnStart: log?.flushAccessLogOnStart ?? false,
    logOnConnected: log?.flushAccessLogOnConnected ?? proto.flushAccessLogOnConnected,
    random: () => context.random(),
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
