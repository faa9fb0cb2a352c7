/** PROXY protocol header, versions 1 and 2 (haproxy.org, proxy-protocol.txt 2026-01). */
import type { Address } from './address.ts';
import { formatIp, parseIp } from './ip.ts';

/** Longest text header with its line end. */
const maxTextBytes = 107;
/** Longest binary header that is accepted, TLVs included. */
export const maxHeaderBytes: number = 16 + 16 * 1024;
/** TLVs of one header; more are refused. */
const maxTlvs = 256;

/** A type-length-value of a binary header. */
export interface ProxyTlv {
  /** 0 to 255. */
  readonly type: number;
  readonly value: Buffer;
}

/** What a PROXY header tells of a connection, and what one to an upstream shall tell. */
export interface ProxyInfo {
  readonly source: Address;
  readonly destination: Address;
  readonly tlvs: readonly ProxyTlv[];
}

const binarySignature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

/** What the first bytes are. `source` is undefined for LOCAL and UNKNOWN: the connection's own addresses count. */
export type ProxyHeader =
  | { readonly kind: 'more' }
  | { readonly kind: 'none' }
  | { readonly kind: 'bad'; readonly reason: string }
  | {
      readonly kind: 'header';
      readonly length: number;
      readonly source: Address | undefined;
      readonly destination: Address | undefined;
      readonly tlvs: readonly ProxyTlv[];
    };

const noTlvs: readonly ProxyTlv[] = [];

function bad(reason: string): ProxyHeader {
  return { kind: 'bad', reason };
}

function startsLike(data: Buffer, signature: Buffer): boolean {
  const length = Math.min(data.length, signature.length);
  return data.compare(signature, 0, length, 0, length) === 0;
}

const textSignature = Buffer.from('PROXY ');

function readPort(text: string): number {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535 ? Number(text) : -1;
}

function readText(data: Buffer): ProxyHeader {
  const end = data.subarray(0, maxTextBytes).indexOf('\r\n');
  if (end < 0) return data.length >= maxTextBytes ? bad('the header line does not end') : { kind: 'more' };
  const [, family, from = '', to = '', fromPort = '', toPort = '', ...rest] = data
    .toString('latin1', 0, end)
    .split(' ');
  const length = end + 2;
  if (family === 'UNKNOWN')
    return { kind: 'header', length, source: undefined, destination: undefined, tlvs: noTlvs };
  if (family !== 'TCP4' && family !== 'TCP6') return bad(`unknown protocol family ${JSON.stringify(family)}`);
  const source = { ip: from, port: readPort(fromPort) };
  const destination = { ip: to, port: readPort(toPort) };
  const six = family === 'TCP6';
  for (const { ip, port } of [source, destination])
    if (parseIp(ip) === undefined || ip.includes(':') !== six || port < 0) return bad('malformed addresses');
  return rest.length > 0
    ? bad('more fields than a header has')
    : { kind: 'header', length, source, destination, tlvs: noTlvs };
}

function readBinary(data: Buffer): ProxyHeader {
  if (data.length < 16) return { kind: 'more' };
  const version = (data[12] as number) >> 4;
  const command = (data[12] as number) & 15;
  const family = data[13] as number;
  const addressBytes = data.readUInt16BE(14);
  const length = 16 + addressBytes;
  if (version !== 2 || command > 1) return bad(`unsupported version or command 0x${data[12]?.toString(16)}`);
  if (length > maxHeaderBytes) return bad(`a header of ${length} bytes`);
  if (data.length < length) return { kind: 'more' };
  if (command === 0)
    return { kind: 'header', length, source: undefined, destination: undefined, tlvs: noTlvs };
  const width = family >> 4 === 1 ? 4 : family >> 4 === 2 ? 16 : 0;
  if (width === 0 || (family & 15) !== 1) return bad(`unsupported address family 0x${family.toString(16)}`);
  if (addressBytes < width * 2 + 4) return bad('the address block is too short');
  const ip = (at: number): string => formatIp(data.subarray(at, at + width));
  const ports = 16 + width * 2;
  const tlvs = readTlvs(data.subarray(ports + 4, length));
  if (tlvs === undefined) return bad('malformed TLVs');
  return {
    kind: 'header',
    length,
    source: { ip: ip(16), port: data.readUInt16BE(ports) },
    destination: { ip: ip(16 + width), port: data.readUInt16BE(ports + 2) },
    tlvs,
  };
}

function readTlvs(data: Buffer): readonly ProxyTlv[] | undefined {
  if (data.length === 0) return noTlvs;
  const tlvs: ProxyTlv[] = [];
  for (let at = 0; at < data.length;) {
    if (data.length - at < 3 || tlvs.length === maxTlvs) return undefined;
    const end = at + 3 + data.readUInt16BE(at + 1);
    if (end > data.length) return undefined;
    // Copied: the header's memory is not kept for it.
    tlvs.push({ type: data[at] as number, value: Buffer.from(data.subarray(at + 3, end)) });
    at = end;
  }
  return tlvs;
}

/** Looks at the bytes seen so far; never throws. */
export function parseProxyHeader(data: Buffer): ProxyHeader {
  if (startsLike(data, binarySignature)) return readBinary(data);
  if (startsLike(data, textSignature))
    return data.length < textSignature.length ? { kind: 'more' } : readText(data);
  return { kind: 'none' };
}

/** A text header; `UNKNOWN` for addresses of two families and for Unix sockets. */
export function encodeTextHeader(source: Address, destination: Address): Buffer {
  const six = source.ip.includes(':');
  if (source.port < 0 || destination.port < 0 || six !== destination.ip.includes(':'))
    return Buffer.from('PROXY UNKNOWN\r\n');
  const family = six ? 'TCP6' : 'TCP4';
  return Buffer.from(`PROXY ${family} ${source.ip} ${destination.ip} ${source.port} ${destination.port}\r\n`);
}

/**
 * A binary header. Without `info`, and for addresses of two families or Unix sockets, a LOCAL one that tells nothing. TLVs that
 * would not fit are left out from the first such on.
 */
export function encodeBinaryHeader(info: ProxyInfo | undefined): Buffer {
  const from = info === undefined || info.source.port < 0 ? undefined : parseIp(info.source.ip);
  const to = info === undefined || info.destination.port < 0 ? undefined : parseIp(info.destination.ip);
  if (info === undefined || from === undefined || to === undefined || from.length !== to.length)
    return Buffer.concat([binarySignature, Buffer.of(0x20, 0, 0, 0)]);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(info.source.port, 0);
  ports.writeUInt16BE(info.destination.port, 2);
  const parts: Uint8Array[] = [from, to, ports];
  let length = from.length * 2 + 4;
  for (const { type, value } of info.tlvs) {
    if (length + 3 + value.length > 0xffff) break;
    parts.push(Buffer.of(type, value.length >> 8, value.length & 0xff), value);
    length += 3 + value.length;
  }
  const head = Buffer.of(0x21, from.length === 4 ? 0x11 : 0x21, length >> 8, length & 0xff);
  return Buffer.concat([binarySignature, head, ...parts]);
}
