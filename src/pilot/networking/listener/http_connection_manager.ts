/** The HTTP connection manager and its filters. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { AccessLog } from '#api/gen/envoy/config/accesslog/v3/accesslog_pb.ts';
import { type Filter, FilterSchema } from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import type { RouteConfiguration } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { CorsSchema } from '#api/gen/envoy/extensions/filters/http/cors/v3/cors_pb.ts';
import { HTTPFaultSchema } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import { FilterConfigSchema as GrpcStatsSchema } from '#api/gen/envoy/extensions/filters/http/grpc_stats/v3/config_pb.ts';
import { GrpcWebSchema } from '#api/gen/envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts';
import { RouterSchema } from '#api/gen/envoy/extensions/filters/http/router/v3/router_pb.ts';
import {
  HttpConnectionManager_ForwardClientCertDetails,
  HttpConnectionManager_PathWithEscapedSlashesAction,
  HttpConnectionManagerSchema,
  type HttpFilter,
  HttpFilterSchema,
} from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { UuidRequestIdConfigSchema } from '#api/gen/envoy/extensions/request_id/uuid/v3/uuid_pb.ts';
import { httpFilter, networkFilter } from '#api/well_known.ts';
import type { Any } from '@bufbuild/protobuf/wkt';
import type { MeshIndex } from '../../model/mesh_index.ts';
import type { Protocol } from '../../model/protocol.ts';
import { adsSource, any, durationOf } from '../wire.ts';
import { alpnFilter, httpStatsFilter, type ListenerClass, peerMetadataFilter } from './private_filters.ts';

/** Value of header `server` in answers of inbound and gateway listeners. */
const serverName = 'istio-envoy';

/** What a connection manager is made from. */
export interface HttpConnectionManagerInput {
  readonly mesh: MeshIndex;
  readonly listenerClass: ListenerClass;
  readonly statPrefix: string;
  /** Name of the route configuration to ask for, or the configuration itself. */
  readonly routes: string | RouteConfiguration;
  readonly protocol: Protocol;
  readonly accessLogs: readonly AccessLog[];
  /** Authorization; runs before the request is counted or changed. */
  readonly authorization: readonly HttpFilter[];
  /** Proxies in front of a gateway whose X-Forwarded-For is believed (ProxyConfig.gatewayTopology). */
  readonly trustedHops: number;
  /** HTTP/1.0 requests are answered. */
  readonly http10: boolean;
}

function filter(name: string, typedConfig: Any, isOptional = false): HttpFilter {
  return create(HttpFilterSchema, {
    name,
    isOptional,
    configType: { case: 'typedConfig', value: typedConfig },
  });
}

/** The filters that never differ, made once. */
const fixed = {
  grpcWeb: filter(httpFilter.grpcWeb, any(GrpcWebSchema)),
  // Counts messages for istio_request_messages_total; traffic does not depend on it.
  grpcStats: filter(httpFilter.grpcStats, any(GrpcStatsSchema, { emitFilterState: true }), true),
  alpn: alpnFilter(),
  fault: filter(httpFilter.fault, any(HTTPFaultSchema)),
  cors: filter(httpFilter.cors, any(CorsSchema)),
  router: filter(httpFilter.router, any(RouterSchema)),
} as const;

/** The filters in the order in which a request passes them. */
export function httpFilters(input: HttpConnectionManagerInput): HttpFilter[] {
  const outbound = input.listenerClass !== 'sidecar_inbound';
  return [
    // First, so that denials are reported with the labels of the caller.
    peerMetadataFilter(input.listenerClass),
    ...input.authorization,
    ...(input.protocol === 'GRPCWeb' || input.listenerClass === 'gateway' ? [fixed.grpcWeb] : []),
    fixed.grpcStats,
    ...(outbound ? [fixed.alpn] : []),
    // Both do nothing until a route configures them.
    fixed.fault,
    fixed.cors,
    // After all that may answer by itself, so that it counts what they did.
    httpStatsFilter(input.listenerClass),
    fixed.router,
  ];
}

function normalization(mesh: MeshIndex) {
  const mode = mesh.config.pathNormalization?.normalization ?? 'DEFAULT';
  const { KEEP_UNCHANGED, UNESCAPE_AND_FORWARD } = HttpConnectionManager_PathWithEscapedSlashesAction;
  return {
    normalizePath: mode !== 'NONE',
    mergeSlashes: mode === 'MERGE_SLASHES' || mode === 'DECODE_AND_MERGE_SLASHES',
    pathWithEscapedSlashesAction: mode === 'DECODE_AND_MERGE_SLASHES' ? UNESCAPE_AND_FORWARD : KEEP_UNCHANGED,
  };
}

type ManagerInit = Exclude<MessageInitShape<typeof HttpConnectionManagerSchema>, { $typeName: string }>;

/** Who may say where a request comes from: a sidecar believes its peer, a gateway only what it sees itself. */
function identity(input: HttpConnectionManagerInput): ManagerInit {
  const { APPEND_FORWARD, SANITIZE_SET } = HttpConnectionManager_ForwardClientCertDetails;
  switch (input.listenerClass) {
    case 'sidecar_outbound':
      return { useRemoteAddress: false };
    case 'sidecar_inbound':
      return {
        useRemoteAddress: false,
        serverName,
        forwardClientCertDetails: APPEND_FORWARD,
        setCurrentClientCertDetails: {
          subject: true,
          cert: false,
          chain: false,
          dns: true,
          uri: true,
        },
      };
    case 'gateway':
      return {
        useRemoteAddress: true,
        serverName,
        xffNumTrustedHops: input.trustedHops,
        forwardClientCertDetails: SANITIZE_SET,
        setCurrentClientCertDetails: {
          subject: true,
          cert: true,
          chain: false,
          dns: true,
          uri: true,
        },
      };
  }
}

/** The connection manager as a network filter. */
export function httpConnectionManager(input: HttpConnectionManagerInput): Filter {
  const { routes } = input;
  const message = create(HttpConnectionManagerSchema, {
    statPrefix: input.statPrefix,
    routeSpecifier:
      typeof routes === 'string'
        ? { case: 'rds', value: { configSource: adsSource(), routeConfigName: routes } }
        : { case: 'routeConfig', value: routes },
    httpFilters: httpFilters(input),
    // Idle requests are left to routes: streaming answers may be silent for long.
    streamIdleTimeout: durationOf(0),
    accessLog: [...input.accessLogs],
    upgradeConfigs: [{ upgradeType: 'websocket' }],
    requestIdExtension: {
      typedConfig: any(UuidRequestIdConfigSchema, { useRequestIdForTraceSampling: true }),
    },
    ...(input.http10 ? { httpProtocolOptions: { acceptHttp10: true } } : {}),
    ...normalization(input.mesh),
    ...identity(input),
  });
  return create(FilterSchema, {
    name: networkFilter.httpConnectionManager,
    configType: { case: 'typedConfig', value: any(HttpConnectionManagerSchema, message) },
  });
}
