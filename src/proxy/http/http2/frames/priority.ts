/** PRIORITY (RFC 9113 6.3): checked, then ignored. */
import { readUint31 } from './frame_header.ts';

export const priorityBytes = 5;

/** A stream that depends on itself is a stream error (RFC 7540 5.3.1). */
export function dependsOnItself(buf: Uint8Array, start: number, streamId: number): boolean {
  return readUint31(buf, start) === streamId;
}
