/** The admin interface: plain HTTP on the address of `bootstrap.admin`, loopback in a mesh. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Logger } from '#base/log.ts';
import { configDump } from './config_dump_page.ts';
import { type AdminPage, type AdminReply, text } from './page.ts';
import type { ProxyState } from './proxy_state.ts';
import { stats, statsPrometheus } from './stats_pages.ts';
import {
  certs,
  drainListeners,
  healthCheckFail,
  healthCheckOk,
  logging,
  memory,
  quitQuitQuit,
  ready,
  reopenLogs,
  serverInfo,
} from './status_pages.ts';
import { clusters, listeners } from './upstream_pages.ts';

/** All pages, in the order of `/help`. */
const pages: readonly AdminPage[] = [
  certs,
  clusters,
  configDump,
  drainListeners,
  healthCheckFail,
  healthCheckOk,
  listeners,
  logging,
  memory,
  quitQuitQuit,
  ready,
  reopenLogs,
  serverInfo,
  stats,
  statsPrometheus,
];

const byPath = new Map(pages.map((page) => [page.path, page]));

function help(): AdminReply {
  const lines = pages.map(
    ({ path, help: line, changes }) => `  ${path}${changes ? ' (POST)' : ''}: ${line}\n`,
  );
  return text(
    `admin commands are:\n  /: this list\n${lines.join('')}  /help: print out list of admin commands\n`,
  );
}

async function reply(state: ProxyState, request: IncomingMessage): Promise<AdminReply> {
  const url = new URL(request.url ?? '/', 'http://admin');
  const method = request.method ?? 'GET';
  if (url.pathname === '/' || url.pathname === '/help') return help();
  const page = byPath.get(url.pathname);
  if (page === undefined) return { ...help(), status: 404, body: `invalid path. ${help().body}` };
  if (page.changes && method !== 'POST') return text(`Method ${method} not allowed, POST required.`, 405);
  return page.answer(state, { method, query: url.searchParams });
}

function answer(state: ProxyState, log: Logger, request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  reply(state, request)
    .catch((error: unknown) => {
      log.error('admin page failed', { path: request.url, error });
      return text('internal error\n', 500);
    })
    .then(({ status, contentType, body }) => {
      response.writeHead(status, {
        'content-type': contentType,
        'cache-control': 'no-cache, max-age=0',
        'x-content-type-options': 'nosniff',
        'content-length': Buffer.byteLength(body),
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    })
    .catch(() => response.destroy());
}

/** A listening admin interface. */
export interface AdminServer {
  /** `host:port`, or the path of a Unix socket. */
  readonly address: string;
  close(): Promise<void>;
}

/** Rejects when the address cannot be bound. */
export function startAdminServer(
  state: ProxyState,
  address: { readonly host: string; readonly port: number } | { readonly path: string },
  log: Logger,
): Promise<AdminServer> {
  const server: Server = createServer((request, response) => answer(state, log, request, response));
  server.maxConnections = 256;
  server.requestTimeout = 30_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => {
      const bound = server.address();
      resolve({
        address:
          bound === null || typeof bound === 'string' ? String(bound) : `${bound.address}:${bound.port}`,
        close: () =>
          new Promise((done) => {
            server.close(() => done());
            server.closeAllConnections();
          }),
      });
    });
  });
}
