/**
 * Extension `istio.alpn`: tells the peer by ALPN that HTTP is spoken inside mutual TLS
 * (istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig). Its configuration travels as TypedStruct too.
 */
import { fromBinary, fromJson } from '@bufbuild/protobuf';
import {
  FilterConfig_Protocol as Protocol,
  FilterConfigSchema,
} from '#api/gen/istio/envoy/config/filter/http/alpn/v2alpha1/config_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import { httpFilter } from '#api/well_known.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import type { UpstreamTransportOptions } from '../../../network/transport_socket.ts';
import { AlpnFilter, type AlpnOverrides } from './alpn.ts';

function optionsFor(protocols: readonly string[] | undefined): UpstreamTransportOptions | undefined {
  if (protocols === undefined || protocols.length === 0) return undefined;
  return { serverName: undefined, applicationProtocols: protocols, verifySubjectAltNames: undefined };
}

export const alpn = {
  name: httpFilter.istioAlpn,
  typeUrls: [typeUrlOf(FilterConfigSchema)],
  readsStruct: true,
  create({ value, struct }, context) {
    const config =
      struct === undefined ? fromBinary(FilterConfigSchema, value) : fromJson(FilterConfigSchema, struct);
    const byProtocol = new Map(
      config.alpnOverride.map((entry) => [entry.upstreamProtocol, entry.alpnOverride]),
    );
    const overrides: AlpnOverrides = {
      http1: optionsFor(byProtocol.get(Protocol.HTTP11)),
      http2: optionsFor(byProtocol.get(Protocol.HTTP2)),
    };
    const { clusterManager } = context;
    return { createFilter: (callbacks) => new AlpnFilter(callbacks, overrides, clusterManager) };
  },
} as const satisfies HttpFilterExtension;
