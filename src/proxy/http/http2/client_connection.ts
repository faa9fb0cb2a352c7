/** The client side of an HTTP/2 connection: many requests at once on one socket. RFC 9113. */
import type { Socket } from 'node:net';
import { type Address, unmapIpv4 } from '../../network/address.ts';
import {
  type ClientConnection,
  type ClientConnectionCallbacks,
  type RequestEncoder,
  ResetReason,
  type ResponseDecoder,
} from '../codec.ts';
import { HeaderMap, type RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import {
  encodeAuthority,
  encodeFieldList,
  encodeMethod,
  encodePath,
  encodeProtocol,
  encodeScheme,
} from '../hpack/encoder.ts';
import { SocketIo } from '../socket_io.ts';
import { Http2Connection } from './connection.ts';
import { ErrorCode, resetOfCode, type Violation } from './error_codes.ts';
import { uint32Text } from './frames/frame_header.ts';
import { maxStreamId } from './frames/goaway.ts';
import { SettingId } from './frames/settings.ts';
import { BlockKind, collector } from './header_collector.ts';
import { defaultHttp2Options, type Http2Options } from './options.ts';
import { Http2Stream } from './stream.ts';
import { canReceive, nextState, StreamEvent, StreamState } from './stream_state.ts';
import { violations } from './violations.ts';

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** Replaced as soon as the connection listens itself. */
const nobody = { onData() {}, onEnd() {}, onClose() {}, onDrain() {} };

export class Http2ClientConnection extends Http2Connection implements ClientConnection {
  readonly socket: Socket;
  readonly #callbacks: ClientConnectionCallbacks;
  #nextId = 1;
  /** Streams made that have not sent their headers, and so have no identifier. */
  #unsent = 0;
  #goingAway = false;
  #localAddress: Address | undefined = undefined;
  #lastActivity = 0;
  protected readonly fromServer = true;
  /** No push: the server opens no streams. */
  protected readonly lastPeerStream = 0;

  /** @param socket connected, and handshaken when it is a TLSSocket; must not have listeners for data. */
  constructor(
    socket: Socket,
    callbacks: ClientConnectionCallbacks,
    options: Http2Options = defaultHttp2Options,
  ) {
    super(new SocketIo(socket, nobody), options);
    this.socket = socket;
    this.#callbacks = callbacks;
    this.io.flushPerTurn = true;
    this.sendPreface(preface, [[SettingId.enablePush, 0]]);
  }

  get localAddress(): Address | undefined {
    if (this.#localAddress === undefined) {
      const { localAddress, localPort } = this.socket;
      if (localAddress !== undefined)
        this.#localAddress = { ip: unmapIpv4(localAddress), port: localPort ?? 0 };
    }
    return this.#localAddress;
  }

  override get activeStreams(): number {
    return this.streams.size + this.#unsent;
  }

  get availableStreams(): number {
    if (this.#goingAway || this.closing) return 0;
    const limit = Math.min(this.options.maxConcurrentStreams, this.peer.maxConcurrentStreams);
    return Math.max(0, limit - this.streams.size - this.#unsent);
  }

  newStream(decoder: ResponseDecoder): RequestEncoder {
    this.#unsent++;
    const idle = this.options.keepalive?.idleIntervalMs ?? 0;
    if (idle > 0) {
      const now = this.timers.now();
      if (this.streams.size === 0 && now - this.#lastActivity > idle) this.keepalive?.ping();
      this.#lastActivity = now;
    }
    return new ClientStream(this, decoder);
  }

  /** The first HEADERS of a stream are about to be written: now it has an identifier (RFC 9113 5.1.1). */
  open(stream: ClientStream): void {
    this.#unsent--;
    stream.id = this.#nextId;
    stream.idText = uint32Text(this.#nextId);
    this.#nextId += 2;
    this.streams.set(stream.id, stream);
    this.guards.onStreamOpened();
    if (this.#nextId > maxStreamId) this.#goAway();
  }

  /** For tests of the end of the numbers. @param id odd. */
  setNextStreamId(id: number): void {
    this.#nextId = id;
  }

  #goAway(): void {
    if (this.#goingAway) return;
    this.#goingAway = true;
    this.#callbacks.onGoAway();
  }

  protected isIdle(streamId: number): boolean {
    return (streamId & 1) === 0 || streamId >= this.#nextId;
  }

  protected override hasHeaders(stream: Http2Stream): boolean {
    return (stream as ClientStream).headersReceived;
  }

  protected onHeaderBlock(
    streamId: number,
    endStream: boolean,
    _selfDependent: boolean,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    const stream = this.streams.get(streamId) as ClientStream | undefined;
    if (stream === undefined) {
      if (this.isIdle(streamId)) return violations.streamId;
      return this.closedStreams.ended(streamId) ? violations.streamClosed : this.skipBlock(buf, start, end);
    }
    if (stream.headersReceived) return this.#onTrailers(stream, endStream, buf, start, end);
    const headers = new ResponseHeaderMap();
    collector.begin(BlockKind.response, headers, this.options);
    const violation = this.decodeBlock(buf, start, end, collector);
    if (violation !== undefined) return violation;
    const malformed = collector.finish(headers);
    if (malformed !== undefined) return this.refuseHeaders(stream, malformed);
    const { status } = headers;
    if (status < 200) {
      if (endStream || status === 101) return this.invalidMessage(stream, violations.messaging);
      stream.target.decode1xxHeaders(headers);
      return undefined;
    }
    stream.headersReceived = true;
    const { contentLength } = collector;
    if (contentLength >= 0 && !stream.isHead && status !== 304) {
      if (endStream && contentLength > 0) return this.invalidMessage(stream, violations.messaging);
      stream.contentLength = contentLength;
    }
    if (endStream) this.receivedEnd(stream);
    stream.target.decodeHeaders(headers, endStream);
    if (endStream) this.afterEnd(stream);
    return undefined;
  }

  #onTrailers(
    stream: ClientStream,
    endStream: boolean,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    const trailers = new HeaderMap();
    collector.begin(BlockKind.trailers, trailers, this.options);
    const violation = this.decodeBlock(buf, start, end, collector);
    if (violation !== undefined) return violation;
    if (!canReceive(stream.state)) {
      this.streamError(stream, violations.streamClosed);
      return undefined;
    }
    const malformed = collector.finish(trailers);
    if (malformed !== undefined) return this.refuseHeaders(stream, malformed);
    if (!endStream || (stream.contentLength >= 0 && stream.bodyBytes !== stream.contentLength))
      return this.invalidMessage(stream, violations.messaging);
    this.receivedEnd(stream);
    stream.target.decodeTrailers(trailers);
    this.afterEnd(stream);
    return undefined;
  }

  /** The response is complete before the request: nobody reads the rest of it. */
  protected afterEnd(stream: Http2Stream): void {
    if (stream.state === StreamState.closed) this.onStreamClosed(stream);
    else this.resetStream(stream, ErrorCode.cancel);
  }

  protected onHalfClosedLocal(): void {}

  protected onPeerReset(stream: Http2Stream, code: number): Violation | undefined {
    this.remove(stream, true);
    this.#tellReset(stream, resetOfCode(code));
    return undefined;
  }

  #tellReset(stream: Http2Stream, reason: ResetReason): void {
    const refused = reason === ResetReason.remoteRefusedStreamReset;
    stream.target?.onResetStream(reason, refused ? 'http2.remote_refuse' : 'http2.remote_reset');
    this.onStreamClosed(stream);
  }

  protected onStreamClosed(_stream: Http2Stream): void {
    if (this.closing) return;
    this.#callbacks.onStreamEnd();
    if (this.#goingAway && this.activeStreams === 0) this.shutdown();
  }

  /** A stream ended before it had an identifier. */
  onUnsentReset(): void {
    this.#unsent--;
    if (!this.closing) this.#callbacks.onStreamEnd();
  }

  protected onGoaway(lastStreamId: number): void {
    this.#goAway();
    // The server has not seen these: they may be sent again elsewhere (RFC 9113 6.8).
    for (const stream of this.streams.values()) {
      if (stream.id <= lastStreamId) continue;
      this.remove(stream, true);
      this.#tellReset(stream, ResetReason.remoteRefusedStreamReset);
    }
    if (this.activeStreams === 0) this.shutdown();
  }

  protected onPeerSettings(): void {
    this.#callbacks.onCapacityChange?.();
  }

  protected onGone(details: string): void {
    this.#callbacks.onClose(details);
  }
}

/** One request; its own encoder. */
class ClientStream extends Http2Stream implements RequestEncoder {
  readonly target: ResponseDecoder;
  isHead = false;
  headersReceived = false;

  constructor(connection: Http2ClientConnection, decoder: ResponseDecoder) {
    super(connection, 0, StreamState.idle);
    this.target = decoder;
  }

  encodeHeaders(headers: RequestHeaderMap, endStream: boolean): void {
    if (this.state !== StreamState.idle) return;
    const { method, protocol, path } = headers;
    this.isHead = method === 'HEAD';
    (this.connection as Http2ClientConnection).open(this);
    this.state = nextState(this.state, StreamEvent.headers);
    let block: string;
    if (protocol !== '') {
      block =
        encodeMethod('CONNECT') +
        encodeScheme(headers.scheme) +
        encodePath(path) +
        encodeAuthority(headers.authority) +
        encodeProtocol(protocol);
    } else if (method === 'CONNECT') block = encodeMethod(method) + encodeAuthority(headers.authority);
    else
      block =
        encodeMethod(method) +
        encodeScheme(headers.scheme) +
        encodePath(path) +
        encodeAuthority(headers.authority);
    this.connection.writeHeaders(this, block + encodeFieldList(headers.names, headers.values), endStream);
    if (endStream) this.sentEnd();
  }

  override reset(reason: ResetReason): void {
    if (this.state === StreamState.idle) {
      this.drop();
      (this.connection as Http2ClientConnection).onUnsentReset();
    } else super.reset(reason);
  }
}
