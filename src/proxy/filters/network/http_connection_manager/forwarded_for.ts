/** The client's address from `x-forwarded-for`, and whether it counts as internal. */
import type { HttpConnectionManager_InternalAddressConfig as InternalConfig } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { networkInterfaces } from 'node:os';
import type { Address } from '../../../network/address.ts';
import { type IpBytes, parseIp } from '../../../network/ip.ts';

/** Address from a list and whether the list had no other. */
export interface ForwardedAddress {
  readonly ip: string;
  readonly single: boolean;
}

/** The entry `skip` places from the right; undefined when it is no IP address. */
export function addressFromForwardedFor(value: string, skip: number): ForwardedAddress | undefined {
  const parts = value.split(',');
  const at = parts.length - 1 - skip;
  let text = parts[at]?.trim() ?? '';
  if (text.startsWith('[')) text = text.slice(1, text.indexOf(']'));
  else if (text.includes('.') && text.includes(':')) text = text.slice(0, text.indexOf(':'));
  return parseIp(text) === undefined ? undefined : { ip: text, single: parts.length === 1 };
}

export type InternalAddresses = (address: Address) => boolean;

function contains(range: { readonly bytes: IpBytes; readonly bits: number }, ip: IpBytes): boolean {
  if (range.bytes.length !== ip.length) return false;
  for (let bit = 0; bit < range.bits; bit += 8) {
    const width = Math.min(8, range.bits - bit);
    const mask = (0xff << (8 - width)) & 0xff;
    if (((range.bytes[bit >> 3] as number) & mask) !== ((ip[bit >> 3] as number) & mask)) return false;
  }
  return true;
}

/** Without configuration no address is internal, as in Envoy since 1.33. Throws Error for a bad range. */
export function internalAddresses(config: InternalConfig | undefined): InternalAddresses | undefined {
  if (config === undefined) return undefined;
  const ranges = config.cidrRanges.map((range) => {
    const bytes = parseIp(range.addressPrefix);
    if (bytes === undefined) throw new Error(`internal_address_config: bad address '${range.addressPrefix}'`);
    return { bytes, bits: Math.min(range.prefixLen ?? 0, bytes.length * 8) };
  });
  return (address) => {
    if (address.port < 0) return config.unixSockets;
    const ip = parseIp(address.ip);
    return ip !== undefined && ranges.some((range) => contains(range, ip));
  };
}

let own: string | undefined;

/** Our address as others see it: stands in `x-forwarded-for` for clients on this machine. */
export function localNodeIp(): string {
  if (own === undefined) {
    const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    own = all.find((entry) => entry.family === 'IPv4' && !entry.internal)?.address ?? '127.0.0.1';
  }
  return own;
}

export function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.');
}
