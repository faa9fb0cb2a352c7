/**
 * HTTP filters (envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter): interfaces in Envoy's terms.
 * A factory is made once per filter chain from typed_config; it makes one filter per request, or gives the same object
 * when the filter keeps no state of a request.
 */
import type { DownstreamConnection } from '../network/connection.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { ResponseFlags } from '../stream_info/response_flags.ts';
import type { ResetReason } from './codec.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from './header_map.ts';

/** What a filter tells the chain. Numbers: asked for each event of each request. */
export const FilterStatus = {
  /** Go on to the next filter. */
  continue: 0,
  /** Stop here until `continueDecoding`/`continueEncoding`; body is buffered (bounded) or held back. */
  stopIteration: 1,
  /** From `decodeHeaders` and `decodeData`: as `stopIteration`, but a long body pauses its source, it is not refused. */
  stopAndPause: 2,
} as const;
export type FilterStatus = (typeof FilterStatus)[keyof typeof FilterStatus];

/** A route as filters see it. */
export interface FilterRoute {
  readonly name: string;
  readonly clusterName: string;
  readonly metadata: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined;
  /**
   * Most specific `typed_per_filter_config` of a filter (route, then virtual host, then route configuration), already
   * turned into what the filter's factory returned from `routeConfig`.
   */
  perFilterConfig(filterName: string): unknown;
}

/** A reply made by the proxy itself. */
export interface LocalReply {
  readonly status: number;
  readonly body: string;
  /** `%RESPONSE_CODE_DETAILS%`. */
  readonly details: string;
  readonly flags: ResponseFlags;
  /** Of a body, unless headers say something else; default `text/plain`. */
  readonly contentType?: string;
  /** Extra response headers, names in lower case. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** Last change of the response headers before the encoder filters see them. */
  readonly modifyHeaders?: (headers: ResponseHeaderMap) => void;
  /** For gRPC requests; default follows the status (Envoy's mapping). */
  readonly grpcStatus?: number;
}

/** What a filter may do with its request. One object per request, shared by all its filters. */
export interface FilterCallbacks {
  readonly streamInfo: StreamInfo;
  /** Undefined when nothing matched; computed once and cached until `clearRouteCache`. */
  route(): FilterRoute | undefined;
  clearRouteCache(): void;
  requestHeaders(): RequestHeaderMap | undefined;
  responseHeaders(): ResponseHeaderMap | undefined;
  /** Resumes after this filter answered `stopIteration` on the way in. */
  continueDecoding(): void;
  /** Resumes after this filter answered `stopIteration` on the way out. */
  continueEncoding(): void;
  /** Answers in place of the upstream; runs the encoder filters; ends the request. */
  sendLocalReply(reply: LocalReply): void;
  /** Request body held back while a filter has stopped; undefined when there is none. */
  decodingBuffer(): Buffer | undefined;
  /** Response body held back while a filter has stopped. */
  encodingBuffer(): Buffer | undefined;
  /** From inside `decodeData`: what goes on in place of the data that the filter was given; may be empty. */
  replaceDecodedData(data: Buffer): void;
  /** From inside `encodeData`: as `replaceDecodedData`, for the response. */
  replaceEncodedData(data: Buffer): void;
  /**
   * From inside `encodeTrailers`: the body ends with `data` and no trailers are sent. The filters that follow hear of both,
   * and logs keep the trailers.
   */
  sendTrailersAsData(data: Buffer): void;
}

/** What the last filter (the router) may do besides: it makes the response. */
export interface TerminalFilterCallbacks extends FilterCallbacks {
  readonly connection: DownstreamConnection;
  /** Bytes that one direction may hold back (per_connection_buffer_limit_bytes). */
  readonly bufferLimit: number;
  /** True when the response cannot be written as fast as it comes: its source should pause. */
  readonly downstreamAboveHighWatermark: boolean;
  encode1xxHeaders(headers: ResponseHeaderMap): void;
  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void;
  encodeData(data: Buffer, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
  /**
   * Runs the request, whose headers were changed, through new filters by the route that it has now (envoy recreateStream).
   * The caller is destroyed. @param body of the request, undefined for none; trailers follow it.
   */
  recreateStream(body: readonly Buffer[] | undefined): void;
  /** The response broke off after its headers were sent. */
  resetStream(reason: ResetReason): void;
  /** Stops (true) or goes on with (false) reading the request. Calls count. */
  readDisable(disable: boolean): void;
}

/**
 * One filter. Every hook is optional: the chain asks only filters that have it (looked at once per chain, on the object
 * that the factory makes first). `decode*` run in the order of the list, `encode*` in reverse.
 */
export interface HttpFilter {
  decodeHeaders?(headers: RequestHeaderMap, endStream: boolean): FilterStatus;
  decodeData?(data: Buffer, endStream: boolean): FilterStatus;
  decodeTrailers?(trailers: HeaderMap): FilterStatus;
  encodeHeaders?(headers: ResponseHeaderMap, endStream: boolean): FilterStatus;
  encodeData?(data: Buffer, endStream: boolean): FilterStatus;
  encodeTrailers?(trailers: HeaderMap): FilterStatus;
  /** Before access logs are written: the stream has ended, all of StreamInfo is known. */
  onStreamComplete?(): void;
  /** The request is over or was reset: cancel timers and calls. Always called once. */
  onDestroy?(): void;
}

/** The last filter of a chain. It hears how the response is taken. */
export interface TerminalHttpFilter extends HttpFilter {
  onAboveWriteBufferHighWatermark(): void;
  onBelowWriteBufferLowWatermark(): void;
}

/** Made once per chain by the extension of a terminal filter. */
export interface TerminalHttpFilterFactory {
  readonly terminal: true;
  createTerminalFilter(callbacks: TerminalFilterCallbacks): TerminalHttpFilter;
  close?(): void;
}

/** Made once per chain. `Config` is private to the filter. */
export interface HttpFilterFactory {
  readonly terminal?: false;
  createFilter(callbacks: FilterCallbacks): HttpFilter;
  /** Turns a decoded `typed_per_filter_config` into what `perFilterConfig` will give; throws a ConfigError text. */
  routeConfig?(config: unknown): unknown;
  /** The chain is dropped. */
  close?(): void;
}
