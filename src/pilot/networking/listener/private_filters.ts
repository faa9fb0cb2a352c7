/**
 * Filters that stock Envoy does not have. On HTTP they travel as TypedStruct with `is_optional`, so that Envoy takes the
 * listener without them; network filters have no such flag and go only to proxies that list them in Node.extensions.
 */
import { create, type JsonObject } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { type Filter, FilterSchema } from '#api/gen/envoy/config/listener/v3/listener_components_pb.ts';
import {
  type HttpFilter,
  HttpFilterSchema,
} from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { alpn, httpFilter, networkFilter } from '#api/well_known.ts';
import { typedStruct } from '../wire.ts';

const typePrefix = 'type.googleapis.com/';
const statsType = `${typePrefix}stats.PluginConfig`;
const peerMetadataType = `${typePrefix}io.istio.http.peer_metadata.Config`;
const metadataExchangeType = `${typePrefix}envoy.tcp.metadataexchange.config.MetadataExchange`;

const alpnType = `${typePrefix}istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`;

/** Where a listener stands. */
export type ListenerClass = 'sidecar_inbound' | 'sidecar_outbound' | 'gateway';

/** A filter that a proxy may skip. */
function optionalFilter(name: string, typeUrl: string, value: JsonObject): HttpFilter {
  return create(HttpFilterSchema, {
    name,
    isOptional: true,
    configType: { case: 'typedConfig', value: typedStruct(typeUrl, value) },
  });
}

/** Inbound metrics take the destination from the route, never from a Host header that the caller may forge. */
function statsConfig(listenerClass: ListenerClass): JsonObject {
  return listenerClass === 'sidecar_inbound' ? { disable_host_header_fallback: true } : {};
}

const istioHeaders = [{ istio_headers: {} }];

/** `istio.metadata_exchange` on HTTP: learns and tells the labels of both sides by headers. */
export function peerMetadataFilter(listenerClass: ListenerClass): HttpFilter {
  const inbound = listenerClass === 'sidecar_inbound';
  return optionalFilter(
    httpFilter.metadataExchange,
    peerMetadataType,
    inbound
      ? {
          downstream_discovery: [...istioHeaders, { workload_discovery: {} }],
          downstream_propagation: istioHeaders,
        }
      : {
          upstream_discovery: [...istioHeaders, { workload_discovery: {} }],
          upstream_propagation: istioHeaders,
        },
  );
}

/**
 * `istio.alpn`: tells the peer by ALPN that HTTP is spoken inside mutual TLS, so that ports of undeclared protocol are told
 * apart there.
 */
export function alpnFilter(): HttpFilter {
  return optionalFilter(httpFilter.istioAlpn, alpnType, {
    alpn_override: [
      { upstream_protocol: 'HTTP10', alpn_override: [alpn.istioHttp10, alpn.istio, alpn.http10] },
      { upstream_protocol: 'HTTP11', alpn_override: [alpn.istioHttp11, alpn.istio, alpn.http11] },
      { upstream_protocol: 'HTTP2', alpn_override: [alpn.istioH2, alpn.istio, alpn.h2] },
    ],
  });
}

/** `istio.stats` on HTTP: Istio's standard metrics. */
export function httpStatsFilter(listenerClass: ListenerClass): HttpFilter {
  return optionalFilter(httpFilter.istioStats, statsType, statsConfig(listenerClass));
}

/** `istio.stats` on TCP. */
export function tcpStatsFilter(listenerClass: ListenerClass): Filter {
  return create(FilterSchema, {
    name: networkFilter.istioStats,
    configType: { case: 'typedConfig', value: typedStruct(statsType, statsConfig(listenerClass)) },
  });
}

/** Configuration of `istio.metadata_exchange` on TCP. */
export function metadataExchangeConfig(): Any {
  return typedStruct(metadataExchangeType, { protocol: alpn.istioPeerExchange });
}

/** `istio.metadata_exchange` on TCP. */
export function metadataExchangeFilter(): Filter {
  return create(FilterSchema, {
    name: networkFilter.metadataExchange,
    configType: { case: 'typedConfig', value: metadataExchangeConfig() },
  });
}
