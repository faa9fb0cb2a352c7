/** A plain HTTP/2 client and a scripted HTTP/2 application, for pairs that look at versions of HTTP. */
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';

export interface Http2Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
  /** Code of RST_STREAM; 0 for none. */
  readonly resetCode: number;
}

export interface Http2Request {
  readonly body?: string | Buffer;
  readonly trailers?: OutgoingHttpHeaders;
  readonly session?: ClientHttp2Session;
}

/** A session to 127.0.0.1 whose errors do not end the test. */
export function http2Session(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  return session;
}

/** Sends one request, on a connection of its own unless a session is given. Status 0: reset before the headers. */
export async function sendHttp2(
  port: number,
  headers: OutgoingHttpHeaders,
  options: Http2Request = {},
): Promise<Http2Answer> {
  const session = options.session ?? http2Session(port);
  try {
    const { trailers } = options;
    const plain = options.body === undefined && trailers === undefined;
    const stream = session.request({ ':path': '/', ...headers }, {
      endStream: plain,
      waitForTrailers: trailers !== undefined,
    } as object);
    stream.on('error', () => {});
    let status = 0;
    let got: IncomingHttpHeaders = {};
    let gotTrailers: IncomingHttpHeaders = {};
    let body = '';
    stream.setEncoding('utf8');
    stream.on('response', (response) => {
      got = response;
      status = Number(response[':status']);
    });
    stream.on('trailers', (fields: IncomingHttpHeaders) => (gotTrailers = fields));
    stream.on('data', (chunk: string) => (body += chunk));
    if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    if (!plain) stream.end(options.body);
    const timer = setTimeout(() => stream.destroy(), 10_000);
    // An error of the stream is an answer here.
    await new Promise((resolve) => stream.once('close', resolve));
    clearTimeout(timer);
    return { status, headers: got, body, trailers: gotTrailers, resetCode: stream.rstCode ?? 0 };
  } finally {
    if (options.session === undefined) session.destroy();
  }
}

export type Http2Handler = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, body: Buffer) => void;

/** Calls its handler when a request is complete, or at once for the paths that begin with `/open`. */
export class Http2Backend {
  readonly #server: Http2Server;
  readonly sessions = new Set<ServerHttp2Session>();
  requests = 0;
  connections = 0;
  /** Trailers of the last request. */
  trailers: IncomingHttpHeaders = {};

  private constructor(handler: Http2Handler) {
    this.#server = createServer({ settings: { enableConnectProtocol: true } });
    this.#server.on('session', (session) => {
      this.connections++;
      this.sessions.add(session);
      session.on('error', () => {});
      session.on('close', () => this.sessions.delete(session));
    });
    this.#server.on('stream', (opened, headers) => {
      const stream = opened as ServerHttp2Stream;
      this.requests++;
      stream.on('error', () => {});
      if (String(headers[':path']).startsWith('/open')) return void handler(stream, headers, Buffer.alloc(0));
      const chunks: Buffer[] = [];
      this.trailers = {};
      stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
      stream.on('trailers', (fields: IncomingHttpHeaders) => (this.trailers = fields));
      stream.on('end', () => {
        if (!stream.destroyed && !stream.closed) handler(stream, headers, Buffer.concat(chunks));
      });
    });
  }

  static async start(handler: Http2Handler): Promise<Http2Backend> {
    const backend = new Http2Backend(handler);
    backend.#server.listen(0, '127.0.0.1');
    await once(backend.#server, 'listening');
    return backend;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const session of this.sessions) session.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
