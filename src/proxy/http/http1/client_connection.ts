/**
 * The client side of an HTTP/1 connection: one request at a time on a socket that stays open. Each request has its own
 * encoder object, so that a late call of an old stream cannot touch a new one. RFC 9112. On the hot path:
 * bench/micro/http1_proxy.ts.
 */
import type { Socket } from 'node:net';
import { type Address, unmapIpv4 } from '../../network/address.ts';
import {
  type ClientConnection,
  type ClientConnectionCallbacks,
  type RequestEncoder,
  ResetReason,
  type ResponseDecoder,
} from '../codec.ts';
import { type HeaderMap, type RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { HeaderFlag } from '../header_names.ts';
import { type IoListener, SocketIo } from '../socket_io.ts';
import { encodeFields, encodeRequestHead, type NameFormat } from './head_encoder.ts';
import { HeadError, type HeadLimits, parseResponseHead } from './head_parser.ts';
import { headInfo, MessageReader, ReadState } from './message_reader.ts';

export interface Http1ClientOptions extends HeadLimits {
  /** Bytes of a response head, default 60 KiB (max_response_headers_kb). */
  readonly maxHeadBytes: number;
  /** Trailers are passed on both ways; default false: dropped (enable_trailers). */
  readonly enableTrailers: boolean;
  /** Queued request bytes above which the source is paused (per_connection_buffer_limit_bytes, 1 MiB). */
  readonly highWatermark: number;
  /** Spelling of request header names. */
  readonly nameFormat: NameFormat;
}

export const defaultClientOptions: Http1ClientOptions = {
  maxHeadBytes: 60 * 1024,
  maxHeaders: 100,
  underscores: 'allow',
  customMethods: true,
  allowChunkedLength: false,
  enableTrailers: false,
  highWatermark: 1024 * 1024,
  nameFormat: undefined,
};

const emptyBuffer = Buffer.alloc(0);

/** Methods whose requests have no body unless they say so: no `content-length: 0` is added. */
function needsNoLength(method: string): boolean {
  return (
    method === 'GET' || method === 'HEAD' || method === 'DELETE' || method === 'TRACE' || method === 'CONNECT'
  );
}

export class Http1ClientConnection extends MessageReader implements ClientConnection, IoListener {
  readonly protocol = 'HTTP/1.1';
  readonly socket: Socket;
  readonly #io: SocketIo;
  readonly #callbacks: ClientConnectionCallbacks;
  readonly options: Http1ClientOptions;
  #stream: ClientStream | undefined = undefined;
  #closeAfter = false;
  #closed = false;
  #details = '';
  #localAddress: Address | undefined = undefined;

  /** @param socket connected, and handshaken when it is a TLSSocket; must not have listeners for data. */
  constructor(
    socket: Socket,
    callbacks: ClientConnectionCallbacks,
    options: Http1ClientOptions = defaultClientOptions,
  ) {
    super(options.maxHeadBytes);
    this.socket = socket;
    this.#callbacks = callbacks;
    this.options = options;
    this.state = ReadState.hold;
    this.#io = new SocketIo(socket, this);
  }

  get localAddress(): Address | undefined {
    if (this.#localAddress === undefined) {
      const { localAddress, localPort } = this.socket;
      if (localAddress !== undefined)
        this.#localAddress = { ip: unmapIpv4(localAddress), port: localPort ?? 0 };
    }
    return this.#localAddress;
  }

  get activeStreams(): number {
    return this.#stream === undefined ? 0 : 1;
  }

  get availableStreams(): number {
    return this.#stream === undefined && !this.#closeAfter && !this.#closed ? 1 : 0;
  }

  newStream(decoder: ResponseDecoder): RequestEncoder {
    const stream = new ClientStream(this, this.#io, decoder);
    this.#stream = stream;
    this.state = ReadState.head;
    return stream;
  }

  close(): void {
    this.#closed = true;
    this.#io.destroy();
  }

  onData(chunk: Buffer): void {
    this.consume(chunk);
  }

  onEnd(): void {
    if (this.state === ReadState.untilClose) this.#endResponse();
    this.#io.destroy();
  }

  onClose(error: Error | undefined): void {
    this.#closed = true;
    const stream = this.#stream;
    if (stream !== undefined) {
      this.#stream = undefined;
      if (this.state === ReadState.untilClose && error === undefined) stream.endOfResponse();
      // As Envoy: what ends inside a head was no HTTP.
      else if (this.insideHead) stream.decoder.onResetStream(ResetReason.protocolError, this.#details);
      else stream.decoder.onResetStream(ResetReason.connectionTermination, this.#details);
    }
    this.state = ReadState.discard;
    this.#callbacks.onClose(error === undefined ? this.#details : error.message);
  }

  onDrain(): void {
    this.#stream?.onDrain();
  }

  protected onHead(buf: Buffer, text: string, base: number, end: number): HeadError {
    const stream = this.#stream;
    if (stream === undefined) return HeadError.badStartLine;
    const headers = new ResponseHeaderMap();
    const info = headInfo;
    const error = parseResponseHead(buf, text, base, end, headers, info, this.options);
    if (error !== HeadError.none) return error;
    const { status } = headers;
    if (status < 200 && status !== 101) {
      stream.decoder.decode1xxHeaders(headers);
      return HeadError.none;
    }
    const switching = stream.switches(status);
    if (status === 101 && !switching) return HeadError.badStartLine;
    if (info.close || (info.minor === 0 && !info.keepAlive)) this.#closeAfter = true;
    if (switching) this.state = ReadState.untilClose;
    else if (stream.isHead || status === 204 || status === 304) this.readLength(0);
    else if (info.chunked) {
      if (info.minor === 0) return HeadError.unknownTransferEncoding;
      this.readChunked();
      headers.remove('transfer-encoding');
    } else if (info.contentLength >= 0) this.readLength(info.contentLength);
    else this.state = ReadState.untilClose;
    if (this.state === ReadState.untilClose) this.#closeAfter = true;
    if (this.#closeAfter) this.#callbacks.onGoAway();
    if (this.state === ReadState.hold) {
      const reusable = this.#finish(stream);
      stream.decoder.decodeHeaders(headers, true);
      if (reusable && !this.#closed) this.#callbacks.onStreamEnd();
    } else stream.decoder.decodeHeaders(headers, false);
    return HeadError.none;
  }

  protected onBody(data: Buffer, endStream: boolean): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (!endStream) {
      stream.decoder.decodeData(data, false);
      return;
    }
    const reusable = this.#finish(stream);
    stream.decoder.decodeData(data, true);
    if (reusable && !this.#closed) this.#callbacks.onStreamEnd();
  }

  protected onTrailers(trailers: HeaderMap): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    const reusable = this.#finish(stream);
    if (this.options.enableTrailers) stream.decoder.decodeTrailers(trailers);
    else stream.decoder.decodeData(emptyBuffer, true);
    if (reusable && !this.#closed) this.#callbacks.onStreamEnd();
  }

  protected onError(error: HeadError): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#closed = true;
    this.#details = error === HeadError.headTooLarge ? 'headers_too_large' : 'protocol error';
    stream?.decoder.onResetStream(ResetReason.protocolError, this.#details);
    this.#io.destroy();
  }

  /** Bytes that no request asked for: the connection cannot be trusted any more. */
  protected onHeldInput(): void {
    this.#details = 'unsolicited response';
    this.close();
  }

  #endResponse(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#finish(stream);
    stream.decoder.decodeData(emptyBuffer, true);
  }

  /** The response is complete; true when the connection can take another request. */
  #finish(stream: ClientStream): boolean {
    this.#stream = undefined;
    this.state = ReadState.hold;
    stream.detach();
    if (!this.#closeAfter && stream.requestComplete) return !this.#closed;
    this.close();
    return false;
  }

  /** The stream gave up: the connection has an unfinished message and must go. */
  onStreamReset(stream: ClientStream): void {
    if (this.#stream !== stream) return;
    this.#stream = undefined;
    this.#details = 'local reset';
    this.close();
  }
}

/** Writes one request. */
class ClientStream implements RequestEncoder {
  readonly decoder: ResponseDecoder;
  readonly #io: SocketIo;
  #connection: Http1ClientConnection | undefined;
  requestComplete = false;
  isHead = false;
  #upgrade = false;
  #connect = false;
  #chunked = false;
  #reads = 0;
  aboveHighWatermark = false;

  constructor(connection: Http1ClientConnection, io: SocketIo, decoder: ResponseDecoder) {
    this.#connection = connection;
    this.#io = io;
    this.decoder = decoder;
  }

  /** True when a response with this status turns the connection into a tunnel. */
  switches(status: number): boolean {
    return status === 101 ? this.#upgrade : this.#connect && status >= 200 && status < 300;
  }

  encodeHeaders(headers: RequestHeaderMap, endStream: boolean): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const { method } = headers;
    this.isHead = method === 'HEAD';
    this.#connect = method === 'CONNECT';
    this.#upgrade = headers.protocol !== '';
    let text: string;
    if (this.#connect) {
      text = `CONNECT ${headers.authority} HTTP/1.1\r\nhost: ${headers.authority}\r\n`;
      text += encodeFields(headers, connection.options.nameFormat);
    } else text = encodeRequestHead(headers, connection.options.nameFormat);
    if (!this.#connect && !this.#upgrade) {
      const hasLength = (headers.seen & HeaderFlag.contentLength) !== 0 && headers.has('content-length');
      if (!hasLength) {
        if (!endStream) {
          this.#chunked = true;
          text += 'transfer-encoding: chunked\r\n';
        } else if (!needsNoLength(method)) text += 'content-length: 0\r\n';
      }
    }
    this.#io.writeText(text + '\r\n');
    if (endStream) this.requestComplete = true;
  }

  encodeData(data: Buffer, endStream: boolean): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const { length } = data;
    if (this.#chunked) {
      if (length > 0) {
        this.#io.writeText(length.toString(16) + '\r\n');
        this.#io.writeBuffer(data);
        this.#io.writeText(endStream ? '\r\n0\r\n\r\n' : '\r\n');
      } else if (endStream) this.#io.writeText('0\r\n\r\n');
    } else if (length > 0) this.#io.writeBuffer(data);
    if (endStream) {
      this.requestComplete = true;
      if (this.#upgrade || this.#connect) this.#io.end();
      return;
    }
    if (this.aboveHighWatermark) return;
    const limit = Math.max(connection.options.highWatermark, this.#io.drainMark);
    if (this.#io.queuedBytes > limit) {
      this.aboveHighWatermark = true;
      this.decoder.onAboveWriteBufferHighWatermark();
    }
  }

  encodeTrailers(trailers: HeaderMap): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    if (this.#chunked) {
      const fields = connection.options.enableTrailers
        ? encodeFields(trailers, connection.options.nameFormat)
        : '';
      this.#io.writeText('0\r\n' + fields + '\r\n');
    }
    this.requestComplete = true;
  }

  reset(_reason: ResetReason): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.onStreamReset(this);
  }

  readDisable(disable: boolean): void {
    if (this.#connection === undefined) return;
    if (disable) {
      this.#reads++;
      this.#io.pause();
    } else if (this.#reads > 0) {
      this.#reads--;
      this.#io.resume();
    }
  }

  onDrain(): void {
    if (!this.aboveHighWatermark) return;
    this.aboveHighWatermark = false;
    this.decoder.onBelowWriteBufferLowWatermark();
  }

  endOfResponse(): void {
    this.detach();
    this.decoder.decodeData(emptyBuffer, true);
  }

  /** The response is complete: later calls do nothing, pauses asked for are undone. */
  detach(): void {
    this.#connection = undefined;
    for (; this.#reads > 0; this.#reads--) this.#io.resume();
  }
}
