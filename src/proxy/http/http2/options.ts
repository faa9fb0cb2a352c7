/**
 * Options of HTTP/2 connections, both sides. Names, units and defaults as Envoy's `config.core.v3.Http2ProtocolOptions`,
 * `HttpProtocolOptions` and `http_connection_manager`; the field is named where it differs.
 */
import type { TimerWheel } from '../../network/timer_wheel.ts';
import type { UnderscoreAction } from '../http1/head_parser.ts';

/** PING sent by us (`connection_keepalive`). */
export interface Http2KeepaliveOptions {
  /** Milliseconds between PINGs; 0 sends none on its own (`interval`). */
  readonly intervalMs: number;
  /** Milliseconds until the answer, else the connection is closed (`timeout`). */
  readonly timeoutMs: number;
  /** Percent of `intervalMs` added at random, 0 to 100, default 15 (`interval_jitter`). */
  readonly intervalJitterPercent: number;
  /**
   * Client only: a connection that was silent this many milliseconds is asked with a PING before its next stream; 0 never
   * (`connection_idle_interval`).
   */
  readonly idleIntervalMs: number;
}

export interface Http2Options {
  /** Bytes of dynamic table that the peer's encoder may use, default 4096 (`hpack_table_size`); bounded by 64 KiB. */
  readonly hpackTableSize: number;
  /** Streams that the peer may open at once (server), or that we open at most (client); default 1024. */
  readonly maxConcurrentStreams: number;
  /** Bytes, 65535 to 2^31-1; default 16 MiB. */
  readonly initialStreamWindowSize: number;
  /** Bytes, 65535 to 2^31-1; default 24 MiB. */
  readonly initialConnectionWindowSize: number;
  /** Largest frame that we take (SETTINGS_MAX_FRAME_SIZE), 16384 (default) to 2^24-1. */
  readonly maxFrameSize: number;
  /** Extended CONNECT is offered (RFC 8441); default false (`allow_connect`). */
  readonly allowConnect: boolean;
  /**
   * A malformed message ends its stream only; default false: it ends the connection
   * (`override_stream_error_on_invalid_http_message`).
   */
  readonly streamErrorOnInvalidHttpMessage: boolean;

  /** KiB of names and values in one header list, default 60 (`max_request_headers_kb`, `max_response_headers_kb`). */
  readonly maxHeadersKb: number;
  /** Fields of one header list, default 100 (`max_headers_count`). */
  readonly maxHeadersCount: number;
  /** Default `allow` (`headers_with_underscores_action`). */
  readonly underscores: UnderscoreAction;

  /** Frames that may wait for the socket, default 10000. */
  readonly maxOutboundFrames: number;
  /** Of these PING, SETTINGS, RST_STREAM and WINDOW_UPDATE, default 1000. */
  readonly maxOutboundControlFrames: number;
  /** Frames in a row that carry nothing and end nothing, default 1. */
  readonly maxConsecutiveInboundFramesWithEmptyPayload: number;
  /** Default 100; the bound is this times (1 + streams opened). */
  readonly maxInboundPriorityFramesPerStream: number;
  /** Default 10; the bound is 5 + 2 * (streams opened + this * DATA frames sent). */
  readonly maxInboundWindowUpdateFramesPerDataFrameSent: number;
  /**
   * Server: when this many requests have ended (or half as many were reset early) and half of them were reset by the
   * client before they could be answered, the connection is closed; default 500, 0 never (Envoy's runtime key
   * `overload.premature_reset_total_stream_count`; CVE-2023-44487).
   */
  readonly prematureResetTotalStreamCount: number;
  /** A reset within this many milliseconds is early; default 1000 (`overload.premature_reset_min_stream_lifetime_seconds`). */
  readonly prematureResetMinStreamLifetimeMs: number;
  /** RST_STREAM frames at once and per second that a peer may send; 0 (default) is no limit (`stream_reset_burst`, `_rate`). */
  readonly streamResetBurst: number;
  readonly streamResetRate: number;

  /** Undefined: no PING of our own. */
  readonly keepalive: Http2KeepaliveOptions | undefined;
  /** Queued bytes of the connection above which streams are paused, 1 MiB (`per_connection_buffer_limit_bytes`). */
  readonly highWatermark: number;
  /** Queued bytes of one stream above which its source is paused; default 256 KiB. */
  readonly streamHighWatermark: number;
  /** Server: milliseconds between the first GOAWAY and the one that refuses new streams, default 5000 (`drain_timeout`). */
  readonly drainTimeoutMs: number;
  /** Milliseconds that a closed connection waits for the peer's close; 0 closes at once (`delayed_close_timeout`, 1 s). */
  readonly delayedCloseMs: number;
  /** The worker's wheel unless a test brings its own. */
  readonly timers?: TimerWheel;
}

export const defaultHttp2Options: Http2Options = {
  hpackTableSize: 4096,
  maxConcurrentStreams: 1024,
  initialStreamWindowSize: 16 * 1024 * 1024,
  initialConnectionWindowSize: 24 * 1024 * 1024,
  maxFrameSize: 16384,
  allowConnect: false,
  streamErrorOnInvalidHttpMessage: false,
  maxHeadersKb: 60,
  maxHeadersCount: 100,
  underscores: 'allow',
  maxOutboundFrames: 10_000,
  maxOutboundControlFrames: 1000,
  maxConsecutiveInboundFramesWithEmptyPayload: 1,
  maxInboundPriorityFramesPerStream: 100,
  maxInboundWindowUpdateFramesPerDataFrameSent: 10,
  prematureResetTotalStreamCount: 500,
  prematureResetMinStreamLifetimeMs: 1000,
  streamResetBurst: 0,
  streamResetRate: 0,
  keepalive: undefined,
  highWatermark: 1024 * 1024,
  streamHighWatermark: 256 * 1024,
  drainTimeoutMs: 5000,
  delayedCloseMs: 1000,
};
