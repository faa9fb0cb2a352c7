/**
 * The server side of an HTTP/1 connection: one stream at a time, pipelined requests wait. It is its own response encoder,
 * because there is never a second stream. RFC 9112; closing rules as Envoy's. On the hot path: bench/micro/http1_proxy.ts.
 */
import type { TimerHandle } from '../../network/timer_wheel.ts';
import { workerTimers } from '../../network/timer_wheel.ts';
import {
  type RequestDecoder,
  ResetReason,
  type ResponseEncoder,
  type ServerConnection,
  type ServerConnectionCallbacks,
} from '../codec.ts';
import { type HeaderMap, RequestHeaderMap, type ResponseHeaderMap } from '../header_map.ts';
import { HeaderFlag } from '../header_names.ts';
import type { IoListener, SocketIo } from '../socket_io.ts';
import { encodeFields, encodeResponseHead, type NameFormat, statusLine } from './head_encoder.ts';
import { HeadError, type HeadLimits, parseRequestHead } from './head_parser.ts';
import { protocolError } from './http1_errors.ts';
import { headInfo, MessageReader, ReadState } from './message_reader.ts';
import { nominatedHeaders, splitAbsoluteTarget } from './request_target.ts';

export interface Http1ServerOptions extends HeadLimits {
  /** Bytes of a request head, default 60 KiB (max_request_headers_kb). */
  readonly maxHeadBytes: number;
  /** HTTP/1.0 requests are answered when true, else with 426 (accept_http_10). */
  readonly acceptHttp10: boolean;
  /** Host of HTTP/1.0 requests without one (default_host_for_http_10). */
  readonly defaultHost: string;
  /** `GET http://host/path` is taken apart; default true (allow_absolute_url). */
  readonly allowAbsoluteUrl: boolean;
  /** Trailers are passed on both ways; default false: dropped (enable_trailers). */
  readonly enableTrailers: boolean;
  /** Queued response bytes above which the source is paused (per_connection_buffer_limit_bytes, 1 MiB). */
  readonly highWatermark: number;
  /** Milliseconds that a closed connection waits for the peer's close; 0 closes at once (delayed_close_timeout, 1 s). */
  readonly delayedCloseMs: number;
  /** Milliseconds from the first byte of a head to its last; 0 for no limit (request_headers_timeout). */
  readonly headTimeoutMs: number;
  /** Spelling of response header names. */
  readonly nameFormat: NameFormat;
}

export const defaultServerOptions: Http1ServerOptions = {
  maxHeadBytes: 60 * 1024,
  maxHeaders: 100,
  underscores: 'allow',
  customMethods: false,
  allowChunkedLength: false,
  acceptHttp10: false,
  defaultHost: '',
  allowAbsoluteUrl: true,
  enableTrailers: false,
  highWatermark: 1024 * 1024,
  delayedCloseMs: 1000,
  headTimeoutMs: 0,
  nameFormat: undefined,
};

/** How the body of the response is framed. */
const Framing = { none: 0, length: 1, chunked: 2, raw: 3 } as const;
type Framing = (typeof Framing)[keyof typeof Framing];

/** Pipelined input kept while a response is written; more pauses the socket. */
const maxHeldBytes = 64 * 1024;
const emptyBuffer = Buffer.alloc(0);

function lingerDone(io: SocketIo): void {
  io.destroy();
}

function headTimeout(connection: Http1ServerConnection): void {
  connection.onHeadTimeout();
}

export class Http1ServerConnection
  extends MessageReader
  implements ServerConnection, ResponseEncoder, IoListener
{
  readonly protocol = 'HTTP/1.1';
  readonly #io: SocketIo;
  readonly #callbacks: ServerConnectionCallbacks;
  readonly #options: Http1ServerOptions;
  #decoder: RequestDecoder | undefined = undefined;
  #requestComplete = false;
  #responseStarted = false;
  #framing: Framing = Framing.none;
  #isHead = false;
  #isConnect = false;
  #isUpgrade = false;
  #minor = 1;
  #closeAfter = false;
  #closing = false;
  #consuming = false;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #heldPaused = false;
  #linger: TimerHandle | undefined = undefined;
  #headTimer: TimerHandle | undefined = undefined;
  aboveHighWatermark = false;

  /** Becomes the listener of `io`. */
  constructor(io: SocketIo, callbacks: ServerConnectionCallbacks, options: Http1ServerOptions) {
    super(options.maxHeadBytes);
    this.#io = io;
    this.#callbacks = callbacks;
    this.#options = options;
    io.listener = this;
  }

  get activeStreams(): number {
    return this.#decoder === undefined ? 0 : 1;
  }

  get bytesRead(): number {
    return this.#io.bytesRead;
  }

  get bytesWritten(): number {
    return this.#io.bytesWritten;
  }

  // === input ===

  onData(chunk: Buffer): void {
    this.#consuming = true;
    this.consume(chunk);
    this.#consuming = false;
    // Most heads come in one piece: they need no timer.
    if (this.#headTimer !== undefined || this.insideHead) this.#watchHead();
  }

  #watchHead(): void {
    if (!this.insideHead || this.#decoder !== undefined) {
      workerTimers.cancel(this.#headTimer);
      this.#headTimer = undefined;
    } else if (this.#options.headTimeoutMs > 0)
      this.#headTimer ??= workerTimers.schedule(
        this.#options.headTimeoutMs,
        headTimeout,
        this as Http1ServerConnection,
      );
  }

  /** A head did not end in time. */
  onHeadTimeout(): void {
    this.#headTimer = undefined;
    if (this.#closing || !this.insideHead) return;
    this.#refuse(408, 'request_header_timeout');
    this.#shutdown();
  }

  onEnd(): void {
    // As Envoy: a peer that shuts down its side is gone, even in the middle of a response.
    if (this.#closing) this.#io.destroy();
    else if (this.#decoder !== undefined) this.#io.destroy();
    else this.#io.end();
  }

  onClose(): void {
    workerTimers.cancel(this.#linger);
    this.#linger = undefined;
    workerTimers.cancel(this.#headTimer);
    this.#headTimer = undefined;
    this.state = ReadState.discard;
    this.#closing = true;
    const decoder = this.#decoder;
    this.#decoder = undefined;
    decoder?.onResetStream(ResetReason.connectionTermination, '');
    this.#callbacks.onClose();
  }

  onDrain(): void {
    if (!this.aboveHighWatermark) return;
    this.aboveHighWatermark = false;
    this.#decoder?.onBelowWriteBufferLowWatermark();
  }

  protected onHead(buf: Buffer, text: string, base: number, end: number): HeadError {
    const headers = new RequestHeaderMap();
    const info = headInfo;
    const error = parseRequestHead(buf, text, base, end, headers, info, this.#options);
    this.#minor = info.minor;
    if (error !== HeadError.none) return error;
    if (info.minor === 0) {
      if (!this.#options.acceptHttp10) return HeadError.unsupportedVersion;
      if (info.chunked) return HeadError.unknownTransferEncoding;
      if (headers.authority === '') headers.authority = this.#options.defaultHost;
      if (!info.keepAlive) this.#closeAfter = true;
    }
    if (info.close) this.#closeAfter = true;
    if (info.connectionNominates) {
      const nominated = nominatedHeaders(headers);
      if (nominated === undefined) return HeadError.badConnectionHeader;
      for (const name of nominated) headers.remove(name);
    }
    const { method } = headers;
    this.#isHead = method === 'HEAD';
    this.#isConnect = method === 'CONNECT';
    this.#isUpgrade = false;
    const first = headers.path.charCodeAt(0);
    if (this.#isConnect) {
      if (info.chunked) return HeadError.unknownTransferEncoding;
      headers.authority = headers.path;
      headers.path = '';
    } else if (first !== 47 && !(first === 42 && headers.path.length === 1 && method === 'OPTIONS')) {
      if (!this.#options.allowAbsoluteUrl || !splitAbsoluteTarget(headers)) return HeadError.badTarget;
    }
    if (info.upgrade !== '') this.#readUpgrade(headers);
    this.#requestComplete = false;
    this.#responseStarted = false;
    const tunnel = this.#isConnect || this.#isUpgrade;
    if (tunnel) this.state = ReadState.untilClose;
    else if (info.chunked) this.readChunked();
    else this.readLength(Math.max(info.contentLength, 0));
    const endStream = this.state === ReadState.hold;
    if (info.chunked) headers.remove('transfer-encoding');
    if (endStream) this.#requestComplete = true;
    const decoder = this.#callbacks.newStream(this);
    this.#decoder = decoder;
    decoder.decodeHeaders(headers, endStream);
    return HeadError.none;
  }

  /** `upgrade` counts only when `connection` says so; `h2c` is ignored, as Envoy does. */
  #readUpgrade(headers: RequestHeaderMap): void {
    const info = headInfo;
    if (info.connectionUpgrade && info.upgrade !== 'h2c') {
      this.#isUpgrade = true;
      headers.protocol = info.upgrade;
      headers.remove('content-length');
      return;
    }
    headers.remove('upgrade');
    headers.remove('http2-settings');
    headers.seen &= ~HeaderFlag.upgrade;
  }

  protected onBody(data: Buffer, endStream: boolean): void {
    if (endStream) this.#requestComplete = true;
    this.#decoder?.decodeData(data, endStream);
  }

  protected onTrailers(trailers: HeaderMap): void {
    this.#requestComplete = true;
    if (this.#options.enableTrailers) this.#decoder?.decodeTrailers(trailers);
    else this.#decoder?.decodeData(emptyBuffer, true);
  }

  protected onError(error: HeadError): void {
    this.#closeAfter = true;
    const { status, details } =
      error === HeadError.unsupportedVersion ? { status: 426, details: 'low_version' } : protocolError(error);
    const decoder = this.#decoder;
    if (decoder !== undefined) decoder.onResetStream(ResetReason.protocolError, details);
    else this.#refuse(status, details);
    this.#shutdown();
  }

  #refuse(status: number, details: string): void {
    this.#closeAfter = true;
    this.#isHead = false;
    this.#requestComplete = true;
    this.#responseStarted = false;
    this.#callbacks.onProtocolError(this, status, details);
  }

  protected onHeldInput(data: Buffer): void {
    if (this.#closing) return;
    this.#held.push(data);
    this.#heldBytes += data.length;
    if (this.#heldBytes > maxHeldBytes && !this.#heldPaused) {
      this.#heldPaused = true;
      this.#io.pause();
    }
  }

  // === output ===

  encode1xxHeaders(headers: ResponseHeaderMap): void {
    if (this.#minor === 0) return;
    this.#io.writeText(
      headers.size === 0
        ? statusLine(headers.status) + '\r\n'
        : encodeResponseHead(headers, this.#options.nameFormat) + '\r\n',
    );
  }

  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    const { status } = headers;
    this.#responseStarted = true;
    const switching =
      (status === 101 && this.#isUpgrade) || (this.#isConnect && status >= 200 && status < 300);
    // A response before the request is complete, or a refused upgrade, leaves the connection unusable.
    if (!this.#requestComplete && !switching) this.#closeAfter = true;
    let text = encodeResponseHead(headers, this.#options.nameFormat);
    if (this.#minor === 0 && this.#options.acceptHttp10) text = 'HTTP/1.0' + text.slice(8);
    if (switching) this.#framing = Framing.raw;
    else {
      if (this.#closeAfter) text += 'connection: close\r\n';
      else if (this.#minor === 0) text += 'connection: keep-alive\r\n';
      const hasLength = (headers.seen & HeaderFlag.contentLength) !== 0 && headers.has('content-length');
      if (this.#isHead || status === 204 || status === 304 || status < 200) this.#framing = Framing.none;
      else if (hasLength) this.#framing = Framing.length;
      else if (endStream) {
        this.#framing = Framing.none;
        text += 'content-length: 0\r\n';
      } else if (this.#minor === 0) {
        this.#framing = Framing.raw;
        this.#closeAfter = true;
      } else {
        this.#framing = Framing.chunked;
        text += 'transfer-encoding: chunked\r\n';
      }
    }
    this.#io.writeText(text + '\r\n');
    if (endStream) this.#endResponse();
  }

  encodeData(data: Buffer, endStream: boolean): void {
    const { length } = data;
    if (this.#framing === Framing.chunked) {
      if (length > 0) {
        this.#io.writeText(length.toString(16) + '\r\n');
        this.#io.writeBuffer(data);
        this.#io.writeText(endStream ? '\r\n0\r\n\r\n' : '\r\n');
      } else if (endStream) this.#io.writeText('0\r\n\r\n');
    } else if (length > 0 && this.#framing !== Framing.none) this.#io.writeBuffer(data);
    if (endStream) this.#endResponse();
    else this.#checkWatermark();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (this.#framing === Framing.chunked) {
      const fields = this.#options.enableTrailers ? encodeFields(trailers, this.#options.nameFormat) : '';
      this.#io.writeText('0\r\n' + fields + '\r\n');
    }
    this.#endResponse();
  }

  reset(_reason: ResetReason): void {
    this.#decoder = undefined;
    // What was written goes out; the missing end of the framing tells the peer.
    if (this.#responseStarted && this.#framing !== Framing.raw) this.#shutdown();
    else this.close();
  }

  readDisable(disable: boolean): void {
    if (disable) this.#io.pause();
    else this.#io.resume();
  }

  #checkWatermark(): void {
    if (this.aboveHighWatermark) return;
    const limit = Math.max(this.#options.highWatermark, this.#io.drainMark);
    if (this.#io.queuedBytes <= limit) return;
    this.aboveHighWatermark = true;
    this.#decoder?.onAboveWriteBufferHighWatermark();
  }

  #endResponse(): void {
    this.#decoder = undefined;
    this.aboveHighWatermark = false;
    if (this.#closeAfter || !this.#requestComplete || this.#framing === Framing.raw) {
      this.#shutdown();
      return;
    }
    this.state = ReadState.head;
    if (this.#held.length > 0 && !this.#consuming) this.#takeHeld();
  }

  /** Works on pipelined input that waited. */
  #takeHeld(): void {
    const input = this.#held.length === 1 ? (this.#held[0] as Buffer) : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    if (this.#heldPaused) {
      this.#heldPaused = false;
      this.#io.resume();
    }
    this.onData(input);
  }

  // === end ===

  shutdownNotice(): void {
    this.#closeAfter = true;
    if (this.#decoder === undefined && !this.insideHead) this.#shutdown();
  }

  close(): void {
    this.state = ReadState.discard;
    this.#closing = true;
    this.#io.destroy();
  }

  /** Sends what is queued, shuts down our side and waits a moment for the peer's, so that it can read the answer. */
  #shutdown(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.state = ReadState.discard;
    this.#io.end();
    if (this.#options.delayedCloseMs > 0)
      this.#linger = workerTimers.schedule(this.#options.delayedCloseMs, lingerDone, this.#io);
    else this.#io.destroy();
  }
}
