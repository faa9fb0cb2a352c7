/** CONTINUATION (RFC 9113 6.10) as we write it; as read it is a bare fragment. */
import { FrameFlag, FrameType, frameHeader } from './frame_header.ts';

export function continuationFrame(fragment: string, endHeaders: boolean, stream: string): string {
  return (
    frameHeader(fragment.length, FrameType.continuation, endHeaders ? FrameFlag.endHeaders : 0, stream) +
    fragment
  );
}
