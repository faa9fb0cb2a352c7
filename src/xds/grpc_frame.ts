/** Length-prefixed messages of gRPC (gRPC over HTTP/2, "Length-Prefixed-Message"): one flag byte, four length bytes. */
import { GrpcError, grpcStatus } from './grpc_status.ts';

const prefixBytes = 5;

/** A message with its prefix, uncompressed. */
export function encodeFrame(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(prefixBytes + message.length);
  frame[0] = 0;
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, prefixBytes);
  return frame;
}

/** Cuts a byte stream into messages. Holds at most one incomplete message of at most `maxMessageBytes`. */
export class FrameReader {
  readonly #maxMessageBytes: number;
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Bytes of prefix and message that must be there before the next step; the prefix itself at first. */
  #wanted = prefixBytes;

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes;
  }

  /** True between two messages: a stream that ends elsewhere was cut. */
  get idle(): boolean {
    return this.#buffered === 0;
  }

  /**
   * Takes a chunk, gives the messages that it completes.
   * @throws GrpcError `resourceExhausted` for a message over the bound, `internal` for a compressed one (none was offered).
   */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered < this.#wanted) return [];
    // One copy per message even when it arrives in many chunks: they are joined only when enough of them are there.
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#buffered);
    const messages: Buffer[] = [];
    for (;;) {
      if (bytes.length < prefixBytes) {
        this.#wanted = prefixBytes;
        break;
      }
      const length = this.#checkPrefix(bytes);
      this.#wanted = prefixBytes + length;
      if (bytes.length < this.#wanted) break;
      messages.push(bytes.subarray(prefixBytes, this.#wanted));
      bytes = bytes.subarray(this.#wanted);
    }
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#buffered = bytes.length;
    return messages;
  }

  #checkPrefix(bytes: Buffer): number {
    if (bytes[0] !== 0)
      throw new GrpcError(grpcStatus.internal, 'compressed message, but no encoding was offered');
    const length = bytes.readUInt32BE(1);
    if (length > this.#maxMessageBytes) {
      throw new GrpcError(
        grpcStatus.resourceExhausted,
        `message of ${length} bytes, more than ${this.#maxMessageBytes}`,
      );
    }
    return length;
  }
}
