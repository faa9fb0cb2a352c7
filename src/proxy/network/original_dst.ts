/** The destination a connection had before a netfilter REDIRECT rule sent it to the proxy. */
import type { Socket } from 'node:net';
import type { Address } from './address.ts';
import { formatIp } from './ip.ts';
import { SocketOption, descriptorOf, getSocketOption } from './socket_options.ts';

// sockaddr_in is 16 bytes, sockaddr_in6 28. Reused: the kernel overwrites what is read from it.
const sockaddr = Buffer.alloc(28);

/**
 * Undefined when conntrack does not know the connection (it was not redirected).
 * @throws SocketOptionsUnavailable without node:ffi.
 */
export function getOriginalDestination(socket: Socket): Address | undefined {
  const fd = descriptorOf(socket);
  const local = socket.localAddress;
  if (local === undefined) return undefined;
  // A dual-stack socket carries IPv4 as mapped addresses; those connections are known to the IPv4 table only.
  if (!local.includes(':') || local.startsWith('::ffff:')) {
    const length = getSocketOption(
      fd,
      SocketOption.SOL_IP,
      SocketOption.SO_ORIGINAL_DST,
      sockaddr.subarray(0, 16),
    );
    if (length < 8) return undefined;
    return { ip: formatIp(sockaddr.subarray(4, 8)), port: sockaddr.readUInt16BE(2) };
  }
  const length = getSocketOption(fd, SocketOption.SOL_IPV6, SocketOption.IP6T_SO_ORIGINAL_DST, sockaddr);
  if (length < 24) return undefined;
  return { ip: formatIp(sockaddr.subarray(8, 24)), port: sockaddr.readUInt16BE(2) };
}
