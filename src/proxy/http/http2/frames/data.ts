/** DATA (RFC 9113 6.1): payloads are never copied here; only the frame header is text. */
import { FrameFlag, FrameType, frameHeader } from './frame_header.ts';

export function dataFrameHeader(length: number, endStream: boolean, stream: string): string {
  return frameHeader(length, FrameType.data, endStream ? FrameFlag.endStream : 0, stream);
}
