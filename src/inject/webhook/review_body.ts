/** Bodies of admission reviews: read within bounds, and turned into a value. */
import type { IncomingMessage } from 'node:http';

/** Bounds of what the webhook holds at one time. */
export interface BodyBounds {
  /** Longest body. Default 3 MiB, the most that an API server takes for one object. */
  readonly maxBodyBytes: number;
  /** Most requests at one time. Default 128. */
  readonly maxRequests: number;
  /** Most bytes of bodies at one time, all requests together. Default 32 MiB. */
  readonly maxBufferedBytes: number;
  /** Longest time for head and body of a request, milliseconds. Default 10 000: that of an admission request. */
  readonly timeoutMs: number;
}

/** See `BodyBounds`. */
export const defaultBodyBounds: BodyBounds = {
  maxBodyBytes: 3 * 1024 * 1024,
  maxRequests: 128,
  maxBufferedBytes: 32 * 1024 * 1024,
  timeoutMs: 10_000,
};

/** A request that is not answered by a review. */
export class BadRequest extends Error {
  /** HTTP status. */
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** How much is held now, over all requests of a server. */
export interface Held {
  requests: number;
  bytes: number;
}

/**
 * Reads a body.
 * @throws BadRequest 413 for one that is too long, 503 when too much is held, 400 when it was cut
 */
export async function readBody(request: IncomingMessage, bounds: BodyBounds, held: Held): Promise<Buffer> {
  const { maxBodyBytes, maxBufferedBytes } = bounds;
  const tooLong = `expected a body of at most ${maxBodyBytes} bytes`;
  if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) throw new BadRequest(413, tooLong);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    // Kept open on an early end: the answer goes out over the same socket.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      held.bytes += chunk.length;
      if (length > maxBodyBytes) throw new BadRequest(413, tooLong);
      if (held.bytes > maxBufferedBytes) throw new BadRequest(503, 'too many reviews at one time');
    }
    return Buffer.concat(chunks, length);
  } catch (error) {
    if (error instanceof BadRequest) throw error;
    throw new BadRequest(400, 'the body was cut');
  } finally {
    held.bytes -= length;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The value of a JSON text (RFC 8259).
 * @throws BadRequest 400
 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) throw new BadRequest(400, 'no body found');
  let text: string;
  try {
    text = utf8.decode(body);
  } catch {
    throw new BadRequest(400, 'the body is not UTF-8');
  }
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message would repeat parts of the body.
    throw new BadRequest(400, 'the body is not JSON');
  }
}
