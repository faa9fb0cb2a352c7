/** One upstream connection being made: TCP connect, then the transport socket's handshake, under one timeout. */
import {
  type NetConnectOpts,
  Socket,
  type SocketConstructorOpts,
  type TcpSocketConnectOpts,
  connect,
} from 'node:net';
import type { Address } from '../../network/address.ts';
import type { TlsInfo } from '../../network/connection.ts';
import { type KeepaliveOptions, setKeepalive } from '../../network/socket_options.ts';
import { type TimerHandle, workerTimers } from '../../network/timer_wheel.ts';
import type {
  TransportSocketCallbacks,
  UpstreamTransportOptions,
  UpstreamTransportSocketFactory,
} from '../../network/transport_socket.ts';
import { type UpstreamSource, bindUpstreamSocket } from '../../network/foreign_address.ts';
import type { PoolFailure } from '../upstream.ts';

/** How connections of one cluster are made. */
export interface DialOptions {
  /** TCP connect and handshake together, milliseconds. */
  readonly connectTimeoutMs: number;
  /** Source addresses (`upstream_bind_config`); the first of the host's family is used. */
  readonly sourceAddresses: readonly Address[];
  readonly keepalive: KeepaliveOptions | undefined;
  /** Keep our side open when the peer ends its own (TCP proxying). */
  readonly allowHalfOpen: boolean;
  /** Bytes read ahead, from `per_connection_buffer_limit_bytes`. */
  readonly highWaterMark: number;
}

/** Hears the end of a dial exactly once, unless it was cancelled. */
export interface DialCallbacks {
  onConnected(socket: Socket, tls: TlsInfo | undefined, negotiatedProtocol: string): void;
  onConnectFailure(reason: PoolFailure, transportFailureReason: string): void;
}

function ignoreError(): void {
  // Later owners listen for themselves; in between nothing may end the process.
}

/** Envoy prints strerror's text behind the phase of the connect. */
const errorTexts: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Connection refused',
  ECONNRESET: 'Connection reset by peer',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
  ETIMEDOUT: 'Connection timed out',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  EACCES: 'Permission denied',
  ENOENT: 'No such file or directory',
  EINVAL: 'Invalid argument',
};

/** Codes that connect(2) itself answers with, before any packet came back. */
const immediateCodes: ReadonlySet<string> = new Set([
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EACCES',
  'ENOENT',
  'EINVAL',
]);

function failWithTimeout(dial: Dial): void {
  dial.fail('timeout', '');
}

/**
 * Timers run before what the kernel has to tell. A loop that was held for longer than the limit would give up connections
 * that are there: what came meanwhile counts first.
 */
function onConnectTimeout(dial: Dial): void {
  setImmediate(failWithTimeout, dial);
}

/** Not reused. */
export class Dial implements TransportSocketCallbacks {
  readonly #callbacks: DialCallbacks;
  readonly #transport: UpstreamTransportSocketFactory;
  readonly #transportOptions: UpstreamTransportOptions;
  readonly #socket: Socket;
  readonly #options: DialOptions;
  #timer: TimerHandle | undefined;
  #done = false;
  #errorCode = '';

  constructor(
    address: Address,
    transport: UpstreamTransportSocketFactory,
    transportOptions: UpstreamTransportOptions,
    options: DialOptions,
    callbacks: DialCallbacks,
  ) {
    this.#callbacks = callbacks;
    this.#transport = transport;
    this.#transportOptions = transportOptions;
    this.#options = options;
    this.#timer = workerTimers.schedule(options.connectTimeoutMs, onConnectTimeout, this);
    const { source } = transportOptions;
    const socket =
      source === undefined || address.port < 0
        ? connect(connectOptions(address, options))
        : connectFrom(source, address, options);
    this.#socket = socket;
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('connect', this.#onConnect);
  }

  readonly #onConnect = (): void => {
    const { keepalive } = this.#options;
    if (keepalive !== undefined) setKeepalive(this.#socket, keepalive);
    if (!this.#transport.ready) {
      this.fail('remote_connection_failure', 'TLS error: Secret is not supplied by SDS');
      return;
    }
    this.#transport.wrap(this.#socket, this.#transportOptions, this);
  };

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.#errorCode = error.code ?? 'unknown';
  };

  readonly #onClose = (): void => {
    const code = this.#errorCode;
    if (code === '') {
      this.fail('remote_connection_failure', '');
      return;
    }
    const phase = immediateCodes.has(code) ? 'immediate' : 'delayed';
    this.fail('remote_connection_failure', `${phase} connect error: ${errorTexts[code] ?? code}`);
  };

  onTransportReady(socket: Socket, tls: TlsInfo | undefined, negotiatedProtocol: string): void {
    if (this.#done) return;
    this.#finish();
    socket.on('error', ignoreError);
    this.#callbacks.onConnected(socket, tls, negotiatedProtocol);
  }

  onTransportFailure(reason: string): void {
    this.fail('remote_connection_failure', reason);
  }

  fail(reason: PoolFailure, transportFailureReason: string): void {
    if (this.#done) return;
    this.#finish();
    this.#socket.destroy();
    this.#callbacks.onConnectFailure(reason, transportFailureReason);
  }

  /** Gives up without an answer. */
  cancel(): void {
    if (this.#done) return;
    this.#finish();
    this.#socket.destroy();
  }

  #finish(): void {
    this.#done = true;
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    const socket = this.#socket;
    socket.on('error', ignoreError);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.off('connect', this.#onConnect);
  }
}

/** The socket is destroyed with an error when the kernel refuses the source address. */
function connectFrom(source: UpstreamSource, address: Address, options: DialOptions): Socket {
  const { allowHalfOpen, highWaterMark } = options;
  try {
    return bindUpstreamSocket(source, { allowHalfOpen, highWaterMark } as SocketConstructorOpts).connect({
      host: address.ip,
      port: address.port,
      noDelay: true,
      autoSelectFamily: false,
    } as TcpSocketConnectOpts);
  } catch (error) {
    return new Socket().destroy(Object.assign(error as Error, { code: 'EACCES' }));
  }
}

function connectOptions(address: Address, options: DialOptions): NetConnectOpts {
  const { allowHalfOpen, highWaterMark, sourceAddresses } = options;
  if (address.port < 0) return { allowHalfOpen, highWaterMark, path: address.ip } as NetConnectOpts;
  const { ip: host, port } = address;
  const tcp = { allowHalfOpen, highWaterMark, host, port, noDelay: true, autoSelectFamily: false };
  if (sourceAddresses.length === 0) return tcp;
  const family = host.includes(':');
  const source = sourceAddresses.find((candidate) => candidate.ip.includes(':') === family);
  if (source === undefined) return tcp;
  return { ...tcp, localAddress: source.ip, ...(source.port > 0 ? { localPort: source.port } : {}) };
}
