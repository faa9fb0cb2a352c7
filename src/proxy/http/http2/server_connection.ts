/** The server side of an HTTP/2 connection: requests in, responses out. RFC 9113; drain and resets as Envoy. */
import type { TimerHandle } from '../../network/timer_wheel.ts';
import {
  type RequestDecoder,
  ResetReason,
  type ResponseEncoder,
  type ServerConnection,
  type ServerConnectionCallbacks,
} from '../codec.ts';
import { HeaderMap, RequestHeaderMap, type ResponseHeaderMap } from '../header_map.ts';
import { encodeFieldList, encodeStatus } from '../hpack/encoder.ts';
import { batchNow, type SocketIo } from '../socket_io.ts';
import { Http2Connection } from './connection.ts';
import { codeOfBrokenResponse, ErrorCode, resetOfCode, type Violation } from './error_codes.ts';
import { frameHeaderBytes } from './frames/frame_header.ts';
import { goawayFrame, maxStreamId } from './frames/goaway.ts';
import { SettingId } from './frames/settings.ts';
import { BlockKind, collector } from './header_collector.ts';
import type { Http2Options } from './options.ts';
import { Http2Stream } from './stream.ts';
import { canReceive, canSend, StreamState } from './stream_state.ts';
import { violations } from './violations.ts';

/** What a client sends first (RFC 9113 3.4). */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

function onDrainTimeout(connection: Http2ServerConnection): void {
  connection.finalGoaway();
}

/** Graceful end: GOAWAY that still takes streams, then GOAWAY that does not (RFC 9113 6.8). */
const Drain = { no: 0, noticed: 1, final: 2 } as const;
type Drain = (typeof Drain)[keyof typeof Drain];

export class Http2ServerConnection extends Http2Connection implements ServerConnection {
  readonly #callbacks: ServerConnectionCallbacks;
  /** Octets of the preface that have come. */
  #prefaceBytes = 0;
  #lastStream = 0;
  #drain: Drain = Drain.no;
  /** Last stream that the final GOAWAY named. */
  #drainLast = maxStreamId;
  #drainTimer: TimerHandle | undefined = undefined;
  protected readonly fromServer = false;

  /** Becomes the listener of `io`. */
  constructor(io: SocketIo, callbacks: ServerConnectionCallbacks, options: Http2Options) {
    super(io, options);
    this.#callbacks = callbacks;
    const settings: [number, number][] = [[SettingId.maxConcurrentStreams, options.maxConcurrentStreams]];
    if (options.allowConnect) settings.push([SettingId.enableConnectProtocol, 1]);
    this.sendPreface('', settings);
  }

  protected get lastPeerStream(): number {
    return this.#lastStream;
  }

  protected isIdle(streamId: number): boolean {
    return (streamId & 1) === 0 || streamId > this.#lastStream;
  }

  protected override read(chunk: Buffer): Violation | undefined {
    const have = this.#prefaceBytes;
    if (have === preface.length) return this.consume(chunk);
    const bytes = Math.min(chunk.length, preface.length - have);
    if (chunk.compare(preface, have, have + bytes, 0, bytes) !== 0) return violations.badPreface;
    this.#prefaceBytes = have + bytes;
    return bytes === chunk.length ? undefined : this.consume(chunk.subarray(bytes));
  }

  protected onHeaderBlock(
    streamId: number,
    endStream: boolean,
    selfDependent: boolean,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    if ((streamId & 1) === 0) return violations.streamId;
    const open = this.streams.get(streamId);
    if (open !== undefined) return this.#onTrailers(open as ServerStream, endStream, buf, start, end);
    if (streamId <= this.#lastStream) return this.closedHeaders(streamId, buf, start, end);
    if (streamId > this.#drainLast) {
      // The client has not read the GOAWAY yet; it will try elsewhere.
      return this.skipBlock(buf, start, end);
    }
    this.#lastStream = streamId;
    this.guards.onStreamOpened();
    if (selfDependent || this.streams.size >= this.options.maxConcurrentStreams) {
      const compression = this.skipBlock(buf, start, end);
      if (compression !== undefined) return compression;
      const { code } = selfDependent ? violations.selfDependency : violations.refused;
      this.writeReset(streamId, code);
      this.closedStreams.addEndedByUs(streamId);
      return this.guards.onRequestEnd(false);
    }
    const headers = new RequestHeaderMap();
    collector.begin(BlockKind.request, headers, this.options);
    const compression = this.decodeBlock(buf, start, end, collector);
    if (compression !== undefined) return compression;
    const violation = collector.finish(headers);
    const stream = new ServerStream(
      this,
      streamId,
      endStream ? StreamState.halfClosedRemote : StreamState.open,
      batchNow(),
    );
    stream.wireBytesReceived = end - start + frameHeaderBytes;
    this.streams.set(streamId, stream);
    const decoder = this.#callbacks.newStream(stream);
    stream.target = decoder;
    if (violation !== undefined) return this.refuseHeaders(stream, violation);
    if (collector.contentLength >= 0) {
      if (endStream && collector.contentLength > 0) return this.invalidMessage(stream, violations.messaging);
      stream.contentLength = collector.contentLength;
    }
    decoder.decodeHeaders(headers, endStream);
    return undefined;
  }

  #onTrailers(
    stream: ServerStream,
    endStream: boolean,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    stream.wireBytesReceived += end - start + frameHeaderBytes;
    const trailers = new HeaderMap();
    collector.begin(BlockKind.trailers, trailers, this.options);
    const compression = this.decodeBlock(buf, start, end, collector);
    if (compression !== undefined) return compression;
    if (!canReceive(stream.state)) {
      this.streamError(stream, violations.streamClosed);
      return undefined;
    }
    const violation = collector.finish(trailers);
    if (violation !== undefined) return this.refuseHeaders(stream, violation);
    if (!endStream || (stream.contentLength >= 0 && stream.bodyBytes !== stream.contentLength))
      return this.invalidMessage(stream, violations.messaging);
    this.receivedEnd(stream);
    stream.target?.decodeTrailers(trailers);
    this.afterEnd(stream);
    return undefined;
  }

  protected afterEnd(stream: Http2Stream): void {
    if (stream.state === StreamState.closed) this.onStreamClosed(stream);
  }

  /** The response is complete before the request: the rest of it is not wanted (RFC 9113 8.1). */
  protected onHalfClosedLocal(stream: Http2Stream): void {
    this.resetStream(stream, ErrorCode.noError);
  }

  protected onPeerReset(stream: Http2Stream, code: number): Violation | undefined {
    const { startTime, responseStarted } = stream as ServerStream;
    this.remove(stream, true);
    const reason = resetOfCode(code);
    stream.target?.onResetStream(reason, resetDetails(reason));
    const early = !responseStarted && batchNow() - startTime < this.options.prematureResetMinStreamLifetimeMs;
    const violation = this.guards.onRequestEnd(early);
    this.#closeWhenDrained();
    return violation;
  }

  protected onStreamClosed(_stream: Http2Stream): void {
    this.guards.onRequestEnd(false);
    this.#closeWhenDrained();
  }

  protected onGoaway(): void {
    // A client that goes away opens no more streams; what is open is answered.
  }

  protected onPeerSettings(): void {}

  protected onGone(): void {
    this.timers.cancel(this.#drainTimer);
    this.#drainTimer = undefined;
    this.#callbacks.onClose();
  }

  // === drain ===

  shutdownNotice(): void {
    if (this.#drain !== Drain.no || this.closing) return;
    this.#drain = Drain.noticed;
    if (this.options.drainTimeoutMs <= 0) {
      this.finalGoaway();
      return;
    }
    this.control(goawayFrame(maxStreamId, ErrorCode.noError));
    this.#drainTimer = this.timers.schedule(
      this.options.drainTimeoutMs,
      onDrainTimeout,
      this as Http2ServerConnection,
    );
  }

  /** From here on new streams are not taken; the connection closes after the last one. */
  finalGoaway(): void {
    this.#drainTimer = undefined;
    if (this.#drain === Drain.final || this.closing) return;
    this.#drain = Drain.final;
    this.#drainLast = this.#lastStream;
    this.control(goawayFrame(this.#lastStream, ErrorCode.noError));
    this.#closeWhenDrained();
  }

  #closeWhenDrained(): void {
    if (this.#drain === Drain.final && this.streams.size === 0) this.shutdown();
  }
}

function resetDetails(reason: ResetReason): string {
  return reason === ResetReason.remoteRefusedStreamReset ? 'http2.remote_refuse' : 'http2.remote_reset';
}

/** One request; its own response encoder. */
class ServerStream extends Http2Stream implements ResponseEncoder {
  target: RequestDecoder | undefined = undefined;
  readonly startTime: number;
  responseStarted = false;

  constructor(connection: Http2ServerConnection, id: number, state: StreamState, startTime: number) {
    super(connection, id, state);
    this.startTime = startTime;
  }

  override reset(reason: ResetReason): void {
    if (this.state !== StreamState.closed) this.connection.resetStream(this, codeOfBrokenResponse(reason));
  }

  encode1xxHeaders(headers: ResponseHeaderMap): void {
    if (!canSend(this.state) || this.responseStarted || headers.status === 101) return;
    const block = encodeStatus(headers.status) + encodeFieldList(headers.names, headers.values);
    this.connection.writeHeaders(this, block, false);
  }

  encodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    if (!canSend(this.state)) return;
    this.responseStarted = true;
    // What switches protocols in HTTP/1 is a plain success here (RFC 8441 5).
    const status = headers.status === 101 ? 200 : headers.status;
    const block = encodeStatus(status) + encodeFieldList(headers.names, headers.values);
    this.connection.writeHeaders(this, block, endStream);
    if (endStream) this.sentEnd();
  }
}
