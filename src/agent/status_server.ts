/**
 * The agent's HTTP server (15020): readiness, merged metrics, application probes, the end and the drain of the pod, and
 * the DNS table.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toJson } from '@bufbuild/protobuf';
import { NameTableSchema, type NameTable } from '#api/gen/istio/networking/nds/v1/nds_pb.ts';
import type { Logger } from '#base/log.ts';
import { createServer } from '#base/node_http.ts';
import { mergeMetrics, type MergeOptions } from './metrics_merge.ts';
import type { Endpoint } from './options.ts';
import { probe, type AppProber } from './probers.ts';

export interface StatusServerOptions {
  readonly endpoint: Endpoint;
  /** Undefined when ready, else the reason. */
  readonly notReady: () => Promise<string | undefined>;
  readonly metrics: MergeOptions;
  /** Called before each scrape, to bring gauges up to date. */
  readonly beforeScrape: () => void;
  readonly nameTable: () => NameTable | undefined;
  /** Probes by path, `/app-health/CONTAINER/readyz`. */
  readonly probers: ReadonlyMap<string, AppProber>;
  /** Ends the agent. */
  readonly onQuit: () => void;
  /** Drains the proxy and lets the agent live. */
  readonly onDrain: () => void;
  readonly log: Logger;
}

const maxConnections = 200;

/** Time between two log lines about the same reason, milliseconds. */
const repeatReasonMs = 30_000;

/** 127/8, ::1 and IPv4-mapped 127/8. */
function isLocal(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? '';
  return address === '::1' || /^(?:::ffff:)?127\./.test(address);
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

export class StatusServer {
  readonly #options: StatusServerOptions;
  readonly #log: Logger;
  readonly #server: Server;
  #reason: { readonly text: string | undefined; readonly atMs: number } | undefined;

  constructor(options: StatusServerOptions) {
    this.#options = options;
    this.#log = options.log.scope('status');
    this.#server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 }, (request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        this.#log.error('request failed', { error });
        if (!response.headersSent) send(response, 500, 'internal error\n');
      });
    });
    this.#server.maxConnections = maxConnections;
  }

  /** Gives the port. */
  async listen(): Promise<number> {
    const { address, port } = this.#options.endpoint;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, address, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const path = (request.url ?? '/').split('?')[0] ?? '/';
    switch (path) {
      case '/healthz/ready':
        return this.#ready(response);
      case '/stats/prometheus': {
        this.#options.beforeScrape();
        const { accept } = request.headers;
        const timeout = request.headers['x-prometheus-scrape-timeout-seconds'];
        const { body, contentType } = await mergeMetrics(this.#options.metrics, {
          ...(accept === undefined ? {} : { accept }),
          ...(typeof timeout === 'string' ? { timeoutSeconds: timeout } : {}),
        });
        return send(response, 200, body, contentType);
      }
      case '/quitquitquit':
        return this.#command(request, response, this.#options.onQuit);
      case '/drain':
        return this.#command(request, response, this.#options.onDrain);
      case '/debug/ndsz':
        return this.#names(request, response);
      default:
        return this.#probe(path, request, response);
    }
  }

  async #ready(response: ServerResponse): Promise<void> {
    const reason = await this.#options.notReady();
    const changed = this.#reason === undefined || this.#reason.text !== reason;
    if (changed || (reason !== undefined && Date.now() - (this.#reason?.atMs ?? 0) > repeatReasonMs)) {
      if (reason !== undefined) this.#log.warn('proxy is not ready', { reason });
      this.#reason = { text: reason, atMs: Date.now() };
    }
    send(response, reason === undefined ? 200 : 503, reason === undefined ? '' : `${reason}\n`);
  }

  #command(request: IncomingMessage, response: ServerResponse, run: () => void): void {
    if (!isLocal(request)) return send(response, 403, 'only from inside the pod\n');
    if (request.method !== 'POST') return send(response, 405, 'only POST\n');
    send(response, 200, 'OK');
    run();
    return undefined;
  }

  #names(request: IncomingMessage, response: ServerResponse): void {
    if (!isLocal(request)) return send(response, 403, 'only from inside the pod\n');
    const table = this.#options.nameTable();
    if (table === undefined) return send(response, 404, 'no name table\n');
    return send(
      response,
      200,
      `${JSON.stringify(toJson(NameTableSchema, table), null, 2)}\n`,
      'application/json',
    );
  }

  async #probe(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const prober = this.#options.probers.get(path);
    if (prober === undefined) return send(response, 404, 'not found\n');
    const { status, reason } = await probe(prober, request.headers);
    if (reason !== undefined) this.#log.debug('probe failed', { path, reason });
    return send(response, status, '');
  }
}
