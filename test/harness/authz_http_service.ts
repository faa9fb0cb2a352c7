/** An authorization service that is asked by HTTP: the path says what it answers, and it keeps what it was asked. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One question. */
export interface AuthzQuestion {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/**
 * `/deny` 403 with headers and a body, `/redirect` 302, `/created` 201, `/error` 503, `/slow` no answer, `/admin` allowed with
 * `x-auth-user: admin`; all else allowed with headers.
 */
export class AuthzHttpService {
  readonly questions: AuthzQuestion[] = [];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(): Promise<AuthzHttpService> {
    const service = new AuthzHttpService();
    service.#server.listen(0, '127.0.0.1');
    await once(service.#server, 'listening');
    return service;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** What was asked since the last call. */
  take(): AuthzQuestion[] {
    return this.questions.splice(0);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { method = '', url = '', headers } = request;
    this.questions.push({ method, path: url, headers, body: Buffer.concat(chunks).toString() });
    if (url.includes('/slow')) return;
    if (url.includes('/deny'))
      response
        .writeHead(403, {
          'x-reason': 'because',
          'x-hidden': '1',
          'www-authenticate': 'Basic',
          'content-type': 'application/json',
        })
        .end('{"no":1}');
    else if (url.includes('/redirect')) response.writeHead(302, { location: '/login' }).end();
    else if (url.includes('/created')) response.writeHead(201).end('created');
    else if (url.includes('/error')) response.writeHead(503).end('broken');
    else if (url.includes('/admin')) response.writeHead(200, { 'x-auth-user': 'admin' }).end();
    else
      response
        .writeHead(200, {
          'x-auth-user': 'alice',
          'x-append': 'b',
          'x-ok-info': 'fine',
          'x-envoy-auth-headers-to-remove': 'x-remove, x-gone',
          'x-meta': 'm',
          'x-other': 'o',
        })
        .end();
  }
}
