/**
 * Sockets bound to an address of somebody else: TPROXY capture keeps the client's address towards the application
 * (envoy.filters.listener.original_src), listeners may take addresses that are not there yet (`freebind`). Node cannot set options of a socket before it is bound, so it is made by node:ffi and
 * handed over as a descriptor.
 */
import { closeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { Address } from './address.ts';
import { parseIp } from './ip.ts';
import { SocketOption, setSocketOption } from './socket_options.ts';

/** Source of a connection. */
export interface UpstreamSource {
  /** Port 0: the kernel chooses one when it connects. */
  readonly address: Address;
  /** Packet mark (SO_MARK) that the routing rules of the capture look for; 0 for none. */
  readonly mark: number;
}

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC_NONBLOCK = 0o2000000 | 0o4000;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const IPV6_V6ONLY = 26;
/** linux/in.h: the port is chosen by connect(2), where the four-tuple is known. */
const IP_BIND_ADDRESS_NO_PORT = 24;

interface Native {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
}

let native: Native | undefined;

function load(): Native {
  if (native === undefined) {
    const ffi = createRequire(import.meta.url)('node:ffi') as typeof import('node:ffi');
    const { functions } = ffi.dlopen(null, {
      socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
      bind: { arguments: ['int32', 'pointer', 'uint32'], return: 'int32' },
    });
    native = functions as Native;
  }
  return native;
}

/**
 * Descriptor of a socket that is bound to an address this machine may not have (yet), for a listener with `freebind` or
 * `transparent`: both must be set before the address is.
 * @throws Error when the kernel refuses.
 */
export function bindListenSocket(
  address: Address,
  options: { readonly freebind: boolean; readonly transparent: boolean; readonly reusePort: boolean },
): number {
  const { socket, bind } = load();
  const name = sockaddr(address);
  const four = name.length === 16;
  const fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC_NONBLOCK, 0);
  if (fd < 0) throw new Error('no more sockets');
  const level = four ? SocketOption.SOL_IP : SocketOption.SOL_IPV6;
  const set = (at: number, option: number): boolean => setSocketOption(fd, at, option, 1);
  const ready =
    set(SocketOption.SOL_SOCKET, SO_REUSEADDR) &&
    (!options.reusePort || set(SocketOption.SOL_SOCKET, SO_REUSEPORT)) &&
    (four || set(SocketOption.SOL_IPV6, IPV6_V6ONLY)) &&
    (!options.freebind || set(level, four ? SocketOption.IP_FREEBIND : SocketOption.IPV6_FREEBIND)) &&
    (!options.transparent || set(level, four ? SocketOption.IP_TRANSPARENT : SocketOption.IPV6_TRANSPARENT));
  if (!ready || bind(fd, name, name.length) !== 0) {
    closeSync(fd);
    throw new Error(ready ? 'bind was refused' : 'transparent needs CAP_NET_ADMIN');
  }
  return fd;
}

/** struct sockaddr_in (16 bytes) or sockaddr_in6 (28 bytes). */
function sockaddr(address: Address): Buffer {
  const ip = parseIp(address.ip);
  if (ip === undefined) throw new Error(`not an IP address: ${address.ip}`);
  const bytes = Buffer.alloc(ip.length === 4 ? 16 : 28);
  bytes.writeUInt16LE(ip.length === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(address.port, 2);
  bytes.set(ip, ip.length === 4 ? 4 : 8);
  return bytes;
}

/**
 * A socket that is bound to the source and not yet connected.
 * @throws Error when the kernel refuses: IP_TRANSPARENT and SO_MARK need CAP_NET_ADMIN.
 */
export function bindUpstreamSocket(source: UpstreamSource, options: SocketConstructorOpts): Socket {
  const { socket, bind } = load();
  const name = sockaddr(source.address);
  const four = name.length === 16;
  const fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC_NONBLOCK, 0);
  if (fd < 0) throw new Error('no more sockets');
  const set = (level: number, option: number, value: number): boolean =>
    setSocketOption(fd, level, option, value);
  const transparent = four
    ? set(SocketOption.SOL_IP, SocketOption.IP_TRANSPARENT, 1)
    : set(SocketOption.SOL_IPV6, SocketOption.IPV6_TRANSPARENT, 1);
  const marked = source.mark === 0 || set(SocketOption.SOL_SOCKET, SocketOption.SO_MARK, source.mark);
  if (source.address.port === 0) set(SocketOption.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  if (!transparent || !marked || bind(fd, name, name.length) !== 0) {
    closeSync(fd);
    throw new Error(
      `cannot connect from ${source.address.ip}: ${transparent && marked ? 'bind was refused' : 'needs CAP_NET_ADMIN'}`,
    );
  }
  return new Socket({ ...options, fd, readable: true, writable: true });
}
