/** Small HTTP servers for metrics, readiness and debug pages: GET on a table of paths. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isLoopback } from '#security/authn/loopback_authenticator.ts';

/** An answer. Without content type: `text/plain`. */
export interface Page {
  readonly status?: number;
  readonly contentType?: string;
  readonly body: string;
}

/** Makes the page of a path. A thrown error is a page with status 500. */
export type PageHandler = (query: URLSearchParams) => Page | Promise<Page>;

/** Pages by path. */
export type Pages = ReadonlyMap<string, PageHandler>;

/** A value as indented JSON. */
export function jsonPage(value: unknown): Page {
  return { contentType: 'application/json', body: `${JSON.stringify(value, undefined, 2)}\n` };
}

async function answer(pages: Pages, request: IncomingMessage): Promise<Page> {
  const url = new URL(request.url ?? '/', 'http://localhost');
  // The port may be open to the network for probes and metrics; debug pages show configuration.
  if (url.pathname.startsWith('/debug') && !isLoopback(request.socket.remoteAddress ?? ''))
    return { status: 403, body: 'debug pages answer on loopback only\n' };
  const page = pages.get(url.pathname);
  if (page === undefined) return { status: 404, body: 'not found\n' };
  if (request.method !== 'GET' && request.method !== 'HEAD') return { status: 405, body: 'only GET\n' };
  try {
    return await page(url.searchParams);
  } catch (error) {
    return { status: 500, body: `${error instanceof Error ? error.message : String(error)}\n` };
  }
}

async function serve(pages: Pages, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status = 200, contentType = 'text/plain; charset=utf-8', body } = await answer(pages, request);
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** A listening server. */
export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Starts a server; an empty address is all, port 0 picks a free one. */
export async function serveHttp(pages: Pages, address: string, port: number): Promise<HttpServer> {
  const server: Server = createServer(
    { requestTimeout: 30_000, maxHeaderSize: 16 * 1024 },
    (request, response) => {
      void serve(pages, request, response);
    },
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address === '' ? { port } : { port, host: address }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
