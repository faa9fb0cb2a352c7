/**
 * getsockopt and setsockopt by node:ffi: Node has no API for the options that a transparent proxy needs. The one place
 * that knows how a descriptor is found; works in worker threads.
 */
import { createRequire } from 'node:module';
import type { Server, Socket } from 'node:net';

/** Linux numbers (asm-generic/socket.h, linux/in.h, linux/tcp.h). */
export const SocketOption = {
  SOL_SOCKET: 1,
  SO_KEEPALIVE: 9,
  SO_MARK: 36,
  SOL_IP: 0,
  IP_FREEBIND: 15,
  IP_TRANSPARENT: 19,
  SO_ORIGINAL_DST: 80,
  SOL_IPV6: 41,
  IPV6_TRANSPARENT: 75,
  IPV6_FREEBIND: 78,
  IP6T_SO_ORIGINAL_DST: 80,
  SOL_TCP: 6,
  TCP_KEEPIDLE: 4,
  TCP_KEEPINTVL: 5,
  TCP_KEEPCNT: 6,
  TCP_USER_TIMEOUT: 18,
} as const;

/** This process cannot reach socket options; `message` says why. */
export class SocketOptionsUnavailable extends Error {
  override readonly name = 'SocketOptionsUnavailable';
}

interface Native {
  getsockopt(fd: number, level: number, option: number, value: Uint8Array, length: Uint8Array): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array, length: number): number;
}

let native: Native | undefined;
let unavailable: SocketOptionsUnavailable | undefined;

function load(): Native {
  if (native !== undefined) return native;
  if (unavailable !== undefined) throw unavailable;
  try {
    if (process.platform !== 'linux') throw new Error(`only on linux, this is ${process.platform}`);
    const ffi = createRequire(import.meta.url)('node:ffi') as typeof import('node:ffi');
    const { functions } = ffi.dlopen(null, {
      getsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'pointer'], return: 'int32' },
      setsockopt: { arguments: ['int32', 'int32', 'int32', 'pointer', 'uint32'], return: 'int32' },
    });
    native = functions;
    return native;
  } catch (error) {
    unavailable = new SocketOptionsUnavailable(
      `socket options (original destination, transparent, mark) need node:ffi: ${(error as Error).message}`,
      { cause: error },
    );
    throw unavailable;
  }
}

/** Undefined when socket options work here, else why not. */
export function socketOptionsProblem(): string | undefined {
  try {
    load();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Descriptor of a socket or server; -1 when it is closed. `_handle.fd` is the only way Node gives it. */
export function descriptorOf(socket: Socket | Server): number {
  const handle = (socket as unknown as Record<'_handle', { readonly fd?: number } | null | undefined>)[
    '_handle'
  ];
  return handle?.fd ?? -1;
}

const lengthBytes = Buffer.alloc(4);

/**
 * Reads an option into `value`; the count of bytes read, or -1 when the kernel refuses or the descriptor is closed.
 * @throws SocketOptionsUnavailable
 */
export function getSocketOption(fd: number, level: number, option: number, value: Uint8Array): number {
  const { getsockopt } = load();
  if (fd < 0) return -1;
  lengthBytes.writeUInt32LE(value.length);
  if (getsockopt(fd, level, option, value, lengthBytes) !== 0) return -1;
  return lengthBytes.readUInt32LE();
}

/**
 * Sets an option to bytes or to an int; false when the kernel refuses or the descriptor is closed.
 * @throws SocketOptionsUnavailable
 */
export function setSocketOption(
  fd: number,
  level: number,
  option: number,
  value: number | Uint8Array,
): boolean {
  const { setsockopt } = load();
  if (fd < 0) return false;
  let bytes: Uint8Array;
  if (typeof value === 'number') {
    const int = Buffer.alloc(4);
    int.writeInt32LE(value | 0);
    bytes = int;
  } else bytes = value;
  return setsockopt(fd, level, option, bytes, bytes.length) === 0;
}

/** TCP keepalive of one connection (envoy.config.core.v3.TcpKeepalive); undefined fields keep the system's value. */
export interface KeepaliveOptions {
  readonly probes: number | undefined;
  /** Idle seconds before the first probe. */
  readonly timeSeconds: number | undefined;
  /** Seconds between probes. */
  readonly intervalSeconds: number | undefined;
}

/** Turns keepalive on. Without FFI the probe count and interval stay the system's. */
export function setKeepalive(socket: Socket, options: KeepaliveOptions): void {
  socket.setKeepAlive(true, (options.timeSeconds ?? 0) * 1000);
  if (options.probes === undefined && options.intervalSeconds === undefined) return;
  if (socketOptionsProblem() !== undefined) return;
  const fd = descriptorOf(socket);
  if (options.probes !== undefined)
    setSocketOption(fd, SocketOption.SOL_TCP, SocketOption.TCP_KEEPCNT, options.probes);
  if (options.intervalSeconds !== undefined)
    setSocketOption(fd, SocketOption.SOL_TCP, SocketOption.TCP_KEEPINTVL, options.intervalSeconds);
}
