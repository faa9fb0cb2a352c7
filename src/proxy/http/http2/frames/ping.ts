/** PING (RFC 9113 6.7). */
import { FrameFlag, FrameType, frameHeader, stream0 } from './frame_header.ts';

export const pingBytes = 8;

/** @param payload eight octets. */
export function pingFrame(payload: string, ack: boolean): string {
  return frameHeader(pingBytes, FrameType.ping, ack ? FrameFlag.ack : 0, stream0) + payload;
}
