/** The admin interface: plain HTTP on the address of `bootstrap.admin`, loopback in a mesh. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Logger } from '#base/log.ts';
import { createServer } from '#base/node_http.ts';
import { configDump } from './config_dump_page.ts';
import { logging } from './logging_page.ts';
import { type AdminPage, type AdminReply, html, text } from './page.ts';
import {
  allocProfiler,
  contention,
  cpuProfiler,
  heapDump,
  heapProfiler,
  memoryAllocator,
  peakHeapDump,
} from './profiling_pages.ts';
import type { ProxyState } from './proxy_state.ts';
import { runtime, runtimeModify } from './runtime_pages.ts';
import { resetCounters, stats, statsPrometheus } from './stats_pages.ts';
import {
  certs,
  drainListeners,
  healthCheckFail,
  healthCheckOk,
  hotRestartVersion,
  initDump,
  memory,
  quitQuitQuit,
  ready,
  reopenLogs,
  serverInfo,
} from './status_pages.ts';
import { clusters, listeners } from './upstream_pages.ts';

/** All pages, in the order of `/help`. */
const pages: readonly AdminPage[] = [
  allocProfiler,
  certs,
  clusters,
  configDump,
  contention,
  cpuProfiler,
  drainListeners,
  healthCheckFail,
  healthCheckOk,
  heapDump,
  heapProfiler,
  hotRestartVersion,
  initDump,
  listeners,
  logging,
  memory,
  memoryAllocator,
  peakHeapDump,
  quitQuitQuit,
  ready,
  reopenLogs,
  resetCounters,
  runtime,
  runtimeModify,
  serverInfo,
  stats,
  statsPrometheus,
];

const byPath = new Map(pages.map((page) => [page.path, page]));

/** Bytes of a form that a POST may carry. */
const maxFormBytes = 64 * 1024;

function help(): string {
  const lines = pages.map(({ path, help: line, changes, parameters = [] }) => {
    const more = parameters.map((parameter) => `      ${parameter.name}: ${parameter.help}\n`);
    return `  ${path}${changes ? ' (POST)' : ''}: ${line}\n${more.join('')}`;
  });
  const own = '  /help: print out list of admin commands\n';
  const at = pages.findIndex(({ path }) => path > '/help');
  return `admin commands are:\n  /: Admin home page\n${lines.toSpliced(at, 0, own).join('')}`;
}

/** Links to what can be looked at, names of what changes something. */
function home(): string {
  const rows = pages.map(({ path, help: line, changes }) => {
    const name = changes ? `${path} (POST)` : `<a href='${path.slice(1)}'>${path.slice(1)}</a>`;
    return `<tr><td>${name}</td><td>${line}</td></tr>\n`;
  });
  return `<!DOCTYPE html>\n<html lang='en'>\n<head><title>trysail admin</title></head>\n<body>\n<table>\n${rows.join('')}</table>\n</body>\n</html>\n`;
}

/** Fields of a posted form; undefined when it is too long. */
async function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  if (request.method !== 'POST' || request.headers['content-type'] !== 'application/x-www-form-urlencoded') {
    request.resume();
    return new URLSearchParams();
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxFormBytes) return undefined;
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('latin1'));
}

async function reply(state: ProxyState, request: IncomingMessage): Promise<AdminReply> {
  const url = URL.parse(request.url ?? '/', 'http://admin');
  const form = await readForm(request);
  if (form === undefined || url === null) return text('Bad Request', form === undefined ? 413 : 400);
  const method = request.method ?? 'GET';
  if (url.pathname === '/') return html(home());
  if (url.pathname === '/help') return text(help());
  const page = byPath.get(url.pathname);
  if (page === undefined) return text(`invalid path. ${help()}`, 404);
  if (page.changes && method !== 'POST') return text(`Method ${method} not allowed, POST required.`, 405);
  for (const [name, value] of form) url.searchParams.append(name, value);
  return page.answer(state, { method, query: url.searchParams });
}

function answer(state: ProxyState, log: Logger, request: IncomingMessage, response: ServerResponse): void {
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
