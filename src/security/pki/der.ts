/**
 * The part of ASN.1 DER (X.690) that X.509 certificates and PKCS #10 requests need: an encoder and a strict, bounded
 * reader. Definite minimal lengths only, single-byte tags only.
 */

/** Tags in use (X.690, section 8.1.2; constructed types carry bit 0x20). */
export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Context-specific tag, `[number]`; constructed when it holds other elements. */
export function contextTag(number: number, constructed: boolean): number {
  return 0x80 | (constructed ? 0x20 : 0) | number;
}

/** Malformed DER. */
export class DerError extends Error {
  override name = 'DerError';
}

/** One element: its tag, the bytes of its content and the bytes of the whole element. */
export interface DerElement {
  readonly tag: number;
  readonly content: Buffer;
  readonly raw: Buffer;
}

/** Encodes one element from the concatenation of its contents. */
export function encode(tagByte: number, ...contents: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const content of contents) length += content.length;
  return Buffer.concat([encodeHeader(tagByte, length), ...contents]);
}

function encodeHeader(tagByte: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tagByte, length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([tagByte, 0x80 | bytes.length, ...bytes]);
}

/** SEQUENCE of the given elements. */
export function sequence(...elements: readonly Uint8Array[]): Buffer {
  return encode(tag.sequence, ...elements);
}

/** OBJECT IDENTIFIER from its dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift((left % 128) | 0x80);
    }
    bytes.push(...groups);
  }
  return encode(tag.oid, Buffer.from(bytes));
}

/** INTEGER from the unsigned big-endian bytes of a number that is not negative. */
export function unsignedInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const body = bytes.subarray(start);
  const sign = (body[0] ?? 0) >= 0x80 || body.length === 0 ? [Buffer.from([0])] : [];
  return encode(tag.integer, ...sign, body);
}

/** BOOLEAN. */
export function boolean(value: boolean): Buffer {
  return encode(tag.boolean, Buffer.from([value ? 0xff : 0]));
}

/** BIT STRING of whole bytes, or with unused bits at its end. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return encode(tag.bitString, Buffer.from([unusedBits]), bytes);
}

/** OCTET STRING. */
export function octetString(bytes: Uint8Array): Buffer {
  return encode(tag.octetString, bytes);
}

/** Time in whole seconds: UTCTime until 2049, GeneralizedTime after (RFC 5280, section 4.1.2.5). */
export function time(epochMs: number): Buffer {
  const digits = new Date(epochMs).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return Number(digits.slice(0, 4)) < 2050
    ? encode(tag.utcTime, Buffer.from(`${digits.slice(2)}Z`, 'latin1'))
    : encode(tag.generalizedTime, Buffer.from(`${digits}Z`, 'latin1'));
}

/** Reads elements one after the other from a buffer. */
export class DerReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether nothing is left. */
  get done(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /** Tag of the next element, undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /**
   * The next element.
   * @throws DerError when the tag differs from the expected one or the length is not minimal or runs past the end.
   */
  read(expectedTag?: number): DerElement {
    const bytes = this.#bytes;
    const start = this.#offset;
    const tagByte = bytes[start];
    if (tagByte === undefined) throw new DerError('the data ends where an element is expected');
    if ((tagByte & 0x1f) === 0x1f) throw new DerError('tag numbers above 30 are not used here');
    if (expectedTag !== undefined && tagByte !== expectedTag) {
      throw new DerError(`tag 0x${tagByte.toString(16)} in place of 0x${expectedTag.toString(16)}`);
    }
    let offset = start + 1;
    let length = bytes[offset++];
    if (length === undefined) throw new DerError('the data ends in a length');
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0 || count > 3) throw new DerError('indefinite or too long a length');
      length = 0;
      for (let i = 0; i < count; i++) {
        const byte = bytes[offset++];
        if (byte === undefined) throw new DerError('the data ends in a length');
        length = length * 256 + byte;
      }
      if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError('length is not minimal');
    }
    const end = offset + length;
    if (end > bytes.length) throw new DerError('an element runs past the end of the data');
    this.#offset = end;
    return { tag: tagByte, content: bytes.subarray(offset, end), raw: bytes.subarray(start, end) };
  }

  /** A reader over the content of the next element. */
  enter(expectedTag: number): DerReader {
    return new DerReader(this.read(expectedTag).content);
  }

  /** @throws DerError when something is left. */
  end(): void {
    if (!this.done) throw new DerError('unexpected bytes after the last element');
  }
}

/** Dotted form of the content of an OBJECT IDENTIFIER. */
export function readObjectIdentifier(content: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const [i, byte] of content.entries()) {
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new DerError('object identifier arc is too large');
    if ((byte & 0x80) !== 0) {
      if (i === content.length - 1) throw new DerError('object identifier ends inside an arc');
      continue;
    }
    if (arcs.length === 0) {
      const first = Math.min(Math.floor(arc / 40), 2);
      arcs.push(first, arc - first * 40);
    } else arcs.push(arc);
    arc = 0;
  }
  if (arcs.length === 0) throw new DerError('empty object identifier');
  return arcs.join('.');
}

/** Bytes of the content of a BIT STRING that has no unused bits. */
export function readBitString(content: Buffer): Buffer {
  if (content[0] !== 0) throw new DerError('bit string with unused bits');
  return content.subarray(1);
}
