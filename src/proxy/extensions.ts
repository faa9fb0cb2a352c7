/**
 * What is compiled in: the one list. An extension that is not here does not exist; a resource that needs it is refused by
 * name.
 */
import { fileAccessLogger } from './access_loggers/file/config.ts';
import { stderrAccessLogger, stdoutAccessLogger } from './access_loggers/stream/config.ts';
import { alpn } from './filters/http/alpn/config.ts';
import { cors } from './filters/http/cors/config.ts';
import { fault } from './filters/http/fault/config.ts';
import { grpcStats } from './filters/http/grpc_stats/config.ts';
import { grpcWeb } from './filters/http/grpc_web/config.ts';
import { httpIstioStats } from './filters/http/istio_stats/config.ts';
import { peerMetadata } from './filters/http/peer_metadata/config.ts';
import { httpRbac } from './filters/http/rbac/config.ts';
import { routerFilter } from './filters/http/router/config.ts';
import { httpInspector } from './filters/listener/http_inspector/http_inspector.ts';
import { originalDst } from './filters/listener/original_dst/original_dst.ts';
import { proxyProtocol } from './filters/listener/proxy_protocol/proxy_protocol.ts';
import { tlsInspector } from './filters/listener/tls_inspector/tls_inspector.ts';
import { httpConnectionManager } from './filters/network/http_connection_manager/http_connection_manager.ts';
import { networkIstioStats } from './filters/network/istio_stats/config.ts';
import { networkRbac } from './filters/network/rbac/config.ts';
import { sniCluster } from './filters/network/sni_cluster/sni_cluster.ts';
import { tcpProxy } from './filters/network/tcp_proxy/config.ts';
import { leastRequest } from './load_balancing_policies/least_request/least_request.ts';
import { maglev } from './load_balancing_policies/maglev/maglev.ts';
import { random } from './load_balancing_policies/random/random.ts';
import { ringHash } from './load_balancing_policies/ring_hash/ring_hash.ts';
import { roundRobin } from './load_balancing_policies/round_robin/round_robin.ts';
import { subset } from './load_balancing_policies/subset/subset.ts';
import { ExtensionRegistry, type LazyExtension } from './registry.ts';
import { downstreamRawBuffer, upstreamRawBuffer } from './transport_sockets/raw_buffer/raw_buffer.ts';
import { downstreamTls } from './transport_sockets/tls/downstream.ts';
import { upstreamTls } from './transport_sockets/tls/upstream.ts';

/** Loaded when a configuration names them. */
const lazy: readonly LazyExtension[] = [
  {
    kind: 'listener_filter',
    name: 'envoy.filters.listener.original_src',
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc'],
    load: async () => (await import('./filters/listener/original_src/original_src.ts')).originalSrc,
  },
  {
    kind: 'transport_socket.upstream',
    name: 'envoy.transport_sockets.upstream_proxy_protocol',
    typeUrls: [
      'type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport',
    ],
    load: async () =>
      (await import('./transport_sockets/proxy_protocol/upstream_proxy_protocol.ts')).upstreamProxyProtocol,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.local_ratelimit',
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit'],
    load: async () => (await import('./filters/http/local_ratelimit/config.ts')).httpLocalRateLimit,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.ext_authz',
    typeUrls: [
      'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
      'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
    ],
    load: async () => (await import('./filters/http/ext_authz/config.ts')).extAuthz,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.ratelimit',
    typeUrls: [
      'type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit',
      'type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute',
    ],
    load: async () => (await import('./filters/http/ratelimit/config.ts')).httpRateLimit,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.jwt_authn',
    typeUrls: [
      'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
      'type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig',
    ],
    load: async () => (await import('./filters/http/jwt_authn/config.ts')).jwtAuthn,
  },
  {
    kind: 'http_filter',
    name: 'trysail.filters.http.typescript',
    typeUrls: ['type.googleapis.com/trysail.v1.TypeScriptFilter'],
    load: async () => (await import('./filters/http/typescript/config.ts')).typeScriptFilter,
  },
  {
    kind: 'network_filter',
    name: 'envoy.filters.network.local_ratelimit',
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit'],
    load: async () =>
      (await import('./filters/network/local_ratelimit/local_ratelimit.ts')).networkLocalRateLimit,
  },
  {
    kind: 'network_filter',
    name: 'envoy.filters.network.connection_limit',
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit'],
    load: async () =>
      (await import('./filters/network/connection_limit/connection_limit.ts')).connectionLimit,
  },
  {
    kind: 'network_filter',
    name: 'envoy.filters.network.ext_authz',
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.network.ext_authz.v3.ExtAuthz'],
    load: async () => (await import('./filters/network/ext_authz/ext_authz.ts')).networkExtAuthz,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.header_to_metadata',
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config'],
    load: async () =>
      (await import('./filters/http/header_to_metadata/header_to_metadata.ts')).headerToMetadata,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.compressor',
    typeUrls: [
      'type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor',
      'type.googleapis.com/envoy.extensions.filters.http.compressor.v3.CompressorPerRoute',
    ],
    load: async () => (await import('./filters/http/compressor/config.ts')).compressor,
  },
  {
    kind: 'access_logger',
    name: 'envoy.access_loggers.open_telemetry',
    typeUrls: [
      'type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig',
    ],
    load: async () => (await import('./access_loggers/open_telemetry/config.ts')).openTelemetryAccessLogger,
  },
  {
    kind: 'access_logger',
    name: 'envoy.access_loggers.http_grpc',
    typeUrls: ['type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig'],
    load: async () => (await import('./access_loggers/grpc/config.ts')).httpGrpcAccessLogger,
  },
  {
    kind: 'access_logger',
    name: 'envoy.access_loggers.tcp_grpc',
    typeUrls: ['type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig'],
    load: async () => (await import('./access_loggers/grpc/config.ts')).tcpGrpcAccessLogger,
  },
  {
    kind: 'tracer',
    name: 'envoy.tracers.zipkin',
    typeUrls: ['type.googleapis.com/envoy.config.trace.v3.ZipkinConfig'],
    load: async () => (await import('./tracers/zipkin/config.ts')).zipkin,
  },
  {
    kind: 'tracer',
    name: 'envoy.tracers.opentelemetry',
    typeUrls: ['type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig'],
    load: async () => (await import('./tracers/open_telemetry/config.ts')).openTelemetry,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.csrf',
    typeUrls: ['type.googleapis.com/envoy.extensions.filters.http.csrf.v3.CsrfPolicy'],
    load: async () => (await import('./filters/http/csrf/csrf.ts')).csrf,
  },
  {
    kind: 'http_filter',
    name: 'envoy.filters.http.stateful_session',
    typeUrls: [
      'type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession',
      'type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute',
    ],
    load: async () => (await import('./filters/http/stateful_session/config.ts')).statefulSession,
  },
];

/** The registry of one worker. */
export function createExtensions(): ExtensionRegistry {
  const eager = {
    listener_filter: [originalDst, proxyProtocol, tlsInspector, httpInspector],
    network_filter: [httpConnectionManager, tcpProxy, networkRbac, networkIstioStats, sniCluster],
    http_filter: [
      peerMetadata,
      alpn,
      grpcWeb,
      httpRbac,
      cors,
      fault,
      grpcStats,
      httpIstioStats,
      routerFilter,
    ],
    'transport_socket.downstream': [downstreamTls, downstreamRawBuffer],
    'transport_socket.upstream': [upstreamTls, upstreamRawBuffer],
    load_balancing_policy: [roundRobin, leastRequest, random, ringHash, maglev, subset],
    access_logger: [fileAccessLogger, stdoutAccessLogger, stderrAccessLogger],
  };
  return new ExtensionRegistry(eager, lazy);
}
