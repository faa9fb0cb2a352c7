/** Addresses and address ranges of Envoy's API. */
import { isIPv6 } from 'node:net';
import { create } from '@bufbuild/protobuf';
import {
  type Address,
  AddressSchema,
  type CidrRange,
  CidrRangeSchema,
} from '#api/gen/envoy/config/core/v3/address_pb.ts';

/** A TCP address, or a Unix socket when the address is a path (`/…`, or `@…` in the abstract namespace). */
export function buildAddress(address: string, port: number): Address {
  if (address.startsWith('/') || address.startsWith('@')) {
    return create(AddressSchema, { address: { case: 'pipe', value: { path: address } } });
  }
  return create(AddressSchema, {
    address: {
      case: 'socketAddress',
      value: { address, portSpecifier: { case: 'portValue', value: port } },
    },
  });
}

/** A range from `10.0.0.0/8`; an address alone is a range of one. */
export function buildCidr(text: string): CidrRange {
  const slash = text.indexOf('/');
  const addressPrefix = slash < 0 ? text : text.slice(0, slash);
  const prefixLen = slash < 0 ? (isIPv6(addressPrefix) ? 128 : 32) : Number(text.slice(slash + 1));
  return create(CidrRangeSchema, { addressPrefix, prefixLen });
}

/** The address that stands for all of them, of the family of the given one. */
export function wildcardAddress(like: string): string {
  return isIPv6(like) ? '::' : '0.0.0.0';
}

/** Whether an address belongs to the machine itself. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}
