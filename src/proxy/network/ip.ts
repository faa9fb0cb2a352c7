/** IP addresses as bytes and CIDR ranges (envoy.config.core.v3.CidrRange). */
import { isIPv4, isIPv6 } from 'node:net';

/** An address as big-endian bytes: 4 for IPv4, 16 for IPv6. */
export type IpBytes = Uint8Array;

function parseIpv4(text: string, out: Uint8Array, offset: number): void {
  let value = 0;
  let at = offset;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 46) {
      out[at++] = value;
      value = 0;
    } else value = value * 10 + c - 48;
  }
  out[at] = value;
}

function parseIpv6(text: string): Uint8Array {
  const out = new Uint8Array(16);
  const zone = text.indexOf('%');
  const plain = zone < 0 ? text : text.slice(0, zone);
  const gap = plain.indexOf('::');
  const head = gap < 0 ? plain : plain.slice(0, gap);
  const tail = gap < 0 ? '' : plain.slice(gap + 2);
  writeGroups(out, head, false);
  writeGroups(out, tail, true);
  return out;
}

/** Writes `a:b:1.2.3.4` from the front, or so that it ends at the last byte. */
function writeGroups(out: Uint8Array, text: string, atEnd: boolean): void {
  if (text === '') return;
  const groups = text.split(':');
  const last = groups[groups.length - 1] ?? '';
  const bytes = groups.length * 2 + (last.includes('.') ? 2 : 0);
  let at = atEnd ? 16 - bytes : 0;
  for (const group of groups) {
    if (group.includes('.')) {
      parseIpv4(group, out, at);
      at += 4;
      continue;
    }
    const value = Number.parseInt(group, 16);
    out[at++] = value >> 8;
    out[at++] = value & 0xff;
  }
}

/** Bytes of an address, or undefined when the text is none. IPv4-mapped IPv6 gives the IPv4 address. */
export function parseIp(text: string): IpBytes | undefined {
  if (isIPv4(text)) {
    const out = new Uint8Array(4);
    parseIpv4(text, out, 0);
    return out;
  }
  if (!isIPv6(text)) return undefined;
  const out = parseIpv6(text);
  for (let i = 0; i < 10; i++) if (out[i] !== 0) return out;
  return out[10] === 0xff && out[11] === 0xff ? out.subarray(12) : out;
}

/** Text of an address; IPv6 in the short form of RFC 5952. */
export function formatIp(bytes: IpBytes): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number));
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) {
      best = i;
      bestLength = length;
    }
  }
  const hex = groups.map((group) => group.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}

/** A range of addresses of one family. */
export interface CidrBlock {
  /** Bytes of the network, host bits cleared. */
  readonly prefix: IpBytes;
  /** 0-32 or 0-128. */
  readonly bits: number;
}

/**
 * @param bits prefix length; cut to the width of the address, as Envoy does.
 * @throws Error when the prefix is no IP address.
 */
export function createCidr(prefix: string, bits: number): CidrBlock {
  const bytes = parseIp(prefix);
  if (bytes === undefined) throw new Error(`not an IP address: ${JSON.stringify(prefix)}`);
  // A mapped range such as ::ffff:10.0.0.0/104 means the IPv4 one.
  const mapped = bytes.length === 4 && prefix.includes(':');
  const length = Math.min(Math.max(mapped ? bits - 96 : bits, 0), bytes.length * 8);
  const cleared = Uint8Array.from(bytes, (byte, i) => byte & maskByte(length, i));
  return { prefix: cleared, bits: length };
}

function maskByte(bits: number, index: number): number {
  const left = bits - index * 8;
  return left >= 8 ? 0xff : left <= 0 ? 0 : (0xff << (8 - left)) & 0xff;
}

/** Whether the block holds the address; never across families. */
export function cidrContains(block: CidrBlock, ip: IpBytes): boolean {
  const { prefix, bits } = block;
  if (prefix.length !== ip.length) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (prefix[i] !== ip[i]) return false;
  return (bits & 7) === 0 || ((ip[whole] as number) & maskByte(bits, whole)) === prefix[whole];
}

/** 127.0.0.0/8 or ::1. */
export function isLoopback(ip: IpBytes): boolean {
  if (ip.length === 4) return ip[0] === 127;
  return ip[15] === 1 && ip.subarray(0, 15).every((byte) => byte === 0);
}
