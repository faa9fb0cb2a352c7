/** A live filter chain: transport socket, network filters and the terminal filter (envoy.config.listener.v3.FilterChain). */
import type { Socket } from 'node:net';
import { toBinary } from '@bufbuild/protobuf';
import {
  type FilterChain,
  FilterChainMatchSchema,
  FilterChainSchema,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import { type FactoryContext, type NetworkFilterExtension, findExtension } from '../factory_context.ts';
import type { ChainHandle, TerminalNetworkFilter } from '../network/connection.ts';
import { durationMs } from '../network/duration.ts';
import type { NetworkFilterFactory, NetworkReadFilter } from '../network/filter.ts';
import type {
  DownstreamTransportSocketExtension,
  DownstreamTransportSocketFactory,
  TransportSocketContext,
} from '../network/transport_socket.ts';
import { rawBufferDownstream } from '../network/raw_buffer.ts';
import { Drain, type DrainPolicy } from './drain.ts';
import { refuseFields } from '../network/refused_fields.ts';

/** What open connections of a chain hold on to; it passes from one version of the chain to the next. */
export class LiveChainHandle implements ChainHandle {
  readonly name: string;
  current: TerminalNetworkFilter;
  /** Ends the connections of a chain that is gone. */
  readonly drain: Drain;
  /** Open connections, for closing when the drain time is over. */
  readonly sockets = new Set<Socket>();

  constructor(name: string, current: TerminalNetworkFilter, drain: DrainPolicy) {
    this.name = name;
    this.current = current;
    this.drain = new Drain(drain);
  }
}

/** Makes one non-terminal filter per connection. */
type ReadFilterFactory = Extract<NetworkFilterFactory, { readonly terminal: false }>;

/** One version of a chain. */
export interface LiveFilterChain {
  readonly name: string;
  /** Name and match: chains with equal keys are versions of one chain. */
  readonly key: string;
  /** The configuration as bytes: an equal one keeps its live objects. */
  readonly bytes: string;
  readonly transport: DownstreamTransportSocketFactory;
  /** 0 means no limit. */
  readonly transportTimeoutMs: number;
  readonly readFilters: readonly ReadFilterFactory[];
  readonly terminal: TerminalNetworkFilter;
  /** Set when the version goes live. */
  handle: LiveChainHandle | undefined;
  close(): void;
}

/** Name and match of a chain. */
export function filterChainKey(config: FilterChain): string {
  const match = config.filterChainMatch;
  return `${config.name}\0${match === undefined ? '' : latin1(toBinary(FilterChainMatchSchema, match))}`;
}

/** The whole configuration of a chain as text of its bytes. */
export function filterChainBytes(config: FilterChain): string {
  return latin1(toBinary(FilterChainSchema, config));
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function createTransport(
  config: FilterChain,
  context: FactoryContext,
  sockets: TransportSocketContext,
): DownstreamTransportSocketFactory {
  const socket = config.transportSocket;
  if (socket === undefined) return rawBufferDownstream;
  const any = socket.configType.value;
  const found = findExtension<DownstreamTransportSocketExtension>(
    context.registry,
    'transport_socket.downstream',
    socket.name,
    any,
  );
  if (found === undefined)
    throw new Error(`transport socket ${socket.name}: nothing is compiled in for ${any?.typeUrl ?? 'it'}`);
  return found.factory.create(found.config, sockets);
}

/** A connection without filters is closed at once, as in Envoy. */
const closeAtOnce: TerminalNetworkFilter = {
  onConnection: (connection) => void connection.socket.destroy(),
};

/**
 * Builds a chain.
 * @throws Error that names the filter when a part is unknown or malformed, after closing what was built.
 */
export function createFilterChain(
  config: FilterChain,
  owner: FactoryContext,
  sockets: TransportSocketContext,
): LiveFilterChain {
  const context = { ...owner, scope: `${owner.scope ?? ''}\0${filterChainKey(config)}` };
  const transport = createTransport(config, context, sockets);
  const readFilters: ReadFilterFactory[] = [];
  let terminal: Extract<NetworkFilterFactory, { readonly terminal: true }> | undefined;
  const close = (): void => {
    transport.close();
    terminal?.close();
  };
  try {
    refuseFields(config);
    for (const filter of config.filters) {
      if (terminal !== undefined)
        throw new Error(`filter ${filter.name} stands behind a terminal filter and would never be asked`);
      const made = createNetworkFilter(filter, context);
      if (made.terminal) terminal = made;
      else readFilters.push(made);
    }
    const last = config.filters.at(-1);
    if (terminal === undefined && last !== undefined)
      throw new Error(`non-terminal filter named ${last.name} is the last filter in a network filter chain`);
  } catch (error) {
    close();
    throw new Error(`filter chain ${JSON.stringify(config.name)}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return {
    name: config.name,
    key: filterChainKey(config),
    bytes: filterChainBytes(config),
    transport,
    transportTimeoutMs: durationMs(config.transportSocketConnectTimeout) ?? 0,
    readFilters,
    terminal: terminal?.filter ?? closeAtOnce,
    handle: undefined,
    close,
  };
}

function createNetworkFilter(
  filter: FilterChain['filters'][number],
  context: FactoryContext,
): NetworkFilterFactory {
  const any = filter.configType.case === 'typedConfig' ? filter.configType.value : undefined;
  const found = findExtension<NetworkFilterExtension>(context.registry, 'network_filter', filter.name, any);
  if (found === undefined)
    throw new Error(`network filter ${filter.name}: nothing is compiled in for ${any?.typeUrl ?? 'it'}`);
  return found.factory.create(found.config, context);
}

/** The filters of one connection, made in order. */
export function createReadFilters(chain: LiveFilterChain): NetworkReadFilter[] {
  return chain.readFilters.map((factory) => factory.create());
}
