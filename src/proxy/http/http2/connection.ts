/**
 * What both sides of an HTTP/2 connection do alike (RFC 9113): frames in and out, settings, flow control of the connection,
 * header blocks, the guards, the end. Broken rules come back as values and end the connection in one place. One class owns
 * the socket, so it is longer than most. On the hot path: bench/micro/http2_codec.ts.
 */
import { type TimerHandle, type TimerWheel, workerTimers } from '../../network/timer_wheel.ts';
import { ResetReason } from '../codec.ts';
import { emptyTableUpdate } from '../hpack/encoder.ts';
import { HpackDecoder, HpackError } from '../hpack/decoder.ts';
import type { FieldSink } from '../hpack/field.ts';
import { latin1Slice } from '../latin1.ts';
import type { IoListener, SocketIo } from '../socket_io.ts';
import { ErrorCode, type Violation } from './error_codes.ts';
import { FrameReader } from './frame_reader.ts';
import { dataFrameHeader } from './frames/data.ts';
import {
  FrameFlag,
  FrameType,
  readUint31,
  readUint32,
  stream0,
  uint32Text,
  frameHeaderBytes,
} from './frames/frame_header.ts';
import { goawayBytes, goawayFrame } from './frames/goaway.ts';
import { fragment, headersFrames, readHeaders } from './frames/headers.ts';
import { pingBytes, pingFrame } from './frames/ping.ts';
import { dependsOnItself, priorityBytes } from './frames/priority.ts';
import { rstStreamBytes, rstStreamFrame } from './frames/rst_stream.ts';
import { PeerSettings, readSettings, SettingId, settingsAck, settingsFrame } from './frames/settings.ts';
import { windowUpdateBytes, windowUpdateFrame } from './frames/window_update.ts';
import { FloodGuards } from './guards.ts';
import { Keepalive } from './keepalive.ts';
import type { Http2Options } from './options.ts';
import { ClosedStreams } from './closed_streams.ts';
import type { Http2Stream } from './stream.ts';
import { canReceive, nextState, StreamEvent, StreamState } from './stream_state.ts';
import { violations } from './violations.ts';

const maxWindow = 0x7fff_ffff;
const initialWindow = 65_535;
/** Bodies up to this size are joined with their frame header as text. */
const joinBytes = 8 * 1024;
/** Compressed octets of a header block past the limit of its list: more ends the connection, not the stream. */
const blockSlack = 64 * 1024;
/** CONTINUATION frames of one block, beside one for each KiB of the limit. */
const baseContinuations = 100;
/** A larger dynamic table is not offered, whatever the configuration says. */
const maxTableBytes = 64 * 1024;

/** Keeps the dynamic table right where nobody wants the fields. */
const nobody: FieldSink = { onField() {} };

function lingerDone(io: SocketIo): void {
  io.destroy();
}

export abstract class Http2Connection extends FrameReader implements IoListener {
  readonly protocol = 'HTTP/2';
  readonly options: Http2Options;
  protected readonly io: SocketIo;
  protected readonly timers: TimerWheel;
  protected readonly guards: FloodGuards;
  protected readonly decoder: HpackDecoder;
  protected readonly streams = new Map<number, Http2Stream>();
  protected readonly closedStreams = new ClosedStreams();
  protected readonly keepalive: Keepalive | undefined;
  /** What the peer has set. */
  readonly peer = new PeerSettings();
  #peerSettled = false;
  #sendWindow = initialWindow;
  #receiveWindow: number;
  #unacknowledged = 0;
  #firstWaiting: Http2Stream | undefined = undefined;
  #lastWaiting: Http2Stream | undefined = undefined;
  #pumping = false;
  /** The socket holds more than it should: bodies wait in their streams. */
  blocked = false;
  #firstBlock = true;
  #dataStream: Http2Stream | undefined = undefined;
  // A header block that goes on in CONTINUATION frames.
  #blockStream = 0;
  #blockEnd = false;
  #blockSelfDependent = false;
  #blockParts: Buffer[] = [];
  #blockBytes = 0;
  #blockFrames = 0;
  readonly #maxBlockBytes: number;
  readonly #maxBlockFrames: number;
  protected closing = false;
  protected closed = false;
  #linger: TimerHandle | undefined = undefined;
  /** Why the connection ended, in the words of response code details. */
  protected details = '';

  constructor(io: SocketIo, options: Http2Options) {
    super(options.maxFrameSize);
    this.io = io;
    this.options = options;
    this.timers = options.timers ?? workerTimers;
    this.guards = new FloodGuards(options);
    this.decoder = new HpackDecoder(Math.max(4096, Math.min(options.hpackTableSize, maxTableBytes)));
    this.#receiveWindow = Math.max(options.initialConnectionWindowSize, initialWindow);
    this.#maxBlockBytes = options.maxHeadersKb * 1024 + blockSlack;
    this.#maxBlockFrames = baseContinuations + options.maxHeadersKb;
    this.keepalive =
      options.keepalive === undefined ? undefined : new Keepalive(this, options.keepalive, this.timers);
    io.listener = this;
  }

  get activeStreams(): number {
    return this.streams.size;
  }

  get bytesRead(): number {
    return this.io.bytesRead;
  }

  get bytesWritten(): number {
    return this.io.bytesWritten;
  }

  // === for the two sides ===

  /** A complete header block of HEADERS on `streamId`. */
  protected abstract onHeaderBlock(
    streamId: number,
    endStream: boolean,
    selfDependent: boolean,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined;
  /** True for identifiers that no HEADERS has opened yet, by either side. */
  protected abstract isIdle(streamId: number): boolean;
  protected abstract onGoaway(lastStreamId: number, code: number): void;
  /** A stream has left the map, other than by a reset of the peer or the end of the connection. */
  protected abstract onStreamClosed(stream: Http2Stream): void;
  /** END_STREAM was written and the peer has not ended its side. */
  protected abstract onHalfClosedLocal(stream: Http2Stream): void;
  /** Highest stream of the peer that was worked on. */
  protected abstract readonly lastPeerStream: number;
  protected abstract onPeerSettings(): void;
  /** Called once, when the socket is gone; streams have been told. */
  protected abstract onGone(details: string): void;

  /** Settings and connection window, as the first thing on the connection. */
  protected sendPreface(text: string, settings: (readonly [number, number])[]): void {
    const { options } = this;
    const table = Math.min(options.hpackTableSize, maxTableBytes);
    if (table !== 4096) settings.push([SettingId.headerTableSize, table]);
    if (options.initialStreamWindowSize !== initialWindow)
      settings.push([SettingId.initialWindowSize, options.initialStreamWindowSize]);
    if (options.maxFrameSize !== 16_384) settings.push([SettingId.maxFrameSize, options.maxFrameSize]);
    const more = this.#receiveWindow - initialWindow;
    this.io.writeText(text + settingsFrame(settings) + (more > 0 ? windowUpdateFrame(stream0, more) : ''));
    this.keepalive?.start();
  }

  // === input ===

  onData(chunk: Buffer): void {
    if (this.discard) return;
    if (this.io.queuedBytes === 0) this.guards.onFlushed();
    const violation = this.read(chunk) ?? (this.guards.outboundFull ? this.#outboundFlood() : undefined);
    if (violation !== undefined) this.fail(violation);
  }

  /** Many frames wait: are they too many for the socket? */
  #outboundFlood(): Violation | undefined {
    this.io.flush();
    if (this.io.queuedBytes > 0) return this.guards.outboundFlood(this.io.queuedBytes);
    this.guards.onFlushed();
    return undefined;
  }

  /** Input past what comes before the first frame. */
  protected read(chunk: Buffer): Violation | undefined {
    return this.consume(chunk);
  }

  onEnd(): void {
    // As Envoy: a peer that shuts down its side is gone.
    this.io.destroy();
  }

  onClose(error: Error | undefined): void {
    this.timers.cancel(this.#linger);
    this.#linger = undefined;
    this.keepalive?.stop();
    this.discard = true;
    this.closing = true;
    this.closed = true;
    this.failStreams(ResetReason.connectionTermination, this.details);
    this.onGone(error === undefined ? this.details : error.message);
  }

  onDrain(): void {
    this.guards.onFlushed();
    if (!this.blocked) return;
    this.blocked = false;
    this.pump();
    if (this.blocked) return;
    for (const stream of this.streams.values()) stream.updateWatermark();
  }

  protected onFrame(
    type: number,
    flags: number,
    streamId: number,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    if (!this.#peerSettled && (type !== FrameType.settings || (flags & FrameFlag.ack) !== 0))
      return violations.unexpectedFrame;
    if (this.#blockStream !== 0 && type !== FrameType.continuation) return violations.continuationExpected;
    switch (type) {
      case FrameType.headers:
        return this.#onHeaders(flags, streamId, buf, start, end);
      case FrameType.continuation:
        return this.#onContinuation(flags, streamId, buf, start, end);
      case FrameType.windowUpdate:
        return this.#onWindowUpdate(streamId, buf, start, end);
      case FrameType.rstStream:
        return this.#onRstStream(streamId, buf, start, end);
      case FrameType.ping:
        return this.#onPing(flags, streamId, buf, start, end);
      case FrameType.settings:
        return this.#onSettings(flags, streamId, buf, start, end);
      case FrameType.priority:
        return this.#onPriority(streamId, buf, start, end);
      case FrameType.goaway:
        if (streamId !== 0) return violations.wrongStream;
        if (end - start < goawayBytes) return violations.frameSize;
        this.onGoaway(readUint31(buf, start), readUint32(buf, start + 4));
        return undefined;
      case FrameType.pushPromise:
        return violations.push;
      default:
        // Unknown types are ignored (RFC 9113 4.1, 5.5).
        return undefined;
    }
  }

  // --- header blocks

  #onHeaders(
    flags: number,
    streamId: number,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    if (streamId === 0) return violations.wrongStream;
    const endStream = (flags & FrameFlag.endStream) !== 0;
    const violation =
      readHeaders(buf, start, end, flags, streamId) ?? this.guards.onFrame(end - start, endStream);
    if (violation !== undefined) return violation;
    if ((flags & FrameFlag.endHeaders) !== 0)
      return this.onHeaderBlock(
        streamId,
        endStream,
        fragment.selfDependent,
        buf,
        fragment.start,
        fragment.end,
      );
    this.#blockStream = streamId;
    this.#blockEnd = endStream;
    this.#blockSelfDependent = fragment.selfDependent;
    this.#blockFrames = 0;
    this.#blockBytes = fragment.end - fragment.start;
    // Copies: a fragment must not hold the chunk that it came in.
    this.#blockParts = [Buffer.from(buf.subarray(fragment.start, fragment.end))];
    return undefined;
  }

  #onContinuation(
    flags: number,
    streamId: number,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    if (this.#blockStream === 0 || streamId !== this.#blockStream) return violations.continuationExpected;
    this.#blockBytes += end - start;
    if (++this.#blockFrames > this.#maxBlockFrames) return violations.continuationFlood;
    if (this.#blockBytes > this.#maxBlockBytes) return violations.blockTooLarge;
    const done = (flags & FrameFlag.endHeaders) !== 0;
    const violation = this.guards.onFrame(end - start, done);
    if (violation !== undefined) return violation;
    this.#blockParts.push(Buffer.from(buf.subarray(start, end)));
    if (!done) return undefined;
    const block = Buffer.concat(this.#blockParts, this.#blockBytes);
    this.#blockParts = [];
    this.#blockStream = 0;
    return this.onHeaderBlock(streamId, this.#blockEnd, this.#blockSelfDependent, block, 0, block.length);
  }

  /** Decodes a block; what is wrong with the compression ends the connection. */
  protected decodeBlock(buf: Buffer, start: number, end: number, sink: FieldSink): Violation | undefined {
    return this.decoder.decode(buf, start, end, sink) === HpackError.none
      ? undefined
      : violations.compression;
  }

  /** A block that nobody hears. */
  protected skipBlock(buf: Buffer, start: number, end: number): Violation | undefined {
    return this.decodeBlock(buf, start, end, nobody);
  }

  /** HEADERS for a stream that has ended. */
  protected closedHeaders(streamId: number, buf: Buffer, start: number, end: number): Violation | undefined {
    if (this.closedStreams.endedByUs(streamId)) return this.skipBlock(buf, start, end);
    return this.closedStreams.ended(streamId) ? violations.streamClosed : violations.streamId;
  }

  // --- data

  protected onDataFrame(
    streamId: number,
    flags: number,
    length: number,
    payload: number,
  ): Violation | undefined {
    if (streamId === 0) return violations.wrongStream;
    if (!this.#peerSettled) return violations.unexpectedFrame;
    if (this.#blockStream !== 0) return violations.continuationExpected;
    const endStream = (flags & FrameFlag.endStream) !== 0;
    const flood = this.guards.onFrame(length, endStream);
    if (flood !== undefined) return flood;
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) return violations.windowExceeded;
    const stream = this.streams.get(streamId);
    this.#dataStream = undefined;
    if (stream === undefined || !canReceive(stream.state) || !this.hasHeaders(stream)) {
      if (this.isIdle(streamId)) return violations.streamId;
      this.#consumeConnection(length);
      if (stream !== undefined) {
        this.streamError(stream, canReceive(stream.state) ? violations.messaging : violations.streamClosed);
      } else if (!this.closedStreams.endedByUs(streamId)) {
        if (this.closedStreams.ended(streamId)) return violations.streamClosed;
        this.writeReset(streamId, ErrorCode.streamClosed);
      }
      return undefined;
    }
    stream.receiveWindow -= length;
    stream.wireBytesReceived += length + frameHeaderBytes;
    if (stream.receiveWindow < 0) {
      this.#consumeConnection(length);
      this.streamError(stream, violations.windowExceeded);
      return undefined;
    }
    stream.bodyBytes += payload;
    if (
      stream.contentLength >= 0 &&
      (stream.bodyBytes > stream.contentLength || (endStream && stream.bodyBytes !== stream.contentLength))
    ) {
      this.#consumeConnection(length);
      return this.invalidMessage(stream, violations.messaging);
    }
    this.#dataStream = stream;
    if (stream.readDisabled) stream.withheld += length;
    else this.consumed(stream, length);
    return undefined;
  }

  /** DATA may follow: a client has heard the final response headers. */
  protected hasHeaders(_stream: Http2Stream): boolean {
    return true;
  }

  protected onDataPayload(_streamId: number, payload: Buffer, last: boolean): Violation | undefined {
    const stream = this.#dataStream;
    // Streams can end while a frame of theirs is still coming in.
    if (stream === undefined || stream.state === StreamState.closed) return undefined;
    const endStream = last && (this.dataFlags & FrameFlag.endStream) !== 0;
    if (payload.length === 0 && !endStream) return undefined;
    if (endStream) this.receivedEnd(stream);
    stream.target?.decodeData(payload, endStream);
    if (endStream) this.afterEnd(stream);
    return undefined;
  }

  /** Before the decoder hears the end. */
  protected receivedEnd(stream: Http2Stream): void {
    stream.state = nextState(stream.state, StreamEvent.receiveEnd);
    if (stream.state === StreamState.closed) this.remove(stream, false);
  }

  /** After the decoder has heard the end. */
  protected abstract afterEnd(stream: Http2Stream): void;

  // --- flow control, receiving

  /** Bytes of a stream were taken: the peer may send as many more. */
  consumed(stream: Http2Stream, bytes: number): void {
    this.#consumeConnection(bytes);
    const window = this.options.initialStreamWindowSize;
    const open = stream.unacknowledged + bytes;
    stream.unacknowledged = open;
    if (open < window >> 1 || !canReceive(stream.state)) return;
    stream.unacknowledged = 0;
    stream.receiveWindow += open;
    this.control(windowUpdateFrame(stream.idText, open));
  }

  #consumeConnection(bytes: number): void {
    const open = this.#unacknowledged + bytes;
    this.#unacknowledged = open;
    // A sixteenth: what is read and not yet told of must not add up with a stream that stands still to the whole window.
    if (open < this.options.initialConnectionWindowSize >> 4) return;
    this.#unacknowledged = 0;
    this.#receiveWindow += open;
    this.control(windowUpdateFrame(stream0, open));
  }

  // --- flow control, sending

  #onWindowUpdate(streamId: number, buf: Buffer, start: number, end: number): Violation | undefined {
    if (end - start !== windowUpdateBytes) return violations.frameSize;
    const flood = this.guards.onWindowUpdate();
    if (flood !== undefined) return flood;
    const increment = readUint31(buf, start);
    if (streamId === 0) {
      if (increment === 0) return violations.zeroIncrement;
      this.#sendWindow += increment;
      if (this.#sendWindow > maxWindow) return violations.windowOverflow;
      this.pump();
      return undefined;
    }
    const stream = this.streams.get(streamId);
    if (stream === undefined) return this.isIdle(streamId) ? violations.streamId : undefined;
    if (increment === 0) {
      this.streamError(stream, violations.zeroIncrement);
      return undefined;
    }
    stream.sendWindow += increment;
    if (stream.sendWindow > maxWindow) {
      this.streamError(stream, violations.windowOverflow);
      return undefined;
    }
    if (stream.sendable) {
      this.wait(stream);
      this.pump();
    }
    return undefined;
  }

  /** Nothing stands before a body of this size. */
  canWrite(stream: Http2Stream, bytes: number): boolean {
    return bytes === 0 || (!this.blocked && bytes <= stream.sendWindow && bytes <= this.#sendWindow);
  }

  /** Puts a stream behind those that wait to send. */
  wait(stream: Http2Stream): void {
    if (stream.waiting) return;
    stream.waiting = true;
    stream.nextWaiting = undefined;
    if (this.#lastWaiting === undefined) this.#firstWaiting = stream;
    else this.#lastWaiting.nextWaiting = stream;
    this.#lastWaiting = stream;
  }

  /** Lets waiting streams send in turns, one frame each, as far as windows and socket allow. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let stream = this.#firstWaiting; stream !== undefined; stream = this.#firstWaiting) {
      if ((this.blocked || this.#sendWindow <= 0) && stream.queuedBytes > 0) break;
      this.#firstWaiting = stream.nextWaiting;
      if (this.#firstWaiting === undefined) this.#lastWaiting = undefined;
      stream.nextWaiting = undefined;
      stream.waiting = false;
      // A stream without a window waits for its WINDOW_UPDATE elsewhere.
      if (!stream.sendable) continue;
      stream.writeQueued(Math.min(this.peer.maxFrameSize, this.#sendWindow));
      if (stream.sendable) this.wait(stream);
      if (stream.aboveHighWatermark) stream.updateWatermark();
    }
    this.#pumping = false;
  }

  // --- settings, ping, priority, reset

  #onSettings(
    flags: number,
    streamId: number,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined {
    if (streamId !== 0) return violations.wrongStream;
    if ((flags & FrameFlag.ack) !== 0) {
      if (end !== start) return violations.frameSize;
      this.decoder.setMaxTableSize(Math.min(this.options.hpackTableSize, maxTableBytes));
      return undefined;
    }
    const before = this.peer.initialWindowSize;
    const violation = readSettings(buf, start, end, this.peer, this.fromServer);
    if (violation !== undefined) return violation;
    const change = this.peer.initialWindowSize - before;
    if (change !== 0) {
      for (const stream of this.streams.values()) {
        stream.sendWindow += change;
        if (stream.sendWindow > maxWindow) return violations.windowOverflow;
        if (stream.sendable) this.wait(stream);
      }
    }
    this.#peerSettled = true;
    this.control(settingsAck);
    this.pump();
    this.onPeerSettings();
    return undefined;
  }

  /** The peer is the server. */
  protected abstract readonly fromServer: boolean;

  #onPing(flags: number, streamId: number, buf: Buffer, start: number, end: number): Violation | undefined {
    if (streamId !== 0) return violations.wrongStream;
    if (end - start !== pingBytes) return violations.frameSize;
    if ((flags & FrameFlag.ack) !== 0) this.keepalive?.onAck(latin1Slice(buf, start, end));
    else this.control(pingFrame(latin1Slice(buf, start, end), true));
    return undefined;
  }

  #onPriority(streamId: number, buf: Buffer, start: number, end: number): Violation | undefined {
    if (streamId === 0) return violations.wrongStream;
    const flood = this.guards.onPriority();
    if (flood !== undefined) return flood;
    const stream = this.streams.get(streamId);
    // A wrong size is an error of the stream only (6.3); without a stream there is nobody to reset.
    if (end - start !== priorityBytes) {
      if (stream === undefined) return violations.frameSize;
      this.streamError(stream, violations.frameSize);
    } else if (dependsOnItself(buf, start, streamId)) {
      if (stream === undefined) return violations.selfDependency;
      this.streamError(stream, violations.selfDependency);
    }
    return undefined;
  }

  #onRstStream(streamId: number, buf: Buffer, start: number, end: number): Violation | undefined {
    if (streamId === 0) return violations.wrongStream;
    if (end - start !== rstStreamBytes) return violations.frameSize;
    if (this.isIdle(streamId)) return violations.streamId;
    const flood = this.guards.onReset(this.timers.now());
    if (flood !== undefined) return flood;
    const stream = this.streams.get(streamId);
    if (stream === undefined) return undefined;
    return this.onPeerReset(stream, readUint32(buf, start));
  }

  protected abstract onPeerReset(stream: Http2Stream, code: number): Violation | undefined;

  // === output ===

  /** @param block of HPACK; `emptyTableUpdate` is put before the first. */
  writeHeaders(stream: Http2Stream, block: string, endStream: boolean): void {
    this.guards.onHeadersSent();
    stream.wireBytesSent += block.length + frameHeaderBytes;
    if (this.#firstBlock) {
      this.#firstBlock = false;
      this.io.writeText(
        headersFrames(emptyTableUpdate + block, endStream, stream.idText, this.peer.maxFrameSize),
      );
    } else this.io.writeText(headersFrames(block, endStream, stream.idText, this.peer.maxFrameSize));
  }

  /** Writes DATA that windows allow, in as many frames as its size needs. */
  writeData(stream: Http2Stream, data: Buffer, endStream: boolean): void {
    const { length } = data;
    const { io } = this;
    const max = this.peer.maxFrameSize;
    stream.sendWindow -= length;
    this.#sendWindow -= length;
    stream.wireBytesSent += length + frameHeaderBytes * Math.max(1, Math.ceil(length / max));
    this.guards.onDataSent();
    if (length <= joinBytes) {
      const header = dataFrameHeader(length, endStream, stream.idText);
      io.writeText(length === 0 ? header : header + latin1Slice(data, 0, length));
    } else {
      let at = 0;
      for (; length - at > max; at += max) {
        this.guards.onDataSent();
        io.writeText(dataFrameHeader(max, false, stream.idText));
        io.writeBuffer(data.subarray(at, at + max));
      }
      io.writeText(dataFrameHeader(length - at, endStream, stream.idText));
      io.writeBuffer(at === 0 ? data : data.subarray(at));
    }
    if (this.blocked || io.queuedBytes <= this.options.highWatermark || io.queuedBytes <= io.drainMark)
      return;
    this.blocked = true;
    for (const other of this.streams.values()) other.updateWatermark();
  }

  /** A frame that answers or steers. */
  control(frame: string): void {
    this.guards.onControlSent();
    this.io.writeText(frame);
  }

  writeReset(streamId: number, code: ErrorCode): void {
    this.control(rstStreamFrame(uint32Text(streamId), code));
  }

  // === ends of streams ===

  onSentEnd(stream: Http2Stream): void {
    if (stream.state !== StreamState.closed) {
      this.onHalfClosedLocal(stream);
      return;
    }
    this.remove(stream, false);
    this.onStreamClosed(stream);
  }

  /** Takes a stream out. Bytes that it held back are given back to the connection's window. */
  protected remove(stream: Http2Stream, byReset: boolean): void {
    if (!this.streams.delete(stream.id)) return;
    if (!byReset) this.closedStreams.add(stream.id);
    stream.drop();
    const { withheld } = stream;
    stream.withheld = 0;
    if (withheld > 0 && !this.discard) this.#consumeConnection(withheld);
  }

  /** We end the stream; its decoder knows. */
  resetStream(stream: Http2Stream, code: ErrorCode): void {
    if (stream.state === StreamState.closed) return;
    this.#sendReset(stream, code);
    this.onStreamClosed(stream);
  }

  #sendReset(stream: Http2Stream, code: ErrorCode): void {
    stream.state = nextState(stream.state, StreamEvent.reset);
    if (!this.closed) this.control(rstStreamFrame(stream.idText, code));
    this.closedStreams.addEndedByUs(stream.id);
    this.remove(stream, true);
  }

  /** The peer broke a rule on one stream. */
  protected streamError(
    stream: Http2Stream,
    violation: Violation,
    reason: ResetReason = ResetReason.protocolError,
  ): void {
    if (stream.state === StreamState.closed) return;
    this.#sendReset(stream, violation.code);
    stream.target?.onResetStream(reason, violation.details);
    this.onStreamClosed(stream);
  }

  /** A malformed message (RFC 9113 8.1.1): Envoy ends the connection unless told otherwise. */
  protected invalidMessage(stream: Http2Stream, violation: Violation): Violation | undefined {
    this.streamError(stream, violation);
    return this.options.streamErrorOnInvalidHttpMessage ? undefined : violation;
  }

  /** A header list that cannot be taken: too much costs its stream, malformed the connection as well. */
  protected refuseHeaders(stream: Http2Stream, violation: Violation): Violation | undefined {
    if (violation === violations.headerField || violation === violations.messaging)
      return this.invalidMessage(stream, violation);
    this.streamError(stream, violation, ResetReason.localReset);
    return undefined;
  }

  /** All streams hear that they are over. */
  protected failStreams(reason: ResetReason, details: string): void {
    for (const stream of this.streams.values()) {
      stream.state = StreamState.closed;
      this.remove(stream, true);
      stream.target?.onResetStream(reason, details);
    }
  }

  // === end of the connection ===

  /** GOAWAY with the reason, then the end. */
  fail(violation: Violation): void {
    if (this.closing) return;
    this.details = violation.details;
    this.io.writeText(goawayFrame(this.lastPeerStream, violation.code));
    this.discard = true;
    this.failStreams(ResetReason.protocolError, violation.details);
    this.shutdown();
  }

  /** The peer does not answer any more. */
  onKeepaliveTimeout(): void {
    this.details = 'http2.ping_timeout';
    this.close();
  }

  /** Sends what is queued, shuts down our side and waits a moment for the peer's. */
  protected shutdown(): void {
    if (this.closing) return;
    this.closing = true;
    this.discard = true;
    this.keepalive?.stop();
    this.io.end();
    if (this.options.delayedCloseMs > 0)
      this.#linger = this.timers.schedule(this.options.delayedCloseMs, lingerDone, this.io);
    else this.io.destroy();
  }

  close(): void {
    this.discard = true;
    this.closing = true;
    this.keepalive?.stop();
    this.io.destroy();
  }
}
