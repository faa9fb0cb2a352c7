/** Filter chains of inbound traffic: mutual TLS, authorization, metrics, and on to the application. */
import { create } from '@bufbuild/protobuf';
import type { AccessLog } from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import type { TransportSocket } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  type Filter,
  type FilterChain,
  FilterChainSchema,
} from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import {
  type RouteConfiguration,
  RouteConfigurationSchema,
} from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { alpn, filterChainName, fixedCluster, listenerName } from '#api/well_known.ts';
import type { InboundPort } from '../../model/inbound_port.ts';
import type { InboundView } from '../../model/inbound_view.ts';
import { listenerNameOf } from '../../model/names.ts';
import type { EffectiveMode } from '../../model/peer_authentication_index.ts';
import { listenerProtocol, type Protocol } from '../../model/protocol.ts';
import { memoize, type PushContext } from '../../model/push_context.ts';
import { accessLogs } from '../access_log.ts';
import { inboundClusterName } from '../cluster/inbound_cluster.ts';
import { inboundRetryPolicy } from '../route/retry_policy.ts';
import { inboundMutualTls } from '../transport_socket.ts';
import { durationOf } from '../wire.ts';
import { httpAuthorization, tcpAuthorization } from './authorization_filters.ts';
import { chainMatches, filterChainMatch } from './chain_match.ts';
import { httpConnectionManager } from './http_connection_manager.ts';
import { metadataExchangeFilter } from './private_filters.ts';
import { terminatedTls } from './server_tls.ts';
import { tcpFilters } from './tcp_filters.ts';

/** What chains of one port are made from. */
interface ChainSource {
  readonly cluster: string;
  /** Destination port to match; undefined: any. */
  readonly matchPort: number | undefined;
  readonly protocol: Protocol;
  readonly httpName: string;
  readonly tcpName: string;
  readonly httpStatPrefix: string;
  readonly routes: RouteConfiguration;
}

/** One virtual host for everything: what reaches the pod is for the pod. */
function inboundRoutes(cluster: string, servicePort: number, operation: string): RouteConfiguration {
  return create(RouteConfigurationSchema, {
    name: cluster,
    validateClusters: false,
    virtualHosts: [
      {
        name: `inbound|http|${servicePort}`,
        domains: ['*'],
        routes: [
          {
            name: 'default',
            match: { pathSpecifier: { case: 'prefix', value: '/' } },
            decorator: { operation },
            action: {
              case: 'route',
              value: {
                clusterSpecifier: { case: 'cluster', value: cluster },
                // How long a request may take is the caller's to say.
                timeout: durationOf(0),
                maxStreamDuration: { maxStreamDuration: durationOf(0), grpcTimeoutHeaderMax: durationOf(0) },
                retryPolicy: inboundRetryPolicy(),
              },
            },
          },
        ],
      },
    ],
  });
}

function portSource(port: InboundPort, ipv6: boolean): ChainSource {
  const cluster = inboundClusterName(port.targetPort);
  const name = listenerNameOf(port.bind ?? (ipv6 ? '::' : '0.0.0.0'), port.targetPort);
  const host = port.services[0]?.hostname ?? '';
  return {
    cluster,
    matchPort: port.targetPort,
    protocol: port.protocol,
    httpName: name,
    tcpName: name,
    httpStatPrefix: `inbound_${name}`,
    routes: inboundRoutes(cluster, port.servicePort, `${host}:${port.servicePort}/*`),
  };
}

function passthroughSource(matchPort: number | undefined): ChainSource {
  const cluster = fixedCluster.inboundPassthrough;
  return {
    cluster,
    matchPort,
    protocol: 'Auto',
    httpName: filterChainName.inboundCatchAllHttp,
    tcpName: listenerName.virtualInbound,
    httpStatPrefix: cluster,
    routes: inboundRoutes(cluster, 0, ':0/*'),
  };
}

/** Filters of TCP chains on the way in. */
function inboundTcpFilters(
  view: InboundView,
  cluster: string,
  logs: readonly AccessLog[],
  authorization: readonly Filter[],
): Filter[] {
  return [
    // First, so that denials are reported with the labels of the caller.
    ...(view.extensions.tcpMetadataExchange ? [metadataExchangeFilter()] : []),
    ...authorization,
    ...tcpFilters({
      listenerClass: 'sidecar_inbound',
      statPrefix: cluster,
      targets: [{ cluster, weight: 1 }],
      accessLogs: logs,
      extensions: view.extensions,
      settings: undefined,
      hashSourceIp: false,
    }),
  ];
}

function mutualTls(push: PushContext, view: InboundView, protocol: 'http' | 'tcp'): TransportSocket {
  const { tcpMetadataExchange } = view.extensions;
  return memoize(push, `inbound tls ${protocol} ${tcpMetadataExchange}`, () => {
    // Agreeing on istio-peer-exchange promises metadata in front of the bytes; only our own filter keeps that.
    const exchange = protocol === 'tcp' && tcpMetadataExchange ? [alpn.istioPeerExchange] : [];
    return inboundMutualTls(push.mesh, [...exchange, alpn.h2, alpn.http11]);
  });
}

function buildChains(
  push: PushContext,
  view: InboundView,
  source: ChainSource,
  mode: EffectiveMode,
  ownTls: TransportSocket | undefined,
): FilterChain[] {
  const logs = accessLogs(push, view.namespace, view.labels, 'SERVER');
  // A port that ends TLS with its own certificate has one chain, for what it speaks inside.
  const matches = chainMatches(listenerProtocol(source.protocol), ownTls === undefined ? mode : 'STRICT');
  return matches.map((match) => {
    const http = match.protocol === 'http';
    const socket = match.mtls ? (ownTls ?? mutualTls(push, view, match.protocol)) : undefined;
    return create(FilterChainSchema, {
      name: http ? source.httpName : source.tcpName,
      filterChainMatch: filterChainMatch(match, source.matchPort),
      ...(socket === undefined ? {} : { transportSocket: socket }),
      filters: http
        ? [
            httpConnectionManager({
              mesh: push.mesh,
              listenerClass: 'sidecar_inbound',
              statPrefix: source.httpStatPrefix,
              routes: source.routes,
              protocol: source.protocol,
              accessLogs: logs,
              authorization: httpAuthorization(push, view.namespace, view.labels),
              trustedHops: 0,
              http10: view.http10,
            }),
          ]
        : inboundTcpFilters(view, source.cluster, logs, tcpAuthorization(push, view.namespace, view.labels)),
    });
  });
}

/** Protocol inside TLS that the listener ends itself. */
function afterTls(protocol: Protocol): Protocol {
  return protocol === 'HTTPS' ? 'HTTP' : protocol === 'TLS' ? 'TCP' : protocol;
}

/** The chains of a port that a service or a Sidecar object names. */
export function portChains(
  push: PushContext,
  view: InboundView,
  port: InboundPort,
  mode: EffectiveMode,
): FilterChain[] {
  const source = portSource(port, view.ipv6);
  const ownTls =
    mode === 'DISABLE' && port.tls !== undefined ? terminatedTls(port.tls, push.mesh) : undefined;
  const protocol = ownTls === undefined ? port.protocol : afterTls(port.protocol);
  return buildChains(push, view, { ...source, protocol }, mode, ownTls);
}

/** The chains for captured traffic to ports that nobody names; with a port, for one that has a mode of its own. */
export function passthroughChains(
  push: PushContext,
  view: InboundView,
  mode: EffectiveMode,
  port?: number,
): FilterChain[] {
  return buildChains(push, view, passthroughSource(port), mode, undefined);
}

/** Connections to the proxy's own port would come back to it for ever. */
export function blackholeChain(push: PushContext, view: InboundView): FilterChain {
  return create(FilterChainSchema, {
    name: filterChainName.inboundBlackhole,
    filterChainMatch: { destinationPort: push.mesh.inboundPort },
    filters: inboundTcpFilters(view, fixedCluster.blackHole, [], []),
  });
}
