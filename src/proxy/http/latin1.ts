/** Bytes to text, one character per byte: Node's own fast path, which its types leave out. */

interface Latin1Buffer {
  latin1Slice(start?: number, end?: number): string;
}

/** As `buf.toString('latin1', start, end)`, without looking up the encoding each time. */
export function latin1Slice(buf: Buffer, start: number, end: number): string {
  return (buf as unknown as Latin1Buffer).latin1Slice(start, end);
}
