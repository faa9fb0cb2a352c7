/** HEADERS (RFC 9113 6.2) and its CONTINUATION frames. Priority is read and ignored (5.3.2). */
import type { Violation } from '../error_codes.ts';
import { violations } from '../violations.ts';
import { continuationFrame } from './continuation.ts';
import { FrameFlag, FrameType, frameHeader, readUint31 } from './frame_header.ts';

/** Where the field block fragment of the frame read last lies. */
export const fragment = { start: 0, end: 0, selfDependent: false };

/** Takes padding and priority off; the fragment is in `fragment`. */
export function readHeaders(
  buf: Uint8Array,
  start: number,
  end: number,
  flags: number,
  streamId: number,
): Violation | undefined {
  let from = start;
  let to = end;
  if ((flags & FrameFlag.padded) !== 0) {
    if (from >= to) return violations.frameSize;
    to -= buf[from++] as number;
  }
  fragment.selfDependent = false;
  if ((flags & FrameFlag.priority) !== 0) {
    if (from + 5 > to) return to < from ? violations.padding : violations.frameSize;
    fragment.selfDependent = readUint31(buf, from) === streamId;
    from += 5;
  }
  if (from > to) return violations.padding;
  fragment.start = from;
  fragment.end = to;
  return undefined;
}

/** A whole header block: one HEADERS frame, and CONTINUATION frames where the block is longer than a frame may be. */
export function headersFrames(
  block: string,
  endStream: boolean,
  stream: string,
  maxFrameSize: number,
): string {
  const { length } = block;
  const end = endStream ? FrameFlag.endStream : 0;
  if (length <= maxFrameSize)
    return frameHeader(length, FrameType.headers, end | FrameFlag.endHeaders, stream) + block;
  let text = frameHeader(maxFrameSize, FrameType.headers, end, stream) + block.slice(0, maxFrameSize);
  for (let at = maxFrameSize; at < length; at += maxFrameSize)
    text += continuationFrame(block.slice(at, at + maxFrameSize), at + maxFrameSize >= length, stream);
  return text;
}
