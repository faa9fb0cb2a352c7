/**
 * HPACK decoding (RFC 7541): one pass over a complete header block, linear in its bytes, that hands every field to a sink
 * with what is known about its bytes. Names are found in the table of interned names without making a string first. On the
 * hot path: bench/micro/http2_codec.ts.
 */
import { type HeaderName, internName, nameByte } from '../header_names.ts';
import { latin1Slice } from '../latin1.ts';
import { DynamicTable } from './dynamic_table.ts';
import { FieldFlag, type FieldSink, HeaderField, pseudoNames } from './field.ts';
import { huffmanDecode, huffmanOutput } from './huffman.ts';
import { staticCount, staticTable } from './static_table.ts';

/** Why a block cannot be decoded; each ends the connection (RFC 9113 4.3, COMPRESSION_ERROR). */
export const HpackError = {
  none: 0,
  /** Ends inside a field. */
  truncated: 1,
  /** More octets than 2^28 needs (5.1 leaves the bound to us). */
  integerTooLarge: 2,
  /** Index 0, or past both tables (2.3.3). */
  badIndex: 3,
  badHuffman: 4,
  /** Larger than the setting, or not at the start of a block (4.2). */
  badTableSize: 5,
  /** The setting was lowered and the first block after it does not say so (4.2). */
  missingTableSize: 6,
} as const;
export type HpackError = (typeof HpackError)[keyof typeof HpackError];

/** 1 for bytes that may stand in a field value: visible, space, tab, 0x80-0xff. */
const valueByte = new Uint8Array(256).fill(1);
for (let c = 0; c < 32; c++) valueByte[c] = c === 9 ? 1 : 0;
valueByte[127] = 0;

/** Size updates at the start of one block (4.2: the smallest and the last). */
const maxSizeUpdates = 2;

const emptyName: HeaderName = { name: '', flag: FieldFlag.badName };

// Where the readers below stand. Decoding never leaves this file in the middle of a block except to the sink, which does
// not decode.
let position = 0;
/** Flags of the value read last. */
let valueFlag = 0;

/** Reads an integer whose prefix has `mask` (5.1); -1 when it ends early, -2 when it is too large. */
function readInteger(buf: Uint8Array, end: number, mask: number): number {
  let value = (buf[position++] as number) & mask;
  if (value < mask) return value;
  for (let shift = 0; shift < 28; shift += 7) {
    if (position >= end) return -1;
    const byte = buf[position++] as number;
    value += (byte & 127) << shift;
    if (byte < 128) return value;
  }
  return -2;
}

function nameFrom(buf: Buffer, start: number, end: number): HeaderName {
  if (start === end) return emptyName;
  let hash = 0;
  for (let i = start; i < end; i++) {
    const byte = buf[i] as number;
    if (nameByte[byte] !== byte || byte === 0) return oddName(buf, start, end);
    hash = (Math.imul(hash, 31) + byte) | 0;
  }
  return internName(buf, start, end, hash);
}

function oddName(buf: Buffer, start: number, end: number): HeaderName {
  const name = latin1Slice(buf, start, end);
  return (
    pseudoNames.get(name) ?? {
      name,
      flag: FieldFlag.badName | (name.charCodeAt(0) === 58 ? FieldFlag.pseudo : 0),
    }
  );
}

function valueFrom(buf: Buffer, start: number, end: number): string {
  valueFlag = 0;
  if (start === end) return '';
  for (let i = start; i < end; i++) {
    if (valueByte[buf[i] as number] === 0) {
      valueFlag = FieldFlag.badValue;
      break;
    }
  }
  const first = buf[start];
  const last = buf[end - 1];
  if (first === 32 || first === 9 || last === 32 || last === 9) valueFlag |= FieldFlag.spaced;
  return latin1Slice(buf, start, end);
}

/** One per connection. After an error it must not be used again. */
export class HpackDecoder {
  readonly #table: DynamicTable;
  /** What the peer's encoder may use at most. */
  #limit: number;
  #updateNeeded = false;

  /** @param maxTableSize SETTINGS_HEADER_TABLE_SIZE, bytes. */
  constructor(maxTableSize: number) {
    this.#limit = maxTableSize;
    this.#table = new DynamicTable(maxTableSize);
  }

  /** Bytes and entries of the dynamic table. */
  get tableSize(): number {
    return this.#table.size;
  }

  get tableLength(): number {
    return this.#table.length;
  }

  /** The peer acknowledged a new SETTINGS_HEADER_TABLE_SIZE. */
  setMaxTableSize(maxTableSize: number): void {
    this.#limit = maxTableSize;
    if (maxTableSize < this.#table.maxSize) this.#updateNeeded = true;
  }

  /** Decodes the block in `buf` from `start` to `end`; fields before an error have been handed out. */
  decode(buf: Buffer, start: number, end: number, sink: FieldSink): HpackError {
    position = start;
    const sized = this.#readSizeUpdates(buf, end);
    if (sized !== HpackError.none) return sized;
    const table = this.#table;
    while (position < end) {
      const first = buf[position] as number;
      if (first >= 128) {
        const index = readInteger(buf, end, 127);
        if (index <= 0) return index === 0 ? HpackError.badIndex : integerError(index);
        const field = index <= staticCount ? staticTable[index] : table.at(index - staticCount - 1);
        if (field === undefined) return HpackError.badIndex;
        sink.onField(field.name, field.value, field.flag);
        continue;
      }
      if (first >= 32 && first < 64) return HpackError.badTableSize;
      const indexing = first >= 64;
      const index = readInteger(buf, end, indexing ? 63 : 15);
      if (index < 0) return integerError(index);
      let name: HeaderName;
      if (index === 0) {
        const read = readName(buf, end);
        if (typeof read === 'number') return read;
        name = read;
      } else {
        const field = index <= staticCount ? staticTable[index] : table.at(index - staticCount - 1);
        if (field === undefined) return HpackError.badIndex;
        name = field.name;
      }
      const value = readValue(buf, end);
      if (typeof value === 'number') return value;
      const flag = name.flag | valueFlag;
      if (indexing) table.insert(new HeaderField(name, value, flag));
      sink.onField(name, value, flag);
    }
    return HpackError.none;
  }

  #readSizeUpdates(buf: Buffer, end: number): HpackError {
    for (let updates = 0; position < end && ((buf[position] as number) & 0xe0) === 0x20; updates++) {
      const size = readInteger(buf, end, 31);
      if (size < 0) return integerError(size);
      if (size > this.#limit || updates >= maxSizeUpdates) return HpackError.badTableSize;
      this.#table.resize(size);
      this.#updateNeeded = false;
    }
    return this.#updateNeeded ? HpackError.missingTableSize : HpackError.none;
  }
}

function integerError(code: number): HpackError {
  return code === -1 ? HpackError.truncated : HpackError.integerTooLarge;
}

function readName(buf: Buffer, end: number): HeaderName | HpackError {
  if (position >= end) return HpackError.truncated;
  const huffman = (buf[position] as number) >= 128;
  const length = readInteger(buf, end, 127);
  if (length < 0) return integerError(length);
  const start = position;
  position += length;
  if (position > end) return HpackError.truncated;
  if (!huffman) return nameFrom(buf, start, position);
  const decoded = huffmanDecode(buf, start, position);
  return decoded < 0 ? HpackError.badHuffman : nameFrom(huffmanOutput(), 0, decoded);
}

function readValue(buf: Buffer, end: number): string | HpackError {
  if (position >= end) return HpackError.truncated;
  const huffman = (buf[position] as number) >= 128;
  const length = readInteger(buf, end, 127);
  if (length < 0) return integerError(length);
  const start = position;
  position += length;
  if (position > end) return HpackError.truncated;
  if (!huffman) return valueFrom(buf, start, position);
  const decoded = huffmanDecode(buf, start, position);
  return decoded < 0 ? HpackError.badHuffman : valueFrom(huffmanOutput(), 0, decoded);
}
