/** Rules on addresses: ranges of IP addresses of either side. */
import type { CidrRange } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import type { Address } from '../../network/address.ts';
import { cidrContains, createCidr, type IpBytes, parseIp } from '../../network/ip.ts';
import type { RbacMatcher, RbacSubject } from './subject.ts';

/** Bytes of the addresses of open connections; parsed once each. */
const parsed = new WeakMap<Address, { readonly bytes: IpBytes | undefined }>();

function bytesOf(address: Address): IpBytes | undefined {
  let found = parsed.get(address);
  if (found === undefined) {
    found = { bytes: parseIp(address.ip) };
    parsed.set(address, found);
  }
  return found.bytes;
}

/** True when the address that `pick` gives lies in the range; never for Unix sockets. */
export function compileCidrRule(range: CidrRange, pick: (subject: RbacSubject) => Address): RbacMatcher {
  const block = createCidr(range.addressPrefix, range.prefixLen ?? 0);
  return (subject) => {
    const bytes = bytesOf(pick(subject));
    return bytes !== undefined && cidrContains(block, bytes);
  };
}

/** Address and port of the destination, after original_dst. */
export const destinationOf = ({ connection }: RbacSubject): Address => connection.localAddress;
/** The peer, after the PROXY protocol (`source_ip`). */
export const connectionRemoteOf = ({ connection }: RbacSubject): Address => connection.remoteAddress;
/** The peer of the socket itself (`direct_remote_ip`). */
export const directRemoteOf = ({ connection }: RbacSubject): Address => connection.directRemoteAddress;
/** The client as the request tells it, by x-forwarded-for (`remote_ip`). */
export const remoteOf = ({ connection, streamInfo }: RbacSubject): Address =>
  streamInfo === undefined ? connection.remoteAddress : streamInfo.remoteAddress;
