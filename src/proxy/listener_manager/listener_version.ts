/** One immutable version of a listener: what new connections are matched against. */
import { toBinary } from '@bufbuild/protobuf';
import type { Address as AddressProto } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import { TrafficDirection } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import type {
  ListenerFilter as ListenerFilterProto,
  ListenerFilterChainMatchPredicate,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import {
  type AccessLogger,
  type FactoryContext,
  type ListenerFilterExtension,
  findExtension,
} from '../factory_context.ts';
import type { Address } from '../network/address.ts';
import type { ConnectionInfo } from '../network/connection.ts';
import { durationMs } from '../network/duration.ts';
import type { ListenerFilterFactory } from '../network/listener_filter.ts';
import { type TlsStats, type TransportSocketContext, newTlsStats } from '../network/transport_socket.ts';
import { type LiveFilterChain, createFilterChain, filterChainBytes } from './filter_chain.ts';
import { FilterChainMatcher } from './filter_chain_match.ts';
import { refuseFields } from '../network/refused_fields.ts';

/** Plain numbers of one listener of one worker; they outlive its versions. */
export interface ListenerStats {
  downstreamCxTotal: number;
  downstreamCxActive: number;
  downstreamCxOverflow: number;
  downstreamGlobalCxOverflow: number;
  downstreamCxOverloadReject: number;
  noFilterChainMatch: number;
  /** TLS on all chains. */
  readonly tls: TlsStats;
}

/** An address to bind, or the place of a virtual listener. */
export interface BindAddress extends Address {
  readonly ipv6Only: boolean;
  /** Mode bits of a Unix socket, 0 keeps the umask's. */
  readonly mode: number;
}

export interface ListenerVersion {
  readonly config: Listener;
  readonly bytes: string;
  readonly name: string;
  readonly addresses: readonly BindAddress[];
  readonly bindToPort: boolean;
  readonly useOriginalDst: boolean;
  readonly listenerFiltersTimeoutMs: number;
  readonly continueOnListenerFiltersTimeout: boolean;
  readonly matcher: FilterChainMatcher<LiveFilterChain>;
  readonly chains: readonly LiveFilterChain[];
  readonly accessLoggers: readonly AccessLogger[];
  readonly stats: ListenerStats;
  readonly listenerFilters: readonly LiveListenerFilter[];
}

/** A listener filter of a listener with the condition that switches it off. */
export interface LiveListenerFilter {
  readonly factory: ListenerFilterFactory;
  readonly disabled: ListenerFilterChainMatchPredicate | undefined;
}

export function newListenerStats(): ListenerStats {
  return {
    downstreamCxTotal: 0,
    downstreamCxActive: 0,
    downstreamCxOverflow: 0,
    downstreamGlobalCxOverflow: 0,
    downstreamCxOverloadReject: 0,
    noFilterChainMatch: 0,
    tls: newTlsStats(),
  };
}

const originalDstFilter = 'envoy.filters.listener.original_dst';

function createOriginalDst(context: FactoryContext): ListenerFilterFactory {
  const found = findExtension<ListenerFilterExtension>(
    context.registry,
    'listener_filter',
    originalDstFilter,
    undefined,
  );
  if (found === undefined)
    throw new Error(`use_original_dst needs ${originalDstFilter}, which is not compiled in`);
  return found.factory.create(found.config);
}

/** The configuration as text of its bytes, to see that nothing changed. */
export function listenerBytes(config: Listener): string {
  return Buffer.from(toBinary(ListenerSchema, config)).toString('latin1');
}

function readAddress(proto: AddressProto | undefined, what: string): BindAddress {
  const address = proto?.address;
  if (address?.case === 'pipe')
    return { ip: address.value.path, port: -1, ipv6Only: false, mode: address.value.mode };
  if (address?.case !== 'socketAddress') throw new Error(`${what}: neither socket_address nor pipe`);
  refuseFields(address.value, `${what}: `);
  const { portSpecifier, ipv4Compat } = address.value;
  if (portSpecifier.case !== 'portValue') throw new Error(`${what}: no port_value`);
  const ip = address.value.address;
  return { ip, port: portSpecifier.value, ipv6Only: ip.includes(':') && !ipv4Compat, mode: 0 };
}

function createListenerFilter(proto: ListenerFilterProto, context: FactoryContext): ListenerFilterFactory {
  const any = proto.configType.case === 'typedConfig' ? proto.configType.value : undefined;
  const found = findExtension<ListenerFilterExtension>(context.registry, 'listener_filter', proto.name, any);
  if (found === undefined)
    throw new Error(`listener filter ${proto.name}: nothing is compiled in for ${any?.typeUrl ?? 'it'}`);
  return found.factory.create(found.config);
}

/** `filter_disabled`: whether the filter is skipped for this connection, asked when it is its turn. */
export function predicateMatches(
  predicate: ListenerFilterChainMatchPredicate,
  info: ConnectionInfo,
): boolean {
  const { rule } = predicate;
  switch (rule.case) {
    case 'orMatch':
      return rule.value.rules.some((inner) => predicateMatches(inner, info));
    case 'andMatch':
      return rule.value.rules.every((inner) => predicateMatches(inner, info));
    case 'notMatch':
      return !predicateMatches(rule.value, info);
    case 'anyMatch':
      return rule.value;
    case 'destinationPortRange': {
      const { port } = info.localAddress;
      return port >= rule.value.start && port < rule.value.end;
    }
    default:
      return false;
  }
}

function directionOf(config: Listener): FactoryContext['direction'] {
  if (config.trafficDirection === TrafficDirection.INBOUND) return 'inbound';
  return config.trafficDirection === TrafficDirection.OUTBOUND ? 'outbound' : 'unspecified';
}

/**
 * Builds a version. Chains of the version before whose configuration is the same are taken over with their live objects.
 * @throws Error when a part is unknown or malformed; what was built is closed.
 */
export function createListenerVersion(
  config: Listener,
  before: ListenerVersion | undefined,
  context: FactoryContext,
  sockets: TransportSocketContext,
  stats: ListenerStats,
): ListenerVersion {
  refuseFields(config);
  if (config.filterChainMatcher !== undefined)
    throw new Error('filter_chain_matcher is not implemented, use filter_chain_match');
  const addresses = [
    readAddress(config.address, 'address'),
    ...config.additionalAddresses.map((entry, i) => readAddress(entry.address, `additional_addresses[${i}]`)),
  ];
  const filters: LiveListenerFilter[] = config.listenerFilters.map((proto) => ({
    factory: createListenerFilter(proto, context),
    disabled: proto.filterDisabled,
  }));
  // `use_original_dst` brings its listener filter with it, first of all (Envoy ListenerImpl).
  if (
    config.useOriginalDst === true &&
    !config.listenerFilters.some(({ name }) => name === originalDstFilter)
  ) {
    filters.unshift({ factory: createOriginalDst(context), disabled: undefined });
  }
  const accessLoggers = config.accessLog.length === 0 ? [] : context.accessLoggers(config.accessLog);
  const sameSurroundings =
    before !== undefined &&
    before.config.trafficDirection === config.trafficDirection &&
    before.config.perConnectionBufferLimitBytes === config.perConnectionBufferLimitBytes;
  const reusable = new Map(sameSurroundings ? before.chains.map((chain) => [chain.bytes, chain]) : []);
  const own: FactoryContext = {
    ...context,
    direction: directionOf(config),
    scope: config.name,
    bufferLimitBytes: config.perConnectionBufferLimitBytes,
  };
  const matcher = new FilterChainMatcher<LiveFilterChain>();
  const chains: LiveFilterChain[] = [];
  const built: LiveFilterChain[] = [];
  const build = (chainConfig: (typeof config.filterChains)[number]): LiveFilterChain => {
    let chain = reusable.get(filterChainBytes(chainConfig));
    if (chain === undefined) {
      chain = createFilterChain(chainConfig, own, { ...sockets, tlsStats: stats.tls });
      built.push(chain);
    }
    chains.push(chain);
    return chain;
  };
  try {
    for (const chainConfig of config.filterChains)
      matcher.add(chainConfig.filterChainMatch, build(chainConfig), (chain) => chain.name);
    if (config.defaultFilterChain !== undefined) matcher.setDefault(build(config.defaultFilterChain));
  } catch (error) {
    for (const chain of built) chain.close();
    throw error;
  }
  return {
    config,
    bytes: listenerBytes(config),
    name: config.name,
    addresses,
    bindToPort: config.bindToPort ?? config.deprecatedV1?.bindToPort ?? true,
    useOriginalDst: config.useOriginalDst ?? false,
    listenerFiltersTimeoutMs: durationMs(config.listenerFiltersTimeout) ?? 15_000,
    continueOnListenerFiltersTimeout: config.continueOnListenerFiltersTimeout,
    matcher,
    chains,
    accessLoggers,
    stats,
    listenerFilters: filters,
  };
}
