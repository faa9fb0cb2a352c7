/**
 * Makes header maps of the fields that HPACK decodes, and holds them to RFC 9113 8.2 and 8.3. One collector serves all
 * connections of a worker: a block is decoded in one go. On the hot path: bench/micro/http2_codec.ts.
 */
import { type HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { HeaderFlag, type HeaderName } from '../header_names.ts';
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
  HeaderFlag.connection |
  HeaderFlag.transferEncoding |
  HeaderFlag.hopByHop |
  HeaderFlag.upgrade |
  HeaderFlag.te |
  HeaderFlag.contentLength |
  HeaderFlag.host |
  HeaderFlag.underscore;

/** Path and authority have no controls, spaces or octets past ASCII. */
function isVisible(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c <= 32 || c >= 127) return false;
  }
  return true;
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
      this.#violation = violations.tooManyHeaders;
      return;
    }
    if ((flag & specialFlags) !== 0) {
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
      if (length < 0 || (this.contentLength >= 0 && this.contentLength !== length)) {
        this.#violation = violations.messaging;
        return false;
      }
      const repeated = this.contentLength >= 0;
      this.contentLength = length;
      return !repeated;
    }
    if ((flag & HeaderFlag.host) !== 0 && this.#request !== undefined) {
      if (this.#host !== undefined && this.#host !== value) this.#violation = violations.messaging;
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
        request.method = value;
        break;
      case FieldFlag.path:
        if (!isVisible(value)) this.#violation = violations.headerField;
        request.path = value;
        break;
      case FieldFlag.scheme:
        request.scheme = value;
        break;
      case FieldFlag.authority:
        if (!isVisible(value)) this.#violation = violations.headerField;
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
    if (this.#host !== undefined) {
      // Two hosts for one request: who decides by which is a matter of luck (8.3.1).
      if ((pseudo & FieldFlag.authority) === 0) {
        if (!isVisible(this.#host)) return violations.headerField;
        request.authority = this.#host;
      } else if (request.authority !== this.#host) return violations.messaging;
    }
    if (request.method === '') return violations.messaging;
    if (request.method === 'CONNECT' && (pseudo & FieldFlag.protocol) === 0) {
      if (request.authority === '' || (pseudo & (FieldFlag.path | FieldFlag.scheme)) !== 0)
        return violations.messaging;
      return undefined;
    }
    if (request.path === '' || request.scheme === '') return violations.messaging;
    if ((pseudo & FieldFlag.protocol) !== 0) {
      if (request.method !== 'CONNECT' || this.#options?.allowConnect !== true || request.protocol === '')
        return violations.messaging;
    }
    return undefined;
  }
}

/** The worker's collector. */
export const collector = new HeaderCollector();
