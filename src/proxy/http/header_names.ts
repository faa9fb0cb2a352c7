/**
 * Interned lower-case header names. The parser finds a name by the bytes of the wire without making a string first; each
 * name carries a flag bit, so that the connection manager can skip work for headers that did not come. Names from peers
 * are learned up to a bound. On the hot path: bench/micro/http1_parse.ts.
 */

import { latin1Slice } from './latin1.ts';

/** Bits of `HeaderMap.seen`, for the names the proxy itself acts on. */
export const HeaderFlag = {
  connection: 1 << 0,
  contentLength: 1 << 1,
  transferEncoding: 1 << 2,
  host: 1 << 3,
  upgrade: 1 << 4,
  expect: 1 << 5,
  te: 1 << 6,
  /** `keep-alive`, `proxy-connection`, `http2-settings`. */
  hopByHop: 1 << 7,
  forwardedFor: 1 << 8,
  forwardedProto: 1 << 9,
  forwardedClientCert: 1 << 10,
  requestId: 1 << 11,
  /** Any name that starts with `x-envoy-`. */
  envoy: 1 << 12,
  via: 1 << 13,
  date: 1 << 14,
  server: 1 << 15,
  /** Any name with an underscore. */
  underscore: 1 << 16,
  contentType: 1 << 17,
  grpcTimeout: 1 << 18,
  forwardedHost: 1 << 19,
  userAgent: 1 << 20,
} as const;

/** One known name. `flag` is 0 for names without one. */
export interface HeaderName {
  readonly name: string;
  readonly flag: number;
}

const flagsByName: Readonly<Record<string, number>> = {
  connection: HeaderFlag.connection,
  'content-length': HeaderFlag.contentLength,
  'transfer-encoding': HeaderFlag.transferEncoding,
  host: HeaderFlag.host,
  upgrade: HeaderFlag.upgrade,
  expect: HeaderFlag.expect,
  te: HeaderFlag.te,
  'keep-alive': HeaderFlag.hopByHop,
  'proxy-connection': HeaderFlag.hopByHop,
  'http2-settings': HeaderFlag.hopByHop,
  'x-forwarded-for': HeaderFlag.forwardedFor,
  'x-forwarded-proto': HeaderFlag.forwardedProto,
  'x-forwarded-client-cert': HeaderFlag.forwardedClientCert,
  'x-request-id': HeaderFlag.requestId,
  via: HeaderFlag.via,
  date: HeaderFlag.date,
  server: HeaderFlag.server,
  'content-type': HeaderFlag.contentType,
  'grpc-timeout': HeaderFlag.grpcTimeout,
  'x-forwarded-host': HeaderFlag.forwardedHost,
  'user-agent': HeaderFlag.userAgent,
};

/** Names often seen, learned at start so that they are never counted against the bound. */
const commonNames: readonly string[] = [
  'accept',
  'accept-encoding',
  'accept-language',
  'accept-ranges',
  'age',
  'authorization',
  'b3',
  'baggage',
  'cache-control',
  'content-encoding',
  'content-language',
  'content-security-policy',
  'cookie',
  'etag',
  'expires',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'last-modified',
  'location',
  'origin',
  'pragma',
  'range',
  'referer',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'set-cookie',
  'strict-transport-security',
  'trailer',
  'traceparent',
  'tracestate',
  'vary',
  'www-authenticate',
  'x-b3-flags',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-spanid',
  'x-b3-traceid',
  'x-content-type-options',
  'x-envoy-attempt-count',
  'x-envoy-decorator-operation',
  'x-envoy-external-address',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-original-path',
  'x-envoy-peer-metadata',
  'x-envoy-peer-metadata-id',
  'x-envoy-upstream-service-time',
  'x-forwarded-port',
  'x-frame-options',
  'x-real-ip',
];

const slotCount = 2048;
const mask = slotCount - 1;
/** Most names learned from peers; later ones are made anew each time. */
const maxLearned = 1024;
/** Longer names are not learned. */
const maxLearnedLength = 64;

/** Lower case of each byte that may stand in a header name (RFC 9110 5.6.2 token), 0 for all others. */
export const nameByte: Uint8Array = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
  nameByte[c.charCodeAt(0)] = c.charCodeAt(0);
for (let c = 65; c <= 90; c++) nameByte[c] = c + 32;

interface Slot extends HeaderName {
  readonly hash: number;
  readonly bytes: Uint8Array;
}

const slots: (Slot | undefined)[] = Array.from({ length: slotCount }, () => undefined);
let learned = 0;

/** Flag of a lower-case name. */
export function flagOf(name: string): number {
  const flag = flagsByName[name];
  if (flag !== undefined) return flag;
  return (
    (name.startsWith('x-envoy-') ? HeaderFlag.envoy : 0) | (name.includes('_') ? HeaderFlag.underscore : 0)
  );
}

/** Same hash as the parser's loop over the bytes of a name, in lower case. */
function hashOf(name: string): number {
  let hash = 0;
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) | 0;
  return hash;
}

function insert(name: string, hash: number): Slot {
  // A string that was a property key is internalized: comparing it with literals is one pointer comparison.
  const interned = Object.keys({ [name]: 0 })[0] as string;
  const slot = { name: interned, flag: flagOf(interned), hash, bytes: Buffer.from(interned, 'latin1') };
  let i = hash & mask;
  while (slots[i] !== undefined) i = (i + 1) & mask;
  slots[i] = slot;
  return slot;
}

for (const name of [...Object.keys(flagsByName), ...commonNames]) insert(name, hashOf(name));

/**
 * The name whose bytes stand in `buf` from `start` to `end`, in any case.
 * @param hash of the lower-case bytes: h = h * 31 + byte, as int32.
 */
export function internName(buf: Buffer, start: number, end: number, hash: number): HeaderName {
  const length = end - start;
  let i = hash & mask;
  for (let slot = slots[i]; slot !== undefined; slot = slots[i]) {
    if (slot.hash === hash && slot.bytes.length === length) {
      const { bytes } = slot;
      let k = 0;
      while (k < length && bytes[k] === nameByte[buf[start + k] as number]) k++;
      if (k === length) return slot;
    }
    i = (i + 1) & mask;
  }
  const name = latin1Slice(buf, start, end).toLowerCase();
  if (learned < maxLearned && length <= maxLearnedLength) {
    learned++;
    return insert(name, hash);
  }
  return { name, flag: flagOf(name) };
}
