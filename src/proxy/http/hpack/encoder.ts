/**
 * HPACK encoding (RFC 7541) as latin1 text, without a dynamic table: measured, a table costs more than the bytes it saves
 * inside a mesh, and a block that depends on nothing may be written at any time. The first block of a connection says that
 * the table has size 0, which holds under whatever size the peer allows later. On the hot path: bench/micro/http2_codec.ts.
 */
import { staticNames } from './static_table.ts';

/** First byte of the first block: dynamic table size update to 0 (RFC 7541 6.3). */
export const emptyTableUpdate = '\x20';

/** Never indexed by anybody on the way (RFC 7541 7.1.3). */
const sensitive: ReadonlySet<string> = new Set([
  'authorization',
  'cookie',
  'proxy-authorization',
  'set-cookie',
]);

/** Connection-specific fields that HTTP/2 does not carry (RFC 9113 8.2.2). */
const connectionSpecific: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** An integer with a prefix of `bits` bits under `pattern` (RFC 7541 5.1). */
export function integerText(value: number, bits: number, pattern: number): string {
  const mask = (1 << bits) - 1;
  if (value < mask) return String.fromCharCode(pattern | value);
  let text = String.fromCharCode(pattern | mask);
  let rest = value - mask;
  for (; rest > 127; rest = Math.floor(rest / 128)) text += String.fromCharCode((rest % 128) | 128);
  return text + String.fromCharCode(rest);
}

const lengthTexts: string[] = [];
for (let length = 0; length < 1024; length++) lengthTexts.push(integerText(length, 7, 0));

/** Length of a string that is not Huffman-coded (RFC 7541 5.2). */
function lengthText(length: number): string {
  return length < 1024 ? (lengthTexts[length] as string) : integerText(length, 7, 0);
}

/** Text of `name` as the start of a literal field; empty for fields that are left out. */
const nameTexts = new Map<string, string>();
/** Names from peers are remembered up to this many and this long. */
const maxNames = 2048;
const maxNameLength = 64;

function makeNameText(name: string): string {
  if (connectionSpecific.has(name)) return '';
  const index = staticNames.get(name) ?? 0;
  const start = integerText(index, 4, sensitive.has(name) ? 0x10 : 0);
  return index > 0 ? start : start + lengthText(name.length) + name;
}

function nameText(name: string): string {
  const known = nameTexts.get(name);
  if (known !== undefined) return known;
  const text = makeNameText(name);
  if (nameTexts.size < maxNames && name.length <= maxNameLength) nameTexts.set(name, text);
  return text;
}

/** A literal field; empty for connection-specific ones and for `te` other than `trailers`. */
export function encodeField(name: string, value: string): string {
  const text = nameText(name);
  if (text === '' || (name === 'te' && value !== 'trailers')) return '';
  return text + lengthText(value.length) + value;
}

/** All fields of two parallel lists, without pseudo headers. */
export function encodeFieldList(names: readonly string[], values: readonly string[]): string {
  let block = '';
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    const value = values[i] as string;
    const text = nameTexts.get(name) ?? nameText(name);
    if (text === '' || (name === 'te' && value !== 'trailers')) continue;
    block += text + lengthText(value.length) + value;
  }
  return block;
}

const statusTexts = new Map<number, string>();
for (const [status, index] of [
  [200, 8],
  [204, 9],
  [206, 10],
  [304, 11],
  [400, 12],
  [404, 13],
  [500, 14],
] as const)
  statusTexts.set(status, String.fromCharCode(0x80 | index));

/** `:status`. */
export function encodeStatus(status: number): string {
  let text = statusTexts.get(status);
  if (text === undefined) {
    text = '\x08\x03' + String(status).padStart(3, '0').slice(0, 3);
    if (status >= 100 && status < 1000) statusTexts.set(status, text);
  }
  return text;
}

/** `:method`. */
export function encodeMethod(method: string): string {
  if (method === 'GET') return '\x82';
  if (method === 'POST') return '\x83';
  return '\x02' + lengthText(method.length) + method;
}

/** `:scheme`. */
export function encodeScheme(scheme: string): string {
  if (scheme === 'http') return '\x86';
  if (scheme === 'https') return '\x87';
  return '\x06' + lengthText(scheme.length) + scheme;
}

/** `:path`. */
export function encodePath(path: string): string {
  return path === '/' ? '\x84' : '\x04' + lengthText(path.length) + path;
}

/** `:authority`. */
export function encodeAuthority(authority: string): string {
  return '\x01' + lengthText(authority.length) + authority;
}

/** `:protocol` (RFC 8441). */
export function encodeProtocol(protocol: string): string {
  return '\x00\x09:protocol' + lengthText(protocol.length) + protocol;
}
