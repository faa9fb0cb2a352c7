import { isIPv4, isIPv6 } from 'node:net';

/** The family of a rule set. */
export type Family = 'v4' | 'v6';

/** One address range as rules print it: the address keeps its host bits, IPv6 is in its shortest form. */
export interface Cidr {
  readonly family: Family;
  readonly text: string;
  readonly bits: number;
  /** The address (not the range) is a loopback address. */
  readonly loopback: boolean;
}

const cidrForm = /^([^/%]+)\/(0|[1-9]\d{0,2})$/;

/** Parses `address/bits`; undefined when it is none. A bare address is none. */
export function parseCidr(value: string): Cidr | undefined {
  const [, address = '', size = ''] = cidrForm.exec(value) ?? [];
  const bits = Number(size);
  if (isIPv4(address) && bits <= 32)
    return { family: 'v4', text: `${address}/${bits}`, bits, loopback: address.startsWith('127.') };
  if (isIPv6(address) && bits <= 128) {
    const shortest = shortestIpv6(address);
    return { family: 'v6', text: `${shortest}/${bits}`, bits, loopback: shortest === '::1' };
  }
  return undefined;
}

/** RFC 5952 form of an IPv6 address. */
export function shortestIpv6(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}

/** Splits addresses by family, in order; zones are dropped and what is no address is left out. */
export function splitByFamily(addresses: readonly string[]): Record<Family, string[]> {
  const plain = addresses.map((address) => address.replace(/%.*$/, ''));
  return { v4: plain.filter((address) => isIPv4(address)), v6: plain.filter((address) => isIPv6(address)) };
}
