/** Listeners of gateways: one per port, with one chain for plain HTTP or one per server that speaks TLS or TCP. */
import { create } from '@bufbuild/protobuf';
import type { AccessLog } from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import { TrafficDirection } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import {
  type Filter,
  type FilterChain,
  FilterChainSchema,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import {
  type GatewayPort,
  gatewayPorts,
  gatewayRouteName,
  type GatewayServer,
  passesThrough,
  routesHttp,
  serverHosts,
} from '../../model/gateway_server.ts';
import { listenerNameOf } from '../../model/names.ts';
import { isTls } from '../../model/protocol.ts';
import type { Proxy } from '../../model/proxy.ts';
import { outboundView, type OutboundView, proxyLabels } from '../../model/proxy_view.ts';
import type { PushContext } from '../../model/push_context.ts';
import { accessLogs, listenerAccessLogs } from '../access_log.ts';
import { buildAddress, buildCidr } from '../address.ts';
import { commonHosts, serverRules } from '../route/gateway_route.ts';
import { httpAuthorization, tcpAuthorization } from './authorization_filters.ts';
import { httpConnectionManager } from './http_connection_manager.ts';
import { type L4Chain, l4Chains } from './l4_route.ts';
import { tlsInspector } from './listener_filters.ts';
import { terminatedTls } from './server_tls.ts';
import { tcpFilters } from './tcp_filters.ts';

/** What the chains of one gateway have in common. */
interface GatewayContext {
  readonly push: PushContext;
  readonly proxy: Proxy;
  readonly view: OutboundView;
  readonly logs: readonly AccessLog[];
}

function httpFilter(context: GatewayContext, port: GatewayPort, entry: GatewayServer): Filter {
  const { push, proxy } = context;
  const labels = proxyLabels(push, proxy);
  return httpConnectionManager({
    mesh: push.mesh,
    listenerClass: 'gateway',
    statPrefix: `outbound_${listenerNameOf(port.bind, port.port)}`,
    routes: gatewayRouteName(port, entry),
    protocol: entry.protocol,
    accessLogs: context.logs,
    authorization: httpAuthorization(push, proxy.namespace, labels),
    trustedHops: push.mesh.config.defaultConfig?.gatewayTopology?.numTrustedProxies ?? 0,
    http10: proxy.http10,
  });
}

/** Server names of a server; none when it takes every name. */
function serverNames(entry: GatewayServer): string[] {
  const names = [...new Set(serverHosts(entry).map(({ host }) => host))];
  return names.includes('*') ? [] : names;
}

/** The chain of a server that ends TLS and routes HTTP. */
function httpsChain(
  context: GatewayContext,
  port: GatewayPort,
  entry: GatewayServer,
): FilterChain | undefined {
  const { tls } = entry.server;
  const transportSocket = tls === undefined ? undefined : terminatedTls(tls, context.push.mesh);
  if (transportSocket === undefined) return undefined;
  return create(FilterChainSchema, {
    filterChainMatch: { serverNames: serverNames(entry) },
    filters: [httpFilter(context, port, entry)],
    transportSocket,
  });
}

function l4FilterChain(context: GatewayContext, entry: GatewayServer, chain: L4Chain): FilterChain {
  const { push, proxy, view } = context;
  const { tls } = entry.server;
  const names =
    chain.serverNames.length > 0 || !isTls(entry.protocol) ? chain.serverNames : serverNames(entry);
  const transportSocket =
    tls === undefined || passesThrough(entry.server) ? undefined : terminatedTls(tls, push.mesh);
  return create(FilterChainSchema, {
    filterChainMatch: { serverNames: [...names], prefixRanges: chain.subnets.map(buildCidr) },
    filters: [
      ...tcpAuthorization(push, proxy.namespace, proxyLabels(push, proxy)),
      ...tcpFilters({
        listenerClass: 'gateway',
        statPrefix: chain.statPrefix,
        targets: chain.targets,
        accessLogs: context.logs,
        extensions: view.extensions,
        settings: undefined,
        hashSourceIp: false,
      }),
    ],
    ...(transportSocket === undefined ? {} : { transportSocket }),
  });
}

/** The chains of a server that passes TLS through, or carries TCP: as its VirtualServices say. */
function l4ServerChains(context: GatewayContext, entry: GatewayServer): FilterChain[] {
  const { push, view } = context;
  const port = {
    name: entry.server.port?.name ?? '',
    port: entry.servicePort,
    targetPort: entry.servicePort,
    // TLS that has ended here is TCP for the rules.
    protocol: isTls(entry.protocol) && passesThrough(entry.server) ? entry.protocol : ('TCP' as const),
  };
  return serverRules(push, view, entry)
    .filter((rule) => commonHosts(rule, entry).length > 0)
    .flatMap((rule) =>
      l4Chains(rule, port, {
        push,
        view,
        listenPort: entry.servicePort,
        gateways: new Set([entry.gatewayName]),
      }),
    )
    .map((chain) => l4FilterChain(context, entry, chain));
}

function portChains(context: GatewayContext, port: GatewayPort): FilterChain[] {
  const [first] = port.servers;
  if (port.kind === 'http' && first !== undefined) {
    return [create(FilterChainSchema, { filters: [httpFilter(context, port, first)] })];
  }
  const chains = new Map<string, FilterChain>();
  for (const entry of port.servers) {
    const own = routesHttp(entry) ? [httpsChain(context, port, entry)] : l4ServerChains(context, entry);
    for (const chain of own) {
      if (chain === undefined) continue;
      const { serverNames: names = [], prefixRanges = [] } = chain.filterChainMatch ?? {};
      const key = JSON.stringify([
        names,
        prefixRanges.map((range) => [range.addressPrefix, range.prefixLen]),
      ]);
      // Two chains with one match are refused as a whole; the older Gateway's stays.
      if (!chains.has(key)) chains.set(key, chain);
    }
  }
  return [...chains.values()];
}

/** All listeners of a gateway. A port whose servers give no chain has none. */
export function gatewayListeners(push: PushContext, proxy: Proxy): Listener[] {
  const view = outboundView(push, proxy);
  const logs = accessLogs(push, proxy.namespace, proxyLabels(push, proxy), 'CLIENT');
  const context: GatewayContext = { push, proxy, view, logs };
  return gatewayPorts(push, proxy).flatMap((port) => {
    const filterChains = portChains(context, port);
    if (filterChains.length === 0) return [];
    return create(ListenerSchema, {
      name: listenerNameOf(port.bind, port.port),
      address: buildAddress(port.bind, port.port),
      trafficDirection: TrafficDirection.OUTBOUND,
      filterChains,
      listenerFilters: port.kind === 'tls' ? [tlsInspector()] : [],
      accessLog: listenerAccessLogs(push, logs),
    });
  });
}
