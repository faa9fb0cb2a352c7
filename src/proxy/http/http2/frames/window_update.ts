/** WINDOW_UPDATE (RFC 9113 6.9). */
import { FrameType, frameHeader, uint32Text } from './frame_header.ts';

export const windowUpdateBytes = 4;

export function windowUpdateFrame(stream: string, increment: number): string {
  return frameHeader(windowUpdateBytes, FrameType.windowUpdate, 0, stream) + uint32Text(increment);
}
