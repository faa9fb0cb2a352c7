/** The nine octets before every frame (RFC 9113 4.1), and frames as latin1 text, the form SocketIo gathers. */

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FrameFlag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

/** Octets of a frame header. */
export const frameHeaderBytes = 9;

/** Four octets, for stream identifiers and other unsigned 32-bit fields. */
export function uint32Text(value: number): string {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

/**
 * @param stream four octets (`uint32Text`), kept by streams.
 */
export function frameHeader(length: number, type: number, flags: number, stream: string): string {
  return String.fromCharCode(length >>> 16, (length >>> 8) & 255, length & 255, type, flags) + stream;
}

/** Identifier of the connection. */
export const stream0 = uint32Text(0);

export function readUint32(buf: Uint8Array, at: number): number {
  return (
    ((buf[at] as number) * 0x1000000 +
      (((buf[at + 1] as number) << 16) | ((buf[at + 2] as number) << 8) | (buf[at + 3] as number))) >>>
    0
  );
}

/** 31 bits; the reserved bit is ignored. */
export function readUint31(buf: Uint8Array, at: number): number {
  return (
    (((buf[at] as number) & 127) << 24) |
    ((buf[at + 1] as number) << 16) |
    ((buf[at + 2] as number) << 8) |
    (buf[at + 3] as number)
  );
}
