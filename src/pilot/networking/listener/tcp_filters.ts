/** Network filters of TCP chains. */
import { create } from '@bufbuild/protobuf';
import type { AccessLog } from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import { type Filter, FilterSchema } from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import {
  type TcpProxy,
  TcpProxySchema,
} from '#api/gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts';
import { HashPolicySchema } from '#api/gen/envoy/type/v3/hash_policy_pb.ts';
import { networkFilter } from '#api/well_known.ts';
import type { TCPSettings } from '#config/kinds/destination_rule/types.ts';
import type { PrivateExtensions } from '../../model/proxy_view.ts';
import { any, parseDuration } from '../wire.ts';
import { type ListenerClass, tcpStatsFilter } from './private_filters.ts';

/** A cluster and its share of connections. */
export interface WeightedTarget {
  readonly cluster: string;
  readonly weight: number;
}

/** What the chain of a TCP destination is made from. */
export interface TcpInput {
  readonly listenerClass: ListenerClass;
  readonly statPrefix: string;
  /** One target, or several by weight. */
  readonly targets: readonly WeightedTarget[];
  readonly accessLogs: readonly AccessLog[];
  readonly extensions: PrivateExtensions;
  /** connectionPool.tcp of the destination. */
  readonly settings: TCPSettings | undefined;
  /** Whether connections of one caller go to one host. */
  readonly hashSourceIp: boolean;
}

function clusterSpecifier(targets: readonly WeightedTarget[]): TcpProxy['clusterSpecifier'] {
  const [first] = targets;
  if (targets.length === 1 && first !== undefined) return { case: 'cluster', value: first.cluster };
  const message = create(TcpProxySchema, {
    clusterSpecifier: {
      case: 'weightedClusters',
      value: { clusters: targets.map(({ cluster, weight }) => ({ name: cluster, weight })) },
    },
  });
  return message.clusterSpecifier;
}

/** Statistics where the proxy has them, then the proxy to the cluster. */
export function tcpFilters(input: TcpInput): Filter[] {
  const idleTimeout = parseDuration(input.settings?.idleTimeout);
  const maxDuration = parseDuration(input.settings?.maxConnectionDuration);
  const proxy = create(TcpProxySchema, {
    statPrefix: input.statPrefix,
    clusterSpecifier: clusterSpecifier(input.targets),
    accessLog: [...input.accessLogs],
    ...(idleTimeout === undefined ? {} : { idleTimeout }),
    ...(maxDuration === undefined ? {} : { maxDownstreamConnectionDuration: maxDuration }),
    hashPolicy: input.hashSourceIp
      ? [create(HashPolicySchema, { policySpecifier: { case: 'sourceIp', value: {} } })]
      : [],
  });
  return [
    ...(input.extensions.tcpStats ? [tcpStatsFilter(input.listenerClass)] : []),
    create(FilterSchema, {
      name: networkFilter.tcpProxy,
      configType: { case: 'typedConfig', value: any(TcpProxySchema, proxy) },
    }),
  ];
}
