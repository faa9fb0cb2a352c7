/** The application behind a proxy under test: tells in JSON what reached it, and behaves as headers ask. */
import { once } from 'node:events';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the application saw of a request. */
export interface Echo {
  readonly backend: string;
  readonly method: string;
  readonly path: string;
  /** Lower-case names; repeated headers joined as Node joins them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string>>;
}

/**
 * Answers 200 with an {@link Echo}. Request headers change that: `x-want-status: 503`, `x-want-status-NAME: 503` (the
 * application of that name alone), `x-want-delay-ms: 100`,
 * `x-want-header: name: value`, `x-want-reset: 1` (closes the connection without an answer), `x-want-body: text`,
 * `x-want-bytes: n` (a body of n bytes), `x-want-fail-first: n` (503 to the first n requests of this path).
 */
export class EchoBackend {
  readonly name: string;
  readonly server: Server;
  /** Requests seen. */
  requests = 0;
  /** Connections accepted. */
  connections = 0;
  #failed = new Map<string, number>();
  readonly #echoes: Echo[] = [];

  private constructor(name: string) {
    this.name = name;
    this.server = createServer((request, response) => void this.#answer(request, response));
    this.server.keepAliveTimeout = 60_000;
    this.server.on('connection', () => this.connections++);
  }

  static async start(name: string, host = '127.0.0.1', port = 0): Promise<EchoBackend> {
    const backend = new EchoBackend(name);
    backend.server.listen(port, host);
    await once(backend.server, 'listening');
    return backend;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }

  /** The next request that was not asked for yet, of the last 100; waits (5 s) for one. */
  async nextEcho(): Promise<Echo> {
    for (let i = 0; i < 500; i++) {
      const echo = this.#echoes.shift();
      if (echo !== undefined) return echo;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`no request came to ${this.name}`);
  }

  /** Forgets requests that nobody asked for. */
  forgetEchoes(): void {
    this.#echoes.length = 0;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++;
    const want = (name: string): string | undefined => {
      const value = request.headers[`x-want-${name}`];
      return typeof value === 'string' ? value : undefined;
    };
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return; // the proxy reset the request
    }
    const echo: Echo = {
      backend: this.name,
      method: request.method ?? '',
      path: request.url ?? '',
      headers: Object.fromEntries(
        Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
      ),
      body: Buffer.concat(chunks).toString('utf8'),
      trailers: Object.fromEntries(
        Object.entries(request.trailers).map(([name, value]) => [name, String(value)]),
      ),
    };
    if (this.#echoes.push(echo) > 100) this.#echoes.shift();
    const delay = want('delay-ms');
    if (delay !== undefined) await new Promise((resolve) => setTimeout(resolve, Number(delay)));
    if (want('reset') !== undefined) return void request.socket.destroy();
    const header = want('header');
    if (header !== undefined) {
      const colon = header.indexOf(':');
      response.setHeader(header.slice(0, colon), header.slice(colon + 1).trim());
    }
    response.statusCode = this.#status(
      request.url ?? '',
      want(`status-${this.name}`) ?? want('status'),
      want('fail-first'),
    );
    const bytes = want('bytes');
    const body = want('body');
    if (bytes !== undefined) return void response.end(Buffer.alloc(Number(bytes), 'x'));
    if (body !== undefined) return void response.end(body);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(echo));
  }

  #status(path: string, status: string | undefined, failFirst: string | undefined): number {
    if (failFirst !== undefined) {
      const failed = this.#failed.get(path) ?? 0;
      if (failed < Number(failFirst)) {
        this.#failed.set(path, failed + 1);
        return 503;
      }
    }
    return status === undefined ? 200 : Number(status);
  }
}
