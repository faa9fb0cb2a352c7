/** A listening socket of one address. */
import { chmodSync, unlink } from 'node:fs';
import { type ListenOptions, type Server, type Socket, connect, createServer } from 'node:net';
import type { Listener } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { SocketOption, descriptorOf, setSocketOption } from '../network/socket_options.ts';
import { bindListenSocket } from '../network/foreign_address.ts';
import type { BindAddress } from './listener_version.ts';

/** Queue of connections the kernel accepts for us; it cuts it to net.core.somaxconn. */
const defaultBacklog = 4096;

/** A server and what it listens on. */
export interface BoundSocket {
  readonly key: string;
  readonly address: BindAddress;
  readonly server: Server;
}

/** Equal keys share one server over versions of a listener. */
export function bindKey(address: BindAddress): string {
  return `${address.ip} ${address.port} ${address.ipv6Only}`;
}

/** Options that need a descriptor; applied as soon as there is one. */
function applySocketOptions(server: Server, config: Listener, ipv6: boolean): void {
  const fd = descriptorOf(server);
  if (config.transparent === true) {
    setSocketOption(fd, SocketOption.SOL_IP, SocketOption.IP_TRANSPARENT, 1);
    if (ipv6) setSocketOption(fd, SocketOption.SOL_IPV6, SocketOption.IPV6_TRANSPARENT, 1);
  }
  for (const option of config.socketOptions) {
    const { value } = option;
    if (value.case === undefined) continue;
    const bytes = value.case === 'intValue' ? Number(value.value) : value.value;
    if (!setSocketOption(fd, Number(option.level), Number(option.name), bytes))
      throw new Error(
        `the system refused socket option ${option.level}/${option.name} ${option.description}`,
      );
  }
}

/**
 * Starts to listen. Every worker thread binds for itself: the kernel spreads connections over them (SO_REUSEPORT).
 * `onResult` hears once how it went.
 */
export function bind(
  address: BindAddress,
  config: Listener,
  onConnection: (socket: Socket) => void,
  onResult: (error: Error | undefined) => void,
): BoundSocket {
  const server = createServer(
    { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, ...keepaliveOf(config) },
    onConnection,
  );
  let answered = false;
  const answer = (error: Error | undefined): void => {
    if (answered) return;
    answered = true;
    onResult(error);
  };
  // Later errors (EMFILE while accepting) must not end the process: the kernel keeps the connection queued.
  server.on('error', (error: NodeJS.ErrnoException) => {
    if (answered || address.port >= 0 || error.code !== 'EADDRINUSE') answer(error);
    else takeOver(address.ip, answer, () => server.listen(options));
  });
  const backlog = config.tcpBacklogSize ?? defaultBacklog;
  let options: ListenOptions;
  try {
    options = listenOptions(address, config, backlog);
  } catch (error) {
    queueMicrotask(() => answer(error as Error));
    return { key: bindKey(address), address, server };
  }
  server.once('listening', () => {
    try {
      if (address.port >= 0) applySocketOptions(server, config, address.ip.includes(':'));
      else if (address.mode !== 0)
        // At once: until then the path has the bits of the umask.
        chmodSync(address.ip, address.mode);
      answer(undefined);
    } catch (error) {
      answer(error as Error);
    }
  });
  server.listen(options);
  return { key: bindKey(address), address, server };
}

/**
 * The path of a Unix socket is taken. When somebody answers it is another worker, which serves for all: paths know no
 * SO_REUSEPORT. Else a process that is gone has left the file.
 */
function takeOver(path: string, answer: (error: Error | undefined) => void, again: () => void): void {
  const probe = connect(path);
  probe.on('connect', () => {
    probe.destroy();
    answer(undefined);
  });
  probe.on('error', () => unlink(path, (error) => (error === null ? again() : answer(error))));
}

/** @throws Error when an address of `freebind` cannot be bound. */
function listenOptions(address: BindAddress, config: Listener, backlog: number): ListenOptions {
  if (address.port < 0) return { path: address.ip, backlog };
  const reusePort = config.enableReusePort ?? true;
  if (config.freebind === true) {
    const transparent = config.transparent ?? false;
    const fd = bindListenSocket(address, { freebind: true, transparent, reusePort });
    // `server.listen({ fd })`, which the types of options do not know.
    return { fd, backlog } as ListenOptions;
  }
  return { host: address.ip, port: address.port, ipv6Only: address.ipv6Only, reusePort, backlog };
}

function keepaliveOf(config: Listener): { keepAlive?: boolean; keepAliveInitialDelay?: number } {
  const keepalive = config.tcpKeepalive;
  return keepalive === undefined
    ? {}
    : { keepAlive: true, keepAliveInitialDelay: (keepalive.keepaliveTime ?? 0) * 1000 };
}
