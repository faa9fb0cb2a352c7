/** RST_STREAM (RFC 9113 6.4). */
import { FrameType, frameHeader, uint32Text } from './frame_header.ts';

export const rstStreamBytes = 4;

export function rstStreamFrame(stream: string, code: number): string {
  return frameHeader(rstStreamBytes, FrameType.rstStream, 0, stream) + uint32Text(code);
}
