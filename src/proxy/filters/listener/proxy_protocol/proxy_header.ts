/** PROXY protocol header, versions 1 and 2 (haproxy.org, proxy-protocol.txt 2026-01). */
import type { Address } from '../../../network/address.ts';
import { formatIp, parseIp } from '../../../network/ip.ts';

/** Longest text header with its line end. */
const maxTextBytes = 107;
/** Longest binary header that is accepted, TLVs included. */
export const maxHeaderBytes: number = 16 + 4096;

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
    };

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
  if (family === 'UNKNOWN') return { kind: 'header', length, source: undefined, destination: undefined };
  if (family !== 'TCP4' && family !== 'TCP6') return bad(`unknown protocol family ${JSON.stringify(family)}`);
  const source = { ip: from, port: readPort(fromPort) };
  const destination = { ip: to, port: readPort(toPort) };
  const six = family === 'TCP6';
  for (const { ip, port } of [source, destination])
    if (parseIp(ip) === undefined || ip.includes(':') !== six || port < 0) return bad('malformed addresses');
  return rest.length > 0
    ? bad('more fields than a header has')
    : { kind: 'header', length, source, destination };
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
  if (command === 0) return { kind: 'header', length, source: undefined, destination: undefined };
  const width = family >> 4 === 1 ? 4 : family >> 4 === 2 ? 16 : 0;
  if (width === 0 || (family & 15) !== 1) return bad(`unsupported address family 0x${family.toString(16)}`);
  if (addressBytes < width * 2 + 4) return bad('the address block is too short');
  const ip = (at: number): string => formatIp(data.subarray(at, at + width));
  const ports = 16 + width * 2;
  return {
    kind: 'header',
    length,
    source: { ip: ip(16), port: data.readUInt16BE(ports) },
    destination: { ip: ip(16 + width), port: data.readUInt16BE(ports + 2) },
  };
}

/** Looks at the bytes seen so far; never throws. */
export function parseProxyHeader(data: Buffer): ProxyHeader {
  if (startsLike(data, binarySignature)) return readBinary(data);
  if (startsLike(data, textSignature))
    return data.length < textSignature.length ? { kind: 'more' } : readText(data);
  return { kind: 'none' };
}
