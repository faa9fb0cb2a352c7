/** TCP and TLS conversations of tests: one call, everything that came back. */
import { once } from 'node:events';
import { type NetConnectOpts, type Server, type Socket, connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, type TLSSocket, connect as connectTls } from 'node:tls';

export interface Conversation {
  /** Sent at once; nothing when absent. */
  readonly write?: string | Buffer;
  /** End our side after what was written. Default true. */
  readonly end?: boolean;
  /** Options of node:tls; without them plain TCP. */
  readonly tls?: ConnectionOptions;
  /** Unix socket in place of the port. */
  readonly path?: string;
  readonly host?: string;
  readonly localAddress?: string;
  /** Milliseconds for the whole conversation; default 10000. */
  readonly timeoutMs?: number;
}

export interface Reply {
  readonly text: string;
  /** Code of the error that ended it, or empty. */
  readonly error: string;
  readonly durationMs: number;
  /** What the handshake told; undefined without TLS and when it failed. */
  readonly tls: { readonly reused: boolean; readonly altNames: string } | undefined;
  readonly session: Buffer | undefined;
}

/** Connects, writes, reads to the end. Never rejects: errors are part of the reply. */
export async function converse(port: number, options: Conversation = {}): Promise<Reply> {
  const start = performance.now();
  const target: NetConnectOpts =
    options.path === undefined
      ? {
          port,
          host: options.host ?? '127.0.0.1',
          ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
        }
      : { path: options.path };
  let secure: Reply['tls'];
  let session: Buffer | undefined;
  const socket: Socket =
    options.tls === undefined
      ? connect({ ...target, allowHalfOpen: true })
      : connectTls({
          ...(target as ConnectionOptions),
          rejectUnauthorized: false,
          checkServerIdentity: () => undefined,
          ...options.tls,
        });
  if (options.tls !== undefined) {
    socket.on('secureConnect', () => {
      const tls = socket as TLSSocket;
      const altNames = tls.getPeerX509Certificate()?.subjectAltName ?? '';
      secure = { reused: tls.isSessionReused(), altNames };
    });
    socket.on('session', (ticket: Buffer) => (session = ticket));
  }
  let text = '';
  let error = '';
  socket.on('data', (data: Buffer) => (text += data.toString('latin1')));
  socket.on('error', (problem: NodeJS.ErrnoException) => (error ||= problem.code ?? problem.message));
  socket.on('end', () => socket.end());
  if (options.write !== undefined) socket.write(options.write);
  if (options.end !== false) socket.end();
  const timer = setTimeout(() => {
    error ||= 'no end in time';
    socket.destroy();
  }, options.timeoutMs ?? 10_000);
  await once(socket, 'close').catch(() => undefined);
  clearTimeout(timer);
  return { text, error, durationMs: performance.now() - start, tls: secure, session };
}

/** Servers of one test that end together. */
export class TcpServers {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  /** Starts one; gives its port, or the path when one is asked for. */
  async start(onConnection: (socket: Socket) => void, listen: string | number = 0): Promise<string> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
      onConnection(socket);
    });
    if (typeof listen === 'string') server.listen(listen);
    else server.listen(listen, '127.0.0.1');
    await once(server, 'listening');
    this.#servers.push(server);
    const address = server.address();
    return typeof address === 'string' ? address : String((address as AddressInfo).port);
  }

  /** Answers `name:` and all that was sent, when the client has ended its side. */
  echo(name: string, listen: string | number = 0): Promise<string> {
    return this.start((socket) => {
      let text = '';
      socket.on('data', (data: Buffer) => (text += data.toString('latin1')));
      socket.on('end', () => socket.end(`${name}:${text}`, 'latin1'));
    }, listen);
  }

  stop(): void {
    for (const server of this.#servers.splice(0)) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
