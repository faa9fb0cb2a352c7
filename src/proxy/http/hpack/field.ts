/** One header field as HPACK tables hold it, with what the decoder found out about its bytes. */
import type { HeaderName } from '../header_names.ts';

/**
 * Bits beside those of `HeaderFlag` (header_names.ts, bits 0 to 20): which pseudo header a name is and whether a field may
 * stand in a message at all. Tables keep them, so that an indexed field is checked once in its life.
 */
export const FieldFlag = {
  /** Space or tab at an end of the value: it is no part of it (RFC 9110 5.5). */
  spaced: 1 << 21,
  method: 1 << 22,
  scheme: 1 << 23,
  path: 1 << 24,
  authority: 1 << 25,
  status: 1 << 26,
  protocol: 1 << 27,
  /** Any name that starts with a colon. */
  pseudo: 1 << 28,
  /** Upper case or not a token (RFC 9113 8.2.1), or an unknown pseudo header (8.3). */
  badName: 1 << 29,
  /** NUL, CR, LF or another control (8.2.1). */
  badValue: 1 << 30,
} as const;

/** Costs of an entry beside its octets (RFC 7541 4.1). */
export const entryOverhead = 32;

export class HeaderField {
  readonly name: HeaderName;
  readonly value: string;
  /** `name.flag` and what was found out about the value. */
  readonly flag: number;
  /** Bytes in the dynamic table (RFC 7541 4.1). */
  readonly size: number;

  constructor(name: HeaderName, value: string, flag: number) {
    this.name = name;
    this.value = value;
    this.flag = flag;
    this.size = name.name.length + value.length + entryOverhead;
  }
}

/** Hears the fields of one block in order. */
export interface FieldSink {
  onField(name: HeaderName, value: string, flag: number): void;
}

const pseudoFlags: Readonly<Record<string, number>> = {
  ':method': FieldFlag.method,
  ':scheme': FieldFlag.scheme,
  ':path': FieldFlag.path,
  ':authority': FieldFlag.authority,
  ':status': FieldFlag.status,
  ':protocol': FieldFlag.protocol,
};

/** Names with their flags, by text; made once. */
export const pseudoNames: ReadonlyMap<string, HeaderName> = new Map(
  Object.entries(pseudoFlags).map(([name, flag]) => [name, { name, flag: flag | FieldFlag.pseudo }]),
);
