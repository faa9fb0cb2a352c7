/**
 * What HTTP/1 and HTTP/2 codecs have in common: streams as Envoy's codec interfaces, so that everything above works with
 * any version. Calls are synchronous; data is a view that the callee may keep.
 */
import type { Socket } from 'node:net';
import type { Address } from '../network/address.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from './header_map.ts';

/** Why a stream ended before its message did (envoy Http::StreamResetReason). */
export const ResetReason = {
  localReset: 'local reset',
  localRefusedStreamReset: 'local refused stream reset',
  remoteReset: 'remote reset',
  remoteRefusedStreamReset: 'remote refused stream reset',
  connectionTermination: 'connection termination',
  localConnectionFailure: 'local connection failure',
  remoteConnectionFailure: 'remote connection failure',
  connectionTimeout: 'connection timeout',
  overflow: 'overflow',
  protocolError: 'protocol error',
  connectError: 'connect error',
} as const;
export type ResetReason = (typeof ResetReason)[keyof typeof ResetReason];

/** The write side of one stream: backpressure goes against the arrow of the data. */
export interface StreamWriter {
  /** Bytes queued past the high watermark: the source should pause (readDisable). */
  readonly aboveHighWatermark: boolean;
  encodeData(data: Buffer, endStream: boolean): void;
  encodeTrailers(trailers: HeaderMap): void;
  /** Ends the stream at once: RST_STREAM, or closes an HTTP/1 connection. */
  reset(reason: ResetReason): void;
  /** Stops (true) or goes on with (false) reading the other direction of the same stream. Calls count. */
  readDisable(disable: boolean): void;
}

/** Server side, given to the connection manager: writes the response. Not to be used after the stream has ended. */
export interface ResponseEncoder extends StreamWriter {
  /** Bytes of this stream on the wire with their framing; undefined where the connection's own count tells (HTTP/1). */
  readonly wireBytesReceived?: number;
  readonly wireBytesSent?: number;
  /** 100, 103: sent before the real headers. */
  encode1xxHeaders(headers: ResponseHeaderMap): void;
  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void;
}

/** Server side, given by the connection manager: hears the request. */
export interface RequestDecoder {
  decodeHeaders(headers: RequestHeaderMap, endStream: boolean): void;
  decodeData(data: Buffer, endStream: boolean): void;
  decodeTrailers(trailers: HeaderMap): void;
  /** The stream is gone (peer reset, connection closed, protocol error); nothing more will come. */
  onResetStream(reason: ResetReason, details: string): void;
  /** The response cannot be written as fast as it comes: pause its source, then go on. */
  onAboveWriteBufferHighWatermark(): void;
  onBelowWriteBufferLowWatermark(): void;
}

/** Server connection events. */
export interface ServerConnectionCallbacks {
  newStream(encoder: ResponseEncoder): RequestDecoder;
  /**
   * The peer broke the protocol before a stream existed. The manager answers through the encoder with `status` and logs;
   * the codec closes afterwards. `details` is Envoy's response code detail (`http1.codec_error`, ...).
   */
  onProtocolError(encoder: ResponseEncoder, status: number, details: string): void;
  onClose(): void;
}

/** Client side, given by the router: hears the response. */
export interface ResponseDecoder {
  decode1xxHeaders(headers: ResponseHeaderMap): void;
  decodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void;
  decodeData(data: Buffer, endStream: boolean): void;
  decodeTrailers(trailers: HeaderMap): void;
  onResetStream(reason: ResetReason, details: string): void;
  onAboveWriteBufferHighWatermark(): void;
  onBelowWriteBufferLowWatermark(): void;
}

/** Client side, given to the router: writes the request. */
export interface RequestEncoder extends StreamWriter {
  encodeHeaders(headers: RequestHeaderMap, endStream: boolean): void;
}

/** Server connection: one per accepted socket. */
export interface ServerConnection {
  /** `HTTP/1.1` or `HTTP/2`. */
  readonly protocol: string;
  /** Streams that are open. */
  readonly activeStreams: number;
  /** Wire bytes so far, for `%DOWNSTREAM_WIRE_BYTES_...%`. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Input from the transport; the connection manager forwards what it looked at first. */
  onData(chunk: Buffer): void;
  /** Lets streams finish, then closes (connection: close, GOAWAY). */
  shutdownNotice(): void;
  /** Closes now. */
  close(): void;
}

/** Client connection events: what a connection pool needs. */
export interface ClientConnectionCallbacks {
  /** A stream ended and the connection can take another. */
  onStreamEnd(): void;
  /** `availableStreams` changed although no stream began or ended: the peer's SETTINGS. */
  onCapacityChange?(): void;
  /** No new stream may be made (GOAWAY, `connection: close`); open ones may finish. */
  onGoAway(): void;
  /** The socket is gone; open streams have heard onResetStream. `details` names the cause. */
  onClose(details: string): void;
}

/** Client connection: one per upstream socket. */
export interface ClientConnection {
  readonly protocol: string;
  readonly socket: Socket;
  /** Our end of the socket; undefined once it is gone. Asked for by each request: keep it. */
  readonly localAddress: Address | undefined;
  readonly activeStreams: number;
  /** Streams that may still be made now: 1 or 0 for HTTP/1. */
  readonly availableStreams: number;
  newStream(decoder: ResponseDecoder): RequestEncoder;
  close(): void;
}
