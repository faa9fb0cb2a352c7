/**
 * One stream of a connection, both sides: its state, its windows, and what waits to be sent. Headers are made by the two
 * classes that extend it. On the hot path: bench/micro/http2_codec.ts.
 */
import { ResetReason, type StreamWriter } from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { encodeFieldList } from '../hpack/encoder.ts';
import type { Http2Connection } from './connection.ts';
import { codeOfReset } from './error_codes.ts';
import { uint32Text } from './frames/frame_header.ts';
import { canSend, nextState, StreamEvent, StreamState } from './stream_state.ts';

/** What both decoders of codec.ts can hear. */
export interface StreamDecoder {
  decodeData(data: Buffer, endStream: boolean): void;
  decodeTrailers(trailers: HeaderMap): void;
  onResetStream(reason: ResetReason, details: string): void;
  onAboveWriteBufferHighWatermark(): void;
  onBelowWriteBufferLowWatermark(): void;
}

export abstract class Http2Stream implements StreamWriter {
  /** 0 until the first HEADERS of a client. */
  id: number;
  /** The identifier as four octets. */
  idText: string;
  readonly connection: Http2Connection;
  state: StreamState;
  /** Bytes that we may still send; below zero after the peer has lowered its initial window (RFC 9113 6.9.2). */
  sendWindow: number;
  /** Bytes that the peer may still send. */
  receiveWindow: number;
  /** Bytes taken in that the peer has not been told of. */
  unacknowledged = 0;
  /** Bytes that came while reading was disabled: the peer is told when it goes on. */
  withheld = 0;
  #readDisabled = 0;
  /** Body that waits for a window or the socket. */
  #queue: Buffer[] | undefined = undefined;
  /** Bytes of the queue. */
  queuedBytes = 0;
  #endQueued = false;
  /** Header block of trailers that wait behind the body. */
  #trailersQueued: string | undefined = undefined;
  // Link of the connection's list of streams that could send.
  waiting = false;
  nextWaiting: Http2Stream | undefined = undefined;
  aboveHighWatermark = false;
  /** Bytes of its frames so far, with their headers. */
  wireBytesReceived = 0;
  wireBytesSent = 0;
  /** -1 when the message has no content-length. */
  contentLength = -1;
  bodyBytes = 0;

  constructor(connection: Http2Connection, id: number, state: StreamState) {
    this.connection = connection;
    this.id = id;
    this.idText = id === 0 ? '' : uint32Text(id);
    this.state = state;
    this.sendWindow = connection.peer.initialWindowSize;
    this.receiveWindow = connection.options.initialStreamWindowSize;
    this.aboveHighWatermark = connection.blocked;
  }

  /** Who hears the other direction; undefined before there is one. */
  abstract readonly target: StreamDecoder | undefined;

  // === sending ===

  encodeData(data: Buffer, endStream: boolean): void {
    if (!canSend(this.state) || this.#endQueued) return;
    const { connection } = this;
    if (this.#queue === undefined && connection.canWrite(this, data.length)) {
      connection.writeData(this, data, endStream);
      if (endStream) this.sentEnd();
      return;
    }
    const queue = (this.#queue ??= []);
    if (data.length > 0) queue.push(data);
    this.queuedBytes += data.length;
    this.#endQueued = endStream;
    connection.wait(this);
    connection.pump();
    this.updateWatermark();
  }

  encodeTrailers(trailers: HeaderMap): void {
    if (!canSend(this.state) || this.#endQueued) return;
    const block = encodeFieldList(trailers.names, trailers.values);
    if (this.#queue === undefined) {
      this.connection.writeHeaders(this, block, true);
      this.sentEnd();
      return;
    }
    this.#trailersQueued = block;
    this.#endQueued = true;
    this.connection.wait(this);
    this.connection.pump();
  }

  /** Something waits that a window (or no window) lets go. */
  get sendable(): boolean {
    return this.#queue !== undefined && (this.sendWindow > 0 || this.queuedBytes === 0);
  }

  /** Writes one frame of what waits, at most `maxBytes` of body. */
  writeQueued(maxBytes: number): void {
    const queue = this.#queue;
    if (queue === undefined) return;
    const { connection } = this;
    const first = queue[0];
    if (first !== undefined) {
      const limit = Math.min(maxBytes, this.sendWindow);
      const whole = first.length <= limit;
      if (whole) queue.shift();
      else queue[0] = first.subarray(limit);
      const sent = whole ? first : first.subarray(0, limit);
      this.queuedBytes -= sent.length;
      const end = this.queuedBytes === 0 && this.#endQueued && this.#trailersQueued === undefined;
      connection.writeData(this, sent, end);
      if (this.queuedBytes > 0) return;
      this.#queue = undefined;
      if (end) {
        this.sentEnd();
        return;
      }
    }
    this.#queue = undefined;
    if (this.#trailersQueued !== undefined) connection.writeHeaders(this, this.#trailersQueued, true);
    else if (this.#endQueued) connection.writeData(this, emptyBuffer, true);
    if (this.#endQueued) this.sentEnd();
  }

  /** END_STREAM has been written. */
  protected sentEnd(): void {
    this.state = nextState(this.state, StreamEvent.sendEnd);
    this.connection.onSentEnd(this);
  }

  /** Tells the source once when it should pause, and once when it may go on. */
  updateWatermark(): void {
    if (this.state === StreamState.closed) return;
    const high = this.connection.options.streamHighWatermark;
    const { blocked } = this.connection;
    if (!this.aboveHighWatermark) {
      if (!blocked && this.queuedBytes <= high) return;
      this.aboveHighWatermark = true;
      this.target?.onAboveWriteBufferHighWatermark();
    } else if (!blocked && this.queuedBytes <= high >> 1) {
      this.aboveHighWatermark = false;
      this.target?.onBelowWriteBufferLowWatermark();
    }
  }

  reset(reason: ResetReason): void {
    if (this.state === StreamState.closed) return;
    this.connection.resetStream(this, codeOfReset(reason));
  }

  // === receiving ===

  readDisable(disable: boolean): void {
    if (disable) {
      this.#readDisabled++;
      return;
    }
    if (this.#readDisabled === 0 || --this.#readDisabled > 0) return;
    const bytes = this.withheld;
    this.withheld = 0;
    if (bytes > 0) this.connection.consumed(this, bytes);
  }

  get readDisabled(): boolean {
    return this.#readDisabled > 0;
  }

  /** Nothing is sent or heard any more; what waited is dropped. */
  drop(): void {
    this.state = StreamState.closed;
    this.#queue = undefined;
    this.#trailersQueued = undefined;
    this.queuedBytes = 0;
    this.#endQueued = true;
  }
}

const emptyBuffer = Buffer.alloc(0);
