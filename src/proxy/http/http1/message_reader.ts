/**
 * Reads HTTP/1 messages from chunks that may be split anywhere: finds heads, counts bodies, decodes chunked framing and
 * trailers. The server and the client connection say what a head means. RFC 9112 6-7. On the hot path:
 * bench/micro/http1_proxy.ts.
 */
import { HeaderMap } from '../header_map.ts';
import { latin1Slice } from '../latin1.ts';
import { HeadError, HeadInfo, type HeadLimits, parseFields } from './head_parser.ts';

/** What the next byte is. */
export const ReadState = {
  head: 0,
  /** Inside a body of `remaining` bytes. */
  body: 1,
  chunkSize: 2,
  chunkExtension: 3,
  chunkSizeLf: 4,
  chunkData: 5,
  chunkDataCr: 6,
  chunkDataLf: 7,
  trailers: 8,
  /** All bytes until the end of the connection are body: close-delimited responses and tunnels. */
  untilClose: 9,
  /** The message is complete; the next one waits for `nextMessage`. */
  hold: 10,
  /** Input is thrown away. */
  discard: 11,
} as const;
export type ReadState = (typeof ReadState)[keyof typeof ReadState];

/** Most hex digits of a chunk size. */
const maxChunkSizeDigits = 13;
/** Most bytes of chunk extensions of one message; they mean nothing to us. */
const maxExtensionBytes = 4096;
/** First look for the end of a head goes this far: most heads are shorter. */
const firstLookBytes = 4096;

/** Shared by all connections of the worker: read at once after each parse. */
export const headInfo = new HeadInfo();

const noLimits: HeadLimits = {
  maxHeaders: 100,
  underscores: 'allow',
  customMethods: true,
  allowChunkedLength: false,
};

export abstract class MessageReader {
  state: ReadState = ReadState.head;
  /** Body or chunk bytes still to come. */
  #remaining = 0;
  #digits = 0;
  #extensionBytes = 0;
  /** Bytes of a head (or trailers) that is not complete, in a buffer that doubles. */
  #partial: Buffer | undefined = undefined;
  #partialLength = 0;
  readonly #maxHeadBytes: number;

  /** @param maxHeadBytes start line and fields together, bytes. */
  constructor(maxHeadBytes: number) {
    this.#maxHeadBytes = maxHeadBytes;
  }

  /** A complete head; answers with an error or calls one of the `read...` methods to say what follows. */
  protected abstract onHead(buf: Buffer, text: string, base: number, end: number): HeadError;
  protected abstract onBody(data: Buffer, endStream: boolean): void;
  protected abstract onTrailers(trailers: HeaderMap): void;
  /** Input is refused; nothing more is read. */
  protected abstract onError(error: HeadError): void;
  /** Bytes of the next message that came while this one is held. */
  protected abstract onHeldInput(data: Buffer): void;

  /** True inside a head of which some bytes came. */
  get insideHead(): boolean {
    return this.#partial !== undefined && this.state === ReadState.head;
  }

  /** After a head: a body of a known length; 0 ends the message. */
  protected readLength(bytes: number): void {
    this.#remaining = bytes;
    this.state = bytes === 0 ? ReadState.hold : ReadState.body;
  }

  protected readChunked(): void {
    this.#remaining = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.state = ReadState.chunkSize;
  }

  /** Takes a chunk apart; the callbacks run inside the call. */
  protected consume(chunk: Buffer): void {
    let pos = 0;
    const length = chunk.length;
    while (pos < length) {
      switch (this.state) {
        case ReadState.head:
          pos = this.#readHead(chunk, pos);
          break;
        case ReadState.body: {
          const take = Math.min(this.#remaining, length - pos);
          const data = take === length ? chunk : chunk.subarray(pos, pos + take);
          pos += take;
          this.#remaining -= take;
          if (this.#remaining === 0) {
            this.state = ReadState.hold;
            this.onBody(data, true);
          } else this.onBody(data, false);
          break;
        }
        case ReadState.untilClose: {
          const data = pos === 0 ? chunk : chunk.subarray(pos);
          pos = length;
          this.onBody(data, false);
          break;
        }
        case ReadState.trailers:
          pos = this.#readTrailers(chunk, pos);
          break;
        case ReadState.hold:
          this.onHeldInput(pos === 0 ? chunk : chunk.subarray(pos));
          return;
        case ReadState.discard:
          return;
        default:
          pos = this.#readChunked(chunk, pos);
      }
    }
  }

  #fail(error: HeadError): number {
    this.state = ReadState.discard;
    this.#partial = undefined;
    this.onError(error);
    return Number.MAX_SAFE_INTEGER;
  }

  #readHead(chunk: Buffer, pos: number): number {
    if (this.#partial !== undefined) return this.#continueHead(chunk, pos);
    // Empty lines before a start line are skipped (RFC 9112 2.2).
    while (chunk[pos] === 13 || chunk[pos] === 10) if (++pos === chunk.length) return pos;
    const available = chunk.length - pos;
    let text = latin1Slice(chunk, pos, pos + Math.min(available, firstLookBytes));
    let end = text.indexOf('\r\n\r\n');
    if (end < 0 && available > firstLookBytes) {
      text = latin1Slice(chunk, pos, pos + Math.min(available, this.#maxHeadBytes + 4));
      end = text.indexOf('\r\n\r\n');
    }
    if (end < 0) return this.#keepPartial(chunk, pos, text);
    if (end > this.#maxHeadBytes) return this.#fail(HeadError.headTooLarge);
    const error = this.onHead(chunk, text, pos, pos + end + 2);
    return error === HeadError.none ? pos + end + 4 : this.#fail(error);
  }

  /** Remembers the start of a head. Heads that can never become good are refused at once. */
  #keepPartial(chunk: Buffer, pos: number, text: string): number {
    if (text.length > this.#maxHeadBytes) return this.#fail(HeadError.headTooLarge);
    if (hasBareLineFeed(text, 0)) return this.#fail(HeadError.bareLineFeed);
    this.#partial = Buffer.allocUnsafeSlow(Math.max(1024, text.length * 2));
    this.#partialLength = chunk.copy(this.#partial, 0, pos);
    return chunk.length;
  }

  /** Adds bytes to the partial head (or trailers) up to its end; index in it after the end marker, or -1. */
  #extendPartial(chunk: Buffer, pos: number): number {
    const partial = this.#partial ?? Buffer.alloc(0);
    const old = this.#partialLength;
    const take = Math.min(chunk.length - pos, this.#maxHeadBytes + 5 - old);
    let grown = partial;
    if (old + take > partial.length) {
      grown = Buffer.allocUnsafeSlow(Math.max(partial.length * 2, old + take));
      partial.copy(grown, 0, 0, old);
      this.#partial = grown;
    }
    chunk.copy(grown, old, pos, pos + take);
    this.#partialLength = old + take;
    const from = Math.max(0, old - 3);
    const end = latin1Slice(grown, from, old + take).indexOf('\r\n\r\n');
    return end < 0 ? -1 : from + end + 4;
  }

  #continueHead(chunk: Buffer, pos: number): number {
    const old = this.#partialLength;
    const end = this.#extendPartial(chunk, pos);
    const partial = this.#partial as Buffer;
    if (end < 0) {
      if (this.#partialLength > this.#maxHeadBytes) return this.#fail(HeadError.headTooLarge);
      if (hasBareLineFeed(latin1Slice(partial, Math.max(0, old - 1), this.#partialLength), Math.min(old, 1)))
        return this.#fail(HeadError.bareLineFeed);
      return chunk.length;
    }
    this.#partial = undefined;
    this.#partialLength = 0;
    const error = this.onHead(partial, latin1Slice(partial, 0, end), 0, end - 2);
    return error === HeadError.none ? pos + end - old : this.#fail(error);
  }

  #readTrailers(chunk: Buffer, pos: number): number {
    const old = this.#partialLength;
    if (this.#partial === undefined) {
      // The common end: CRLF right after the last chunk.
      if (chunk[pos] === 13 && chunk[pos + 1] === 10) {
        this.state = ReadState.hold;
        this.onBody(emptyBuffer, true);
        return pos + 2;
      }
      // Starts with the CRLF of the last chunk's line, so that no trailers look like the end of a head.
      this.#partial = Buffer.from('\r\n');
      this.#partialLength = 2;
      return this.#readTrailers(chunk, pos);
    }
    const end = this.#extendPartial(chunk, pos);
    const partial = this.#partial;
    if (end < 0) {
      if (this.#partialLength > this.#maxHeadBytes) return this.#fail(HeadError.headTooLarge);
      if (hasBareLineFeed(latin1Slice(partial, Math.max(0, old - 1), this.#partialLength), Math.min(old, 1)))
        return this.#fail(HeadError.bareLineFeed);
      return chunk.length;
    }
    this.#partial = undefined;
    this.#partialLength = 0;
    this.state = ReadState.hold;
    if (end === 4) this.onBody(emptyBuffer, true);
    else {
      const trailers = new HeaderMap();
      headInfo.reset();
      const text = latin1Slice(partial, 0, end);
      const error = parseFields(partial, text, 0, 2, end - 2, trailers, undefined, headInfo, noLimits);
      if (error !== HeadError.none) return this.#fail(HeadError.badTrailer);
      this.onTrailers(trailers);
    }
    return pos + end - old;
  }

  #readChunked(chunk: Buffer, pos: number): number {
    const c = chunk[pos] as number;
    switch (this.state) {
      case ReadState.chunkSize: {
        const digit = hexDigit(c);
        if (digit >= 0) {
          if (++this.#digits > maxChunkSizeDigits) return this.#fail(HeadError.badChunkSize);
          this.#remaining = this.#remaining * 16 + digit;
          return pos + 1;
        }
        if (this.#digits === 0) return this.#fail(HeadError.badChunkSize);
        if (c === 13) this.state = ReadState.chunkSizeLf;
        else if (c === 59 || c === 32 || c === 9) this.state = ReadState.chunkExtension;
        else return this.#fail(HeadError.badChunkSize);
        return pos + 1;
      }
      case ReadState.chunkExtension:
        if (c === 13) this.state = ReadState.chunkSizeLf;
        else if (c === 10 || c === 0 || ++this.#extensionBytes > maxExtensionBytes)
          return this.#fail(HeadError.badChunkSize);
        return pos + 1;
      case ReadState.chunkSizeLf:
        if (c !== 10) return this.#fail(HeadError.badChunkSize);
        this.#digits = 0;
        this.state = this.#remaining === 0 ? ReadState.trailers : ReadState.chunkData;
        return pos + 1;
      case ReadState.chunkData: {
        const take = Math.min(this.#remaining, chunk.length - pos);
        this.#remaining -= take;
        if (this.#remaining === 0) this.state = ReadState.chunkDataCr;
        // A last chunk that follows right away ends the stream with this data: one write on the other side.
        const after = pos + take;
        if (
          this.state === ReadState.chunkDataCr &&
          chunk.length >= after + 7 &&
          chunk[after + 2] === 48 &&
          chunk[after + 3] === 13 &&
          chunk[after] === 13 &&
          chunk[after + 1] === 10 &&
          chunk[after + 4] === 10 &&
          chunk[after + 5] === 13 &&
          chunk[after + 6] === 10
        ) {
          this.state = ReadState.hold;
          this.onBody(chunk.subarray(pos, after), true);
          return after + 7;
        }
        this.onBody(chunk.subarray(pos, after), false);
        return after;
      }
      case ReadState.chunkDataCr:
        if (c !== 13) return this.#fail(HeadError.badChunkSize);
        this.state = ReadState.chunkDataLf;
        return pos + 1;
      default:
        if (c !== 10) return this.#fail(HeadError.badChunkSize);
        this.state = ReadState.chunkSize;
        return pos + 1;
    }
  }
}

const emptyBuffer = Buffer.alloc(0);

function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  if (c >= 97 && c <= 102) return c - 87;
  return c >= 65 && c <= 70 ? c - 55 : -1;
}

/** A line feed at or after index `from` that no carriage return precedes. */
function hasBareLineFeed(text: string, from: number): boolean {
  for (let i = text.indexOf('\n', from); i >= 0; i = text.indexOf('\n', i + 1))
    if (i === 0 || text.charCodeAt(i - 1) !== 13) return true;
  return false;
}
