/**
 * Makes header maps of the fields that HPACK decodes, and holds them to RFC 9113 8.2 and 8.3. One collector serves all
 * connections of a worker: a block is decoded in one go. On the hot path: bench/micro/http2_codec.ts.
 */
import { type HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { HeaderFlag, type HeaderName, nameByte } from '../header_names.ts';
import { parseContentLength } from '../http1/head_parser.ts';
import { FieldFlag, type FieldSink } from '../hpack/field.ts';
import type { Violation } from './error_codes.ts';
import type { Http2Options } from './options.ts';
import { violations } from './violations.ts';

/** What a block is: decides which pseudo headers it may and must have. */
export const BlockKind = { request: 0, response: 1, trailers: 2 } as const;
export type BlockKind = (typeof BlockKind)[keyof typeof BlockKind];

const allowedPseudo: readonly number[] = [
  FieldFlag.method | FieldFlag.scheme | FieldFlag.path | FieldFlag.authority | FieldFlag.protocol,
  FieldFlag.status,
  0,
];

/** Fields that need a look; all others only pass. */
const specialFlags =
  FieldFlag.pseudo |
  FieldFlag.badName |
  FieldFlag.badValue |
  FieldFlag.spaced |
  HeaderFlag.connection |
  HeaderFlag.transferEncoding |
  HeaderFlag.hopByHop |
  HeaderFlag.upgrade |
  HeaderFlag.te |
  HeaderFlag.contentLength |
  HeaderFlag.host |
  HeaderFlag.underscore;

/** What may stand in pseudo headers, as Envoy has it: bits by character. */
const Char = { path: 1, authority: 2, scheme: 4, token: 8 } as const;
const chars = new Uint8Array(256);
for (let c = 33; c < 256; c++) {
  if (c !== 127) chars[c] = Char.path;
  if (nameByte[c] !== 0) chars[c] = (chars[c] as number) | Char.token;
}
for (const c of "-._~%!$&'()*+,;=:[]")
  chars[c.charCodeAt(0)] = (chars[c.charCodeAt(0)] as number) | Char.authority;
for (const c of '+-.') chars[c.charCodeAt(0)] = (chars[c.charCodeAt(0)] as number) | Char.scheme;
for (const c of '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ')
  chars[c.charCodeAt(0)] = (chars[c.charCodeAt(0)] as number) | Char.authority | Char.scheme;

function consistsOf(text: string, kind: number): boolean {
  for (let i = 0; i < text.length; i++)
    if (((chars[text.charCodeAt(i)] as number) & kind) === 0) return false;
  return text !== '';
}

export class HeaderCollector implements FieldSink {
  #kind: BlockKind = BlockKind.trailers;
  #options: Http2Options | undefined = undefined;
  #names: string[] = [];
  #values: string[] = [];
  #request: RequestHeaderMap | undefined = undefined;
  #response: ResponseHeaderMap | undefined = undefined;
  #seen = 0;
  #pseudo = 0;
  #regular = false;
  #bytes = 0;
  #count = 0;
  #maxBytes = 0;
  #maxCount = 0;
  #cookie = -1;
  #host: string | undefined = undefined;
  #violation: Violation | undefined = undefined;
  /** -1 without content-length. */
  contentLength = -1;

  /** Begins a block; fields go to `headers`. */
  begin(kind: BlockKind, headers: HeaderMap, options: Http2Options): void {
    this.#kind = kind;
    this.#options = options;
    this.#names = headers.names;
    this.#values = headers.values;
    this.#request = headers instanceof RequestHeaderMap ? headers : undefined;
    this.#response = headers instanceof ResponseHeaderMap ? headers : undefined;
    this.#seen = 0;
    this.#pseudo = 0;
    this.#regular = false;
    this.#bytes = 0;
    this.#count = 0;
    this.#maxBytes = options.maxHeadersKb * 1024;
    this.#maxCount = options.maxHeadersCount;
    this.#cookie = -1;
    this.#host = undefined;
    this.#violation = undefined;
    this.contentLength = -1;
  }

  onField(name: HeaderName, value: string, flag: number): void {
    this.#bytes += name.name.length + value.length;
    if (this.#violation !== undefined) return;
    if (++this.#count > this.#maxCount || this.#bytes > this.#maxBytes) {
      this.#violation = this.#count > this.#maxCount ? violations.tooManyHeaders : violations.headersTooLarge;
      return;
    }
    if ((flag & specialFlags) !== 0) {
      if ((flag & FieldFlag.spaced) !== 0) {
        this.onField(name, value.replace(/^[ \t]+|[ \t]+$/g, ''), flag & ~FieldFlag.spaced);
        return;
      }
      if (!this.#special(name, value, flag)) return;
    } else if (name.name === 'cookie') {
      // Crumbs of one cookie header (8.2.3).
      if (this.#cookie >= 0) {
        this.#values[this.#cookie] += `; ${value}`;
        this.#regular = true;
        return;
      }
      this.#cookie = this.#names.length;
    }
    this.#regular = true;
    this.#seen |= flag;
    this.#names.push(name.name);
    this.#values.push(value);
  }

  /** True when the field goes into the list like any other. */
  #special(name: HeaderName, value: string, flag: number): boolean {
    if ((flag & (FieldFlag.badName | FieldFlag.badValue)) !== 0) {
      this.#violation = violations.headerField;
      return false;
    }
    if ((flag & FieldFlag.pseudo) !== 0) {
      this.#pseudoHeader(value, flag);
      return false;
    }
    if ((flag & HeaderFlag.underscore) !== 0) {
      const action = this.#options?.underscores ?? 'allow';
      if (action === 'reject') this.#violation = violations.underscore;
      return action === 'allow';
    }
    if ((flag & HeaderFlag.contentLength) !== 0) {
      const length = parseContentLength(value);
      if (length < 0 || this.contentLength >= 0) {
        this.#violation = violations.headerField;
        return false;
      }
      this.contentLength = length;
      return true;
    }
    if ((flag & HeaderFlag.host) !== 0 && this.#request !== undefined) {
      if (this.#host !== undefined) this.#violation = violations.headerField;
      this.#host = value;
      this.#regular = true;
      return false;
    }
    if ((flag & HeaderFlag.te) !== 0) {
      if (value !== 'trailers' && value.toLowerCase() !== 'trailers')
        this.#violation = violations.headerField;
      return true;
    }
    if ((flag & HeaderFlag.host) !== 0 || name.name === 'http2-settings') return true;
    this.#violation = violations.headerField;
    return false;
  }

  #pseudoHeader(value: string, flag: number): void {
    const bit = flag & (allowedPseudo[this.#kind] as number);
    if (bit === 0 || this.#regular || (this.#pseudo & bit) !== 0) {
      this.#violation = violations.messaging;
      return;
    }
    this.#pseudo |= bit;
    const request = this.#request;
    if (request === undefined) {
      this.#status(value);
      return;
    }
    switch (bit) {
      case FieldFlag.method:
        // GET and POST come out of the static table: a pointer comparison each.
        if (value !== 'GET' && value !== 'POST' && !consistsOf(value, Char.token))
          this.#violation = violations.headerField;
        request.method = value;
        break;
      case FieldFlag.path:
        if (!consistsOf(value, Char.path)) this.#violation = violations.headerField;
        request.path = value;
        break;
      case FieldFlag.scheme:
        if (value !== 'http' && value !== 'https' && !consistsOf(value, Char.scheme))
          this.#violation = violations.headerField;
        request.scheme = value;
        break;
      case FieldFlag.authority:
        if (!consistsOf(value, Char.authority)) this.#violation = violations.headerField;
        request.authority = value;
        break;
      default:
        request.protocol = value;
    }
  }

  #status(value: string): void {
    const status = value.length === 3 ? Number(value) : 0;
    if (!(status >= 100 && status <= 999) || !Number.isInteger(status))
      this.#violation = violations.messaging;
    else if (this.#response !== undefined) this.#response.status = status;
  }

  /** Ends the block; undefined when the list is good. */
  finish(headers: HeaderMap): Violation | undefined {
    headers.seen = this.#seen;
    if (this.#violation !== undefined) return this.#violation;
    const request = this.#request;
    this.#request = undefined;
    if (request !== undefined) return this.#finishRequest(request);
    if (this.#response !== undefined && this.#pseudo === 0) return violations.messaging;
    this.#response = undefined;
    return undefined;
  }

  #finishRequest(request: RequestHeaderMap): Violation | undefined {
    const pseudo = this.#pseudo;
    // Without an authority `host` is one; beside an authority it is dropped, as Envoy does.
    if (this.#host !== undefined && (pseudo & FieldFlag.authority) === 0) {
      if (!consistsOf(this.#host, Char.authority)) return violations.headerField;
      request.authority = this.#host;
    }
    if (request.authority === '') return violations.messaging;
    if (request.method === '') return violations.messaging;
    if (request.method === 'CONNECT' && (pseudo & FieldFlag.protocol) === 0) {
      if ((pseudo & (FieldFlag.path | FieldFlag.scheme)) !== 0) return violations.messaging;
      return undefined;
    }
    if (request.scheme === '') return violations.messaging;
    const { path } = request;
    if (path.charCodeAt(0) !== 47 && !(path === '*' && request.method === 'OPTIONS'))
      return violations.messaging;
    if ((pseudo & FieldFlag.protocol) !== 0) {
      if (request.method !== 'CONNECT' || this.#options?.allowConnect !== true || request.protocol === '')
        return violations.messaging;
    }
    return undefined;
  }
}

/** The worker's collector. */
export const collector = new HeaderCollector();
