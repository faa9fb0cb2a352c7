/** Codecs of upstream connections: which HTTP version a cluster's pools speak, and with what options. */
import type { Http1ProtocolOptions } from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import {
  defaultClientOptions,
  Http1ClientConnection,
  type Http1ClientOptions,
} from '../../http/http1/client_connection.ts';
import { properCaseWords } from '../../http/http1/head_encoder.ts';
import { Http2ClientConnection } from '../../http/http2/client_connection.ts';
import type { Http2Options } from '../../http/http2/options.ts';
import type { ClientCodecFactory } from './http_pool.ts';

/** What the pools of one kind speak: a version, or what ALPN chooses for each connection. */
export type PoolProtocol = 'http1' | 'http2' | 'auto';

/** The codec for the protocol that ALPN chose; empty when it chose none. */
export type CodecChooser = (negotiatedProtocol: string) => ClientCodecFactory;

/** Options of HTTP/1 connections to upstreams. */
export interface Http1Limits {
  readonly http1: Http1ProtocolOptions | undefined;
  readonly maxResponseHeadersKb: number;
  readonly maxResponseHeaders: number;
  readonly bufferLimitBytes: number;
}

function http1ClientOptions(limits: Http1Limits): Http1ClientOptions {
  const { http1 } = limits;
  const format = http1?.headerKeyFormat?.headerFormat.case;
  return {
    ...defaultClientOptions,
    maxHeadBytes: limits.maxResponseHeadersKb * 1024,
    maxHeaders: limits.maxResponseHeaders,
    allowChunkedLength: http1?.allowChunkedLength ?? false,
    enableTrailers: http1?.enableTrailers ?? false,
    highWatermark: limits.bufferLimitBytes,
    nameFormat: format === 'properCaseWords' ? properCaseWords : undefined,
  };
}

/** ALPN names by which a peer chooses HTTP/2, with Istio's. */
export function isHttp2Alpn(name: string): boolean {
  return name === 'h2' || name === 'istio-h2';
}

/** By pool protocol. */
export function clientCodecs(
  limits: Http1Limits,
  http2: Http2Options,
): Readonly<Record<PoolProtocol, CodecChooser>> {
  const http1Options = http1ClientOptions(limits);
  const one: ClientCodecFactory = (socket, callbacks) =>
    new Http1ClientConnection(socket, callbacks, http1Options);
  const two: ClientCodecFactory = (socket, callbacks) => new Http2ClientConnection(socket, callbacks, http2);
  return {
    http1: () => one,
    http2: () => two,
    auto: (negotiated) => (isHttp2Alpn(negotiated) ? two : one),
  };
}
