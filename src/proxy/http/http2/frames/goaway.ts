/** GOAWAY (RFC 9113 6.8). */
import { FrameType, frameHeader, readUint31, readUint32, stream0, uint32Text } from './frame_header.ts';

export const goawayBytes = 8;

/** The first GOAWAY of a graceful end names the highest identifier: more streams may come (6.8). */
export const maxStreamId = 0x7fff_ffff;

export function goawayFrame(lastStreamId: number, code: number): string {
  return frameHeader(goawayBytes, FrameType.goaway, 0, stream0) + uint32Text(lastStreamId) + uint32Text(code);
}

export function readLastStreamId(buf: Uint8Array, start: number): number {
  return readUint31(buf, start);
}

export function readGoawayCode(buf: Uint8Array, start: number): number {
  return readUint32(buf, start + 4);
}
