/**
 * The head of an HTTP/1 message: start line and fields, from one chunk of bytes and the same bytes as a latin1 string.
 * One pass over the bytes checks every one of them; names come out interned, values as slices of the string. What
 * decides the framing is collected in one `HeadInfo` that the caller reuses. RFC 9112 2-6; where Envoy is stricter we are
 * as strict. On the hot path: bench/micro/http1_parse.ts.
 */
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../header_map.ts';
import { HeaderFlag, internName, nameByte } from '../header_names.ts';

/** Why a head is refused; 0 when it is good. `http1_errors.ts` maps them to status and details. */
export const HeadError = {
  none: 0,
  /** Start line is not `METHOD target HTTP/1.x` or `HTTP/1.x status`. */
  badStartLine: 1,
  unknownMethod: 2,
  badTarget: 3,
  unsupportedVersion: 4,
  badHeaderName: 5,
  badHeaderValue: 6,
  /** A line that starts with a space or tab (obs-fold, RFC 9112 5.2). */
  foldedHeader: 7,
  badContentLength: 8,
  repeatedContentLength: 9,
  /** Both content-length and transfer-encoding (RFC 9112 6.3). */
  lengthAndChunked: 10,
  /** A transfer coding other than `chunked`. */
  unknownTransferEncoding: 11,
  repeatedHost: 12,
  tooManyHeaders: 13,
  headTooLarge: 14,
  /** A header with an underscore while those are rejected. */
  underscoreHeader: 15,
  /** A line feed without carriage return, or the reverse. */
  bareLineFeed: 16,
  badChunkSize: 17,
  badTrailer: 18,
  /** `connection` names a header that a client must not take away. */
  badConnectionHeader: 19,
} as const;
export type HeadError = (typeof HeadError)[keyof typeof HeadError];

/** What the fields say about framing and connection. Overwritten by each parse. */
export class HeadInfo {
  /** -1 without content-length. */
  contentLength = -1;
  chunked = false;
  /** `connection` tokens. */
  close = false;
  keepAlive = false;
  connectionUpgrade = false;
  /** Value of `upgrade` in lower case; empty without one. */
  upgrade = '';
  /** True for `connection` tokens that name other headers. */
  connectionNominates = false;
  /** Minor version: 1 or 0. */
  minor = 1;

  reset(): void {
    this.contentLength = -1;
    this.chunked = false;
    this.close = false;
    this.keepAlive = false;
    this.connectionUpgrade = false;
    this.upgrade = '';
    this.connectionNominates = false;
    this.minor = 1;
  }
}

/** What to do with headers whose name has an underscore (HttpProtocolOptions.headers_with_underscores_action). */
export type UnderscoreAction = 'allow' | 'reject' | 'drop';

export interface HeadLimits {
  /** Most fields of one head, default 100. */
  readonly maxHeaders: number;
  readonly underscores: UnderscoreAction;
  /** Methods outside the registry (`allow_custom_methods`). */
  readonly customMethods: boolean;
  /** Lets `content-length` stand beside `chunked` and ignores it (`allow_chunked_length`). */
  readonly allowChunkedLength: boolean;
}

/** Methods that Envoy's parser knows. */
const methods: ReadonlySet<string> = new Set(
  (
    'GET POST PUT DELETE HEAD OPTIONS PATCH CONNECT TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND ' +
    'REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK ' +
    'UNLINK SOURCE'
  ).split(' '),
);

/** 1 for bytes that may stand in a field value: visible, space, tab, 0x80-0xff. */
const valueByte = new Uint8Array(256).fill(1);
for (let c = 0; c < 32; c++) valueByte[c] = c === 9 ? 1 : 0;
valueByte[127] = 0;

const framingFlags =
  HeaderFlag.connection |
  HeaderFlag.contentLength |
  HeaderFlag.transferEncoding |
  HeaderFlag.host |
  HeaderFlag.upgrade |
  HeaderFlag.underscore;

/** Index after the start line's CRLF, or the negative of a HeadError. */
function startLineEnd(text: string): number {
  const end = text.indexOf('\r\n');
  return end < 0 ? -HeadError.badStartLine : end;
}

function isVisible(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c <= 32 || c >= 127) return false;
  }
  return true;
}

/**
 * Parses a request head. `host` goes to `authority`, the target as it stands to `path`.
 * @param buf bytes; `text` is their latin1 form from `base` on.
 * @param end index in `buf` after the CRLF of the last field line.
 */
export function parseRequestHead(
  buf: Buffer,
  text: string,
  base: number,
  end: number,
  headers: RequestHeaderMap,
  info: HeadInfo,
  limits: HeadLimits,
): HeadError {
  info.reset();
  const lineEnd = startLineEnd(text);
  if (lineEnd < 0) return HeadError.badStartLine;
  const space = text.indexOf(' ');
  const second = text.indexOf(' ', space + 1);
  if (space <= 0 || second < 0 || second > lineEnd || second === space + 1) return HeadError.badStartLine;
  if (second + 9 !== lineEnd || !text.startsWith('HTTP/1.', second + 1)) {
    return /^HTTP\/\d\.\d$/.test(text.slice(second + 1, lineEnd))
      ? HeadError.unsupportedVersion
      : HeadError.badStartLine;
  }
  const minor = text.charCodeAt(second + 8);
  if (minor === 48) info.minor = 0;
  else if (minor !== 49)
    return minor > 49 && minor <= 57 ? HeadError.unsupportedVersion : HeadError.badStartLine;
  // A literal is internalized: later comparisons are pointer comparisons.
  if (space === 3 && text.startsWith('GET')) headers.method = 'GET';
  else if (space === 4 && text.startsWith('POST')) headers.method = 'POST';
  else {
    const method = text.substring(0, space);
    if (!methods.has(method)) {
      if (!limits.customMethods) return HeadError.unknownMethod;
      for (let i = 0; i < space; i++) if (nameByte[text.charCodeAt(i)] === 0) return HeadError.unknownMethod;
    }
    headers.method = method;
  }
  const path = text.substring(space + 1, second);
  if (!isVisible(path)) return HeadError.badTarget;
  headers.path = path;
  return parseFields(buf, text, base, base + lineEnd + 2, end, headers, headers, info, limits);
}

/** Parses a response head; the reason phrase is dropped. */
export function parseResponseHead(
  buf: Buffer,
  text: string,
  base: number,
  end: number,
  headers: ResponseHeaderMap,
  info: HeadInfo,
  limits: HeadLimits,
): HeadError {
  info.reset();
  const lineEnd = startLineEnd(text);
  if (lineEnd < 12 || !text.startsWith('HTTP/1.')) return HeadError.badStartLine;
  const minor = text.charCodeAt(7);
  if (minor === 48) info.minor = 0;
  else if (minor !== 49) return HeadError.unsupportedVersion;
  if (text.charCodeAt(8) !== 32) return HeadError.badStartLine;
  const a = text.charCodeAt(9) - 48;
  const b = text.charCodeAt(10) - 48;
  const c = text.charCodeAt(11) - 48;
  if (a < 1 || a > 9 || b < 0 || b > 9 || c < 0 || c > 9) return HeadError.badStartLine;
  if (lineEnd > 12 && text.charCodeAt(12) !== 32) return HeadError.badStartLine;
  // The reason says nothing to us, but a line feed in it could end the line for others.
  for (let i = 13; i < lineEnd; i++) if (valueByte[text.charCodeAt(i)] !== 1) return HeadError.badStartLine;
  headers.status = a * 100 + b * 10 + c;
  return parseFields(buf, text, base, base + lineEnd + 2, end, headers, undefined, info, limits);
}

/**
 * Parses field lines from `pos` to `end`. Trailers come here too.
 * @param request receives `host`; undefined for responses and trailers, where it is a header like any other.
 */
export function parseFields(
  buf: Buffer,
  text: string,
  base: number,
  pos: number,
  end: number,
  headers: HeaderMap,
  request: RequestHeaderMap | undefined,
  info: HeadInfo,
  limits: HeadLimits,
): HeadError {
  const { names, values } = headers;
  let seen = 0;
  let count = 0;
  while (pos < end) {
    const start = pos;
    let hash = 0;
    let c = buf[pos] as number;
    for (let lower = nameByte[c] as number; lower !== 0; lower = nameByte[c] as number) {
      hash = (Math.imul(hash, 31) + lower) | 0;
      c = buf[++pos] as number;
    }
    if (c !== 58 || pos === start) {
      return c === 32 || c === 9
        ? pos === start
          ? HeadError.foldedHeader
          : HeadError.badHeaderName
        : HeadError.badHeaderName;
    }
    const nameEnd = pos;
    c = buf[++pos] as number;
    while (c === 32 || c === 9) c = buf[++pos] as number;
    const valueStart = pos;
    while (valueByte[c] === 1) c = buf[++pos] as number;
    if (c !== 13) return c === 10 ? HeadError.bareLineFeed : HeadError.badHeaderValue;
    if (buf[pos + 1] !== 10) return HeadError.bareLineFeed;
    let valueEnd = pos;
    pos += 2;
    while (valueEnd > valueStart) {
      const last = buf[valueEnd - 1];
      if (last !== 32 && last !== 9) break;
      valueEnd--;
    }
    if (++count > limits.maxHeaders) return HeadError.tooManyHeaders;
    const known = internName(buf, start, nameEnd, hash);
    const value = text.substring(valueStart - base, valueEnd - base);
    const flag = known.flag;
    if ((flag & framingFlags) !== 0) {
      if (flag === HeaderFlag.host && request !== undefined) {
        if ((seen & HeaderFlag.host) !== 0) return HeadError.repeatedHost;
        seen |= flag;
        request.authority = value;
        continue;
      }
      if ((flag & HeaderFlag.underscore) !== 0) {
        if (limits.underscores === 'reject') return HeadError.underscoreHeader;
        if (limits.underscores === 'drop') continue;
      } else {
        const error = readFraming(flag, value, seen, info);
        if (error !== HeadError.none) return error;
        // `connection` that only says close or keep-alive has said it to us: it goes no further.
        if (flag === HeaderFlag.connection && !info.connectionUpgrade && !info.connectionNominates) continue;
      }
    }
    seen |= flag;
    names.push(known.name);
    values.push(value);
  }
  headers.seen = seen;
  if (info.chunked && info.contentLength >= 0) {
    if (!limits.allowChunkedLength) return HeadError.lengthAndChunked;
    info.contentLength = -1;
    headers.remove('content-length');
  }
  return HeadError.none;
}

function readFraming(flag: number, value: string, seen: number, info: HeadInfo): HeadError {
  switch (flag) {
    case HeaderFlag.contentLength:
      if ((seen & HeaderFlag.contentLength) !== 0) return HeadError.repeatedContentLength;
      info.contentLength = parseContentLength(value);
      return info.contentLength < 0 ? HeadError.badContentLength : HeadError.none;
    case HeaderFlag.transferEncoding:
      // Codings other than chunked, and chunked given twice, are refused: who frames such a body differs by server.
      if (info.chunked || value.length !== 7 || value.toLowerCase() !== 'chunked')
        return HeadError.unknownTransferEncoding;
      info.chunked = true;
      return HeadError.none;
    case HeaderFlag.connection:
      readConnection(value, info);
      return HeadError.none;
    case HeaderFlag.upgrade:
      info.upgrade = value.toLowerCase();
      return HeadError.none;
    default:
      return HeadError.none;
  }
}

function readConnection(value: string, info: HeadInfo): void {
  if (value === 'keep-alive' || value === 'Keep-Alive') {
    info.keepAlive = true;
    return;
  }
  if (value === 'close') {
    info.close = true;
    return;
  }
  for (const part of value.split(',')) {
    const token = part.trim().toLowerCase();
    if (token === 'close') info.close = true;
    else if (token === 'keep-alive') info.keepAlive = true;
    else if (token === 'upgrade') info.connectionUpgrade = true;
    else if (token !== '') info.connectionNominates = true;
  }
}

/** Digits only, at most 2^53-1; -1 for anything else. */
export function parseContentLength(value: string): number {
  const length = value.length;
  if (length === 0 || length > 16) return -1;
  let result = 0;
  for (let i = 0; i < length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    result = result * 10 + digit;
  }
  return result <= Number.MAX_SAFE_INTEGER ? result : -1;
}
