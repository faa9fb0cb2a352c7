/** Bodies of `application/grpc-web-text`: base64 (RFC 4648 section 4) that comes and goes in pieces of any size. */

/** Value of each base64 digit, 64 for all other bytes. */
const digits = new Uint8Array(256).fill(64);
for (const [value, digit] of [
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
].entries())
  digits[digit.charCodeAt(0)] = value;
const pad = 0x3d;

/** Decodes a stream; padding may stand at the end of any group of four, as each message may be encoded alone. */
export class WebTextDecoder {
  #bits = 0;
  /** Digits of the group so far, 0 to 3. */
  #count = 0;
  #pads = 0;

  /** False at the end of the stream means that it was cut inside a group. */
  get complete(): boolean {
    return this.#count === 0;
  }

  /** Undefined when the text is not base64; the decoder is then of no more use. */
  decode(text: Buffer): Buffer | undefined {
    const out = Buffer.allocUnsafe(Math.ceil(((text.length + 3) * 3) / 4));
    let length = 0;
    for (let i = 0; i < text.length; i++) {
      const byte = text[i] as number;
      if (byte === pad) {
        this.#pads++;
        if (this.#count < 2) return undefined;
      } else {
        const digit = digits[byte] as number;
        if (digit === 64 || this.#pads > 0) return undefined;
        this.#bits = (this.#bits << 6) | digit;
        this.#count++;
      }
      if (this.#count + this.#pads < 4) continue;
      const group = this.#bits << (6 * this.#pads);
      out[length++] = group >> 16;
      if (this.#pads < 2) out[length++] = group >> 8;
      if (this.#pads < 1) out[length++] = group;
      this.#bits = 0;
      this.#count = 0;
      this.#pads = 0;
    }
    return out.subarray(0, length);
  }
}

/**
 * Encodes a stream of gRPC messages. Up to two bytes are kept until the next piece; at the end of a message nothing is, so
 * that a client never waits for the rest of one.
 */
export class WebTextEncoder {
  #kept: Buffer = Buffer.alloc(0);
  /** Bytes of the message's prefix seen so far, 0 to 5. */
  #prefix = 0;
  /** Length of the message as far as its prefix told it; then what is left of it. */
  #left = 0;

  encode(data: Buffer): Buffer {
    this.#follow(data);
    const all = this.#kept.length === 0 ? data : Buffer.concat([this.#kept, data]);
    const end = this.#prefix === 0 ? all.length : all.length - (all.length % 3);
    // A copy: what is kept must not hold on to a large buffer.
    this.#kept = Buffer.from(all.subarray(end));
    return Buffer.from(all.toString('base64', 0, end), 'latin1');
  }

  /** What was kept, then `last` (a whole frame; may be empty). */
  finish(last: Buffer): Buffer {
    const kept = this.#kept;
    this.#kept = Buffer.alloc(0);
    return Buffer.from(kept.toString('base64') + last.toString('base64'), 'latin1');
  }

  #follow(data: Buffer): void {
    let at = 0;
    while (at < data.length) {
      if (this.#prefix < 5) {
        if (this.#prefix > 0) this.#left = this.#left * 256 + (data[at] as number);
        this.#prefix++;
        at++;
      } else {
        const step = Math.min(this.#left, data.length - at);
        this.#left -= step;
        at += step;
      }
      if (this.#prefix === 5 && this.#left === 0) this.#prefix = 0;
    }
  }
}
