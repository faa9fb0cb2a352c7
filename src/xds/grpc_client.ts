/**
 * A gRPC client over node:http2: unary calls and bidirectional streams of bytes on one connection, which opens with the
 * first call and again after it was lost. It knows no message types, so that a sidecar pays only for what it decodes.
 */
import { type ClientHttp2Session, connect as connectHttp2, sensitiveHeaders } from 'node:http2';
import { type Socket, connect as connectTcp } from 'node:net';
import { type ConnectionOptions, type PeerCertificate, connect as connectTls } from 'node:tls';
import { Call, type CallHandler, callHeaders } from './grpc_call.ts';
import { GrpcError, grpcStatus } from './grpc_status.ts';

/** Where the server listens. */
export type GrpcAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** TLS of one connection. PEM texts. */
export interface GrpcTls {
  /** Roots that the server's certificate must lead to. */
  readonly ca: string | readonly string[];
  /** Client certificate and key, both or neither. */
  readonly cert?: string;
  readonly key?: string;
  /** Name in SNI and in the certificate. Default the host of the address. */
  readonly serverName?: string;
  /** Replaces the check of the certificate's names; an error refuses the server. */
  readonly checkServerIdentity?: (hostname: string, certificate: PeerCertificate) => Error | undefined;
}

/** Request metadata in lower case. Values of `authorization` are kept out of the HPACK table. */
export type GrpcMetadata = Readonly<Record<string, string>>;

export interface GrpcClientOptions {
  readonly address: GrpcAddress;
  /** Read anew for each connection, so that a rotated certificate is used by the next one. Absent: plaintext. */
  readonly tls?: () => GrpcTls;
  /** Metadata of each call, read when it starts (a token from a file). An error fails that call as `unauthenticated`. */
  readonly metadata?: () => GrpcMetadata | Promise<GrpcMetadata>;
  /** `:authority`. Default host:port, `localhost` for Unix sockets. */
  readonly authority?: string;
  /** Largest message received, default 64 MiB. */
  readonly maxMessageBytes?: number;
  /** Address of this machine from which to connect over TCP. Default: the system's choice. */
  readonly localAddress?: string;
  /** Time for TCP, TLS and the first SETTINGS, default 10 s. */
  readonly connectTimeoutMs?: number;
  /** A PING after this time, while calls are open; default 30 s. */
  readonly keepaliveIntervalMs?: number;
  /** The connection is lost when the PING's answer takes longer; default 10 s. */
  readonly keepaliveTimeoutMs?: number;
}

/** The sending half of a stream of bytes. */
export interface BidiCall {
  send(message: Uint8Array): void;
  /** Half-closes: no more messages from this side. */
  end(): void;
  cancel(): void;
  flushed(): Promise<void>;
}

/** Large pushes must not wait for a window update every 64 KiB. */
const windowBytes = 1024 * 1024;

function unavailable(message: string): GrpcError {
  return new GrpcError(grpcStatus.unavailable, message);
}

/** Messages given to a call before its metadata has been read. */
const maxEarlyMessages = 1024;

export class GrpcClient {
  readonly #options: GrpcClientOptions;
  #session: ClientHttp2Session | undefined;
  #closed = false;

  constructor(options: GrpcClientOptions) {
    this.#options = options;
  }

  /**
   * One request, one response.
   * @param path `/package.Service/Method`.
   * @param timeoutMs deadline, also told to the server; default 10 s.
   * @throws GrpcError
   */
  unary(
    path: string,
    request: Uint8Array,
    metadata: GrpcMetadata = {},
    timeoutMs = 10_000,
  ): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      let response: Uint8Array | undefined;
      const timer = setTimeout(() => {
        call.cancel();
        reject(new GrpcError(grpcStatus.deadlineExceeded, `no answer in ${timeoutMs} ms`));
      }, timeoutMs);
      const call = this.bidi(
        path,
        {
          onMessage: (message) => {
            response = message;
          },
          onClose: (error) => {
            clearTimeout(timer);
            if (error !== undefined) reject(error);
            else if (response === undefined)
              reject(new GrpcError(grpcStatus.internal, 'no response message'));
            else resolve(response);
          },
        },
        { ...metadata, 'grpc-timeout': `${Math.min(timeoutMs, 99_999_999)}m` },
      );
      call.send(request);
      call.end();
    });
  }

  /** Opens a stream. Failure to connect comes as `onClose`, never from inside this call. */
  bidi(path: string, handler: CallHandler, metadata: GrpcMetadata = {}): BidiCall {
    const early: Uint8Array[] = [];
    let call: Call | undefined;
    let state: 'waiting' | 'open' | 'ended' | 'cancelled' = 'waiting';
    const start = async (): Promise<void> => {
      const own = await this.#metadata();
      if (state === 'cancelled') return;
      const headers = { ...callHeaders(path, this.#authority(), this.#scheme()), ...own, ...metadata };
      const stream = this.#connected().request(
        { ...headers, [sensitiveHeaders]: ['authorization'] },
        { endStream: false },
      );
      call = new Call(stream, handler, this.#options.maxMessageBytes ?? 64 * 1024 * 1024);
      for (const message of early) call.send(message);
      early.length = 0;
      if (state === 'ended') call.end();
      else state = 'open';
    };
    const starting = start().catch((error: unknown) => {
      if (state !== 'cancelled') handler.onClose(GrpcError.from(error, grpcStatus.unavailable));
    });
    return {
      send(message) {
        if (call !== undefined) call.send(message);
        else if (early.length < maxEarlyMessages) early.push(message);
      },
      end() {
        state = 'ended';
        call?.end();
      },
      cancel() {
        state = 'cancelled';
        call?.cancel();
      },
      async flushed() {
        await starting;
        await call?.flushed();
      },
    };
  }

  /** The next call opens a new connection, with new certificates; calls in flight end on the old one. */
  rotate(): void {
    const session = this.#session;
    this.#session = undefined;
    session?.close();
  }

  /** Ends all calls and the connection. */
  close(): void {
    this.#closed = true;
    this.#session?.destroy(unavailable('client closed'));
    this.#session = undefined;
  }

  async #metadata(): Promise<GrpcMetadata> {
    try {
      return (await this.#options.metadata?.()) ?? {};
    } catch (error) {
      throw GrpcError.from(error, grpcStatus.unauthenticated);
    }
  }

  #scheme(): string {
    return this.#options.tls === undefined ? 'http' : 'https';
  }

  #authority(): string {
    const { address, authority } = this.#options;
    if (authority !== undefined) return authority;
    return 'path' in address ? 'localhost' : `${address.host}:${address.port}`;
  }

  #connected(): ClientHttp2Session {
    if (this.#closed) throw unavailable('client closed');
    const current = this.#session;
    if (current !== undefined && !current.closed && !current.destroyed) return current;
    const session = connectHttp2(`${this.#scheme()}://${this.#authority()}`, {
      createConnection: () => this.#socket(),
      settings: { initialWindowSize: windowBytes, enablePush: false },
    });
    this.#session = session;
    this.#watch(session);
    return session;
  }

  #socket(): Socket {
    const { address, localAddress, tls } = this.#options;
    const target =
      'path' in address
        ? { path: address.path }
        : {
            host: address.host,
            port: address.port,
            ...(localAddress === undefined ? {} : { localAddress }),
          };
    if (tls === undefined) return connectTcp({ ...target, noDelay: true });
    const { ca, cert, key, serverName, checkServerIdentity } = tls();
    const options: ConnectionOptions = {
      ...target,
      ca: typeof ca === 'string' ? ca : [...ca],
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.2',
      ...(serverName === undefined ? {} : { servername: serverName }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(checkServerIdentity === undefined ? {} : { checkServerIdentity }),
    };
    const socket = connectTls(options);
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') socket.destroy(unavailable('the server does not speak HTTP/2'));
    });
    return socket;
  }

  /** Connect deadline, keepalive and retirement of one session. */
  #watch(session: ClientHttp2Session): void {
    const {
      connectTimeoutMs = 10_000,
      keepaliveIntervalMs = 30_000,
      keepaliveTimeoutMs = 10_000,
    } = this.#options;
    const retire = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    const connecting = setTimeout(
      () => session.destroy(unavailable(`not connected after ${connectTimeoutMs} ms`)),
      connectTimeoutMs,
    );
    session.once('remoteSettings', () => {
      clearTimeout(connecting);
      session.setLocalWindowSize(windowBytes);
    });
    let pong: NodeJS.Timeout | undefined;
    const pings = setInterval(() => {
      if (pong !== undefined || session.connecting || session.closed || session.destroyed) return;
      pong = setTimeout(
        () => session.destroy(unavailable(`no answer to PING in ${keepaliveTimeoutMs} ms`)),
        keepaliveTimeoutMs,
      );
      session.ping(() => {
        clearTimeout(pong);
        pong = undefined;
      });
    }, keepaliveIntervalMs);
    pings.unref();
    // After GOAWAY the streams below its last id go on; new ones need another connection.
    session.on('goaway', retire);
    session.on('error', retire);
    session.once('close', () => {
      clearTimeout(connecting);
      clearInterval(pings);
      clearTimeout(pong);
      retire();
    });
  }
}
