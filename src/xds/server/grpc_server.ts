/** A gRPC server on our own node:http2 server: plaintext, TLS with optional client certificates, Unix sockets. */
import type { X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import {
  type Http2SecureServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
  createSecureServer,
  createServer,
} from 'node:http2';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type ConnectRouter, type ContextValues, createContextValues } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { type Logger, silentLogger } from '#base/log.ts';
import type { Peer } from '../transport.ts';
import { setPeer } from './discovery_services.ts';

/** PEM texts of a TLS server. */
export interface GrpcServerTls {
  readonly cert: string;
  readonly key: string;
  /**
   * Roots for client certificates. A client may come without one; one that does not verify ends the handshake. Absent:
   * none is asked for.
   */
  readonly clientCa?: string;
}

/** Where to listen: `port: 0` picks a free one; without host on all addresses. */
export type ListenAddress = { readonly host?: string; readonly port: number } | { readonly path: string };

export interface GrpcServerOptions {
  /** Adds services, e.g. `registerAds(router, server)`. */
  readonly routes: (router: ConnectRouter) => void;
  /** Absent: plaintext HTTP/2 with prior knowledge. */
  readonly tls?: GrpcServerTls;
  /** More context for handlers, beside the peer. */
  readonly contextValues?: (request: IncomingMessage | Http2ServerRequest) => ContextValues;
  /** Largest request message, default 16 MiB: a reconnecting delta client names all it holds. */
  readonly maxMessageBytes?: number;
  /** A PING after this time without one, default 30 s; a connection that does not answer in as long is closed. */
  readonly keepaliveIntervalMs?: number;
  readonly log?: Logger;
}

/** Streams of one connection. */
const maxConcurrentStreams = 1000;

type RawRequest = IncomingMessage | Http2ServerRequest;

function socketOf(request: RawRequest): Socket | TLSSocket | undefined {
  return 'stream' in request ? request.stream.session?.socket : request.socket;
}

/** The chain that the client sent, leaf first. */
function certificatesOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (let next = socket.getPeerX509Certificate(); next !== undefined && chain.length < 8;) {
    chain.push(next);
    next = next.issuerCertificate;
  }
  return chain;
}

function peerOfSocket(socket: Socket | TLSSocket | undefined): Omit<Peer, 'metadata'> {
  const address = socket?.remoteAddress ?? '';
  // The socket of an HTTP/2 session is a proxy object: it answers to `get`, not to `in`.
  if (socket !== undefined && (socket as Partial<TLSSocket>).encrypted === true) {
    const tls = socket as TLSSocket;
    const certificates = tls.authorized ? certificatesOf(tls) : [];
    return { kind: 'tls', address, ...(certificates.length === 0 ? {} : { certificates }) };
  }
  return { kind: address === '' ? 'unix' : 'plaintext', address };
}

/** A listening server. */
export class GrpcServer {
  readonly #server: Http2Server | Http2SecureServer;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  readonly #options: GrpcServerOptions;
  readonly #log: Logger;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#log = (options.log ?? silentLogger).scope('grpc');
    const adapter = connectNodeAdapter({
      routes: options.routes,
      grpc: true,
      grpcWeb: false,
      connect: false,
      readMaxBytes: options.maxMessageBytes ?? 16 * 1024 * 1024,
      contextValues: (request) =>
        setPeer(options.contextValues?.(request) ?? createContextValues(), peerOfSocket(socketOf(request))),
    });
    const handler = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
      if (!this.#refused(request)) adapter(request, response);
    };
    const settings = { maxConcurrentStreams };
    if (options.tls === undefined) this.#server = createServer({ settings }, handler);
    else {
      const { cert, key, clientCa } = options.tls;
      const secure = createSecureServer(
        {
          settings,
          cert,
          key,
          minVersion: 'TLSv1.2',
          ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false }),
        },
        handler,
      );
      secure.on('tlsClientError', (error) => this.#log.debug('TLS handshake failed', { error }));
      this.#server = secure;
    }
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('session', (session: ServerHttp2Session) => this.#watch(session));
    this.#server.on('sessionError', (error: Error) => this.#log.debug('connection failed', { error }));
  }

  /** Starts to listen; a stale Unix socket is replaced. The port is 0 for Unix sockets. */
  async listen(address: ListenAddress): Promise<number> {
    if ('path' in address) await rm(address.path, { force: true });
    const options: ListenOptions = { ...address };
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(options, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    const bound = this.#server.address() as AddressInfo | string | null;
    return bound === null || typeof bound === 'string' ? 0 : bound.port;
  }

  /** New connections use these certificates; those that are open stay. */
  rotate(tls: GrpcServerTls): void {
    if (!('setSecureContext' in this.#server)) return;
    const { cert, key, clientCa } = tls;
    this.#server.setSecureContext({ cert, key, ...(clientCa === undefined ? {} : { ca: clientCa }) });
  }

  /** Stops listening and closes all connections. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.destroy();
    // a session waits for its last bytes to leave, which they never do when the peer's network is gone
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** As Istio: no client certificate is fine, a bad one ends the connection. Node has no such mode of its own. */
  #refused(request: Http2ServerRequest): boolean {
    const { session } = request.stream;
    const socket = session?.socket as Partial<TLSSocket> | undefined;
    if (socket?.encrypted !== true || socket.authorized === true) return false;
    if (this.#options.tls?.clientCa === undefined || socket.getPeerX509Certificate?.() === undefined)
      return false;
    this.#log.warn('client certificate refused', {
      from: socket.remoteAddress,
      reason: String(socket.authorizationError),
    });
    session?.destroy();
    return true;
  }

  #watch(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    let answered = true;
    const pings = setInterval(() => {
      // between the end of a session and its `close` a tick may pass
      if (session.closed || session.destroyed) return;
      if (!answered) {
        session.destroy();
        return;
      }
      answered = false;
      session.ping(() => {
        answered = true;
      });
    }, this.#options.keepaliveIntervalMs ?? 30_000);
    pings.unref();
    session.once('close', () => {
      clearInterval(pings);
      this.#sessions.delete(session);
    });
  }
}
