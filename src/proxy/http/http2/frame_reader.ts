/**
 * Takes input apart into frames (RFC 9113 4), wherever it is split. DATA is passed on as it comes; all other frames are
 * small and are kept until they are whole, in one buffer of their size. On the hot path: bench/micro/http2_codec.ts.
 */
import type { Violation } from './error_codes.ts';
import { FrameFlag, FrameType, frameHeaderBytes } from './frames/frame_header.ts';
import { violations } from './violations.ts';

export abstract class FrameReader {
  readonly #maxFrameSize: number;
  /** A frame that is not whole yet, with room for all of it. */
  #partial: Buffer | undefined = undefined;
  #have = 0;
  // The DATA frame in hand.
  #dataStream = 0;
  #dataFlags = 0;
  #dataLeft = 0;
  #padLeft = 0;
  /** Input is dropped: the connection ends. */
  protected discard = false;

  /** @param maxFrameSize SETTINGS_MAX_FRAME_SIZE as we sent it. */
  constructor(maxFrameSize: number) {
    this.#maxFrameSize = maxFrameSize;
  }

  /**
   * A DATA frame begins.
   * @param length with padding, which flow control counts.
   * @param payload without it.
   */
  protected abstract onDataFrame(
    streamId: number,
    flags: number,
    length: number,
    payload: number,
  ): Violation | undefined;
  /** Part of its payload. @param last the frame ends with it. */
  protected abstract onDataPayload(streamId: number, payload: Buffer, last: boolean): Violation | undefined;
  /** Any other frame; `buf` holds its payload from `start` to `end`. */
  protected abstract onFrame(
    type: number,
    flags: number,
    streamId: number,
    buf: Buffer,
    start: number,
    end: number,
  ): Violation | undefined;

  protected consume(chunk: Buffer): Violation | undefined {
    let at = 0;
    const { length } = chunk;
    while (at < length && !this.discard) {
      let violation: Violation | undefined;
      if (this.#dataLeft > 0 || this.#padLeft > 0) {
        const from = at;
        at = Math.min(length, at + this.#dataLeft);
        violation = this.#passData(chunk, from, at);
        const pad = Math.min(length - at, this.#padLeft);
        this.#padLeft -= pad;
        at += pad;
      } else if (this.#partial !== undefined) {
        at = this.#fill(this.#partial, chunk, at);
        if (this.#have < this.#partial.length) return undefined;
        const whole = this.#partial;
        violation = this.#onHead(whole, 0, whole.length);
      } else {
        const from = at;
        if (length - from >= frameHeaderBytes) {
          const size =
            ((chunk[from] as number) << 16) |
            ((chunk[from + 1] as number) << 8) |
            (chunk[from + 2] as number);
          const data = chunk[from + 3] === FrameType.data;
          // A padded DATA frame needs the octet that tells its padding.
          const padded = data && size > 0 && ((chunk[from + 4] as number) & FrameFlag.padded) !== 0;
          const need = frameHeaderBytes + (data ? (padded ? 1 : 0) : size);
          if (size <= this.#maxFrameSize && length - from < need) {
            this.#keep(need, chunk, from);
            return undefined;
          }
          violation = this.#onHead(chunk, from, from + need);
          at = from + need;
        } else {
          this.#keep(frameHeaderBytes, chunk, from);
          return undefined;
        }
      }
      if (violation !== undefined) return violation;
    }
    return undefined;
  }

  #keep(size: number, chunk: Buffer, from: number): void {
    const partial = Buffer.allocUnsafe(size);
    this.#have = chunk.copy(partial, 0, from);
    this.#partial = partial;
  }

  /** Index in `chunk` after what was taken. */
  #fill(partial: Buffer, chunk: Buffer, at: number): number {
    const taken = chunk.copy(partial, this.#have, at, at + partial.length - this.#have);
    this.#have += taken;
    return at + taken;
  }

  /** A frame from its header on, as far as `end`: all of it, or what comes before the payload of DATA. */
  #onHead(buf: Buffer, at: number, end: number): Violation | undefined {
    const length = ((buf[at] as number) << 16) | ((buf[at + 1] as number) << 8) | (buf[at + 2] as number);
    if (length > this.#maxFrameSize) return violations.frameSize;
    const type = buf[at + 3] as number;
    const flags = buf[at + 4] as number;
    const streamId =
      (((buf[at + 5] as number) & 127) << 24) |
      ((buf[at + 6] as number) << 16) |
      ((buf[at + 7] as number) << 8) |
      (buf[at + 8] as number);
    const start = at + frameHeaderBytes;
    if (buf === this.#partial) {
      const size =
        type === FrameType.data ? ((flags & FrameFlag.padded) !== 0 && length > 0 ? 1 : 0) : length;
      if (start + size > end) {
        const more = Buffer.allocUnsafe(start + size);
        buf.copy(more, 0, 0, end);
        this.#partial = more;
        return undefined;
      }
      this.#partial = undefined;
    }
    if (type !== FrameType.data) return this.onFrame(type, flags, streamId, buf, start, end);
    let pad = 0;
    let payload = length;
    if ((flags & FrameFlag.padded) !== 0) {
      if (length === 0) return violations.frameSize;
      pad = buf[start] as number;
      payload = length - 1 - pad;
      if (payload < 0) return violations.padding;
    }
    this.#dataStream = streamId;
    this.#dataFlags = flags;
    this.#dataLeft = payload;
    this.#padLeft = pad;
    const violation = this.onDataFrame(streamId, flags, length, payload);
    if (violation !== undefined || payload > 0) return violation;
    return this.onDataPayload(streamId, buf.subarray(0, 0), true);
  }

  #passData(chunk: Buffer, from: number, to: number): Violation | undefined {
    if (to === from) return undefined;
    this.#dataLeft -= to - from;
    return this.onDataPayload(
      this.#dataStream,
      from === 0 && to === chunk.length ? chunk : chunk.subarray(from, to),
      this.#dataLeft === 0,
    );
  }

  /** Flags of the DATA frame in hand. */
  protected get dataFlags(): number {
    return this.#dataFlags;
  }
}
