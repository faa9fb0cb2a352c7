/** The mutating webhook: HTTPS, `POST /inject[/NAME/VALUE...]` with an AdmissionReview, and readiness. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Server, createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Logger, silentLogger } from '#base/log.ts';
import type { MetricsRegistry } from '#telemetry/metrics.ts';
import type { JsonObject } from '../pod/shape.ts';
import { type ReviewResult, type ReviewSettings, reviewPod } from '../review.ts';
import {
  BadRequest,
  type BodyBounds,
  type Held,
  defaultBodyBounds,
  parseJson,
  readBody,
} from './review_body.ts';
import { type WebhookMetrics, webhookMetrics } from './webhook_metrics.ts';

/** Certificate and key, PEM. */
export interface WebhookTls {
  readonly cert: string;
  readonly key: string;
}

export interface WebhookServerOptions {
  readonly tls: WebhookTls;
  /** Settings in force, asked for at each review; undefined while there are none that are good. */
  readonly settings: () => ReviewSettings | undefined;
  readonly metrics: MetricsRegistry;
  readonly bounds?: Partial<BodyBounds>;
  readonly log?: Logger;
}

/** Longer than clients of Kubernetes keep an idle connection (90 s): a request never meets a closing server. */
const keepAliveTimeoutMs = 120_000;
/** Connections of API servers; each keeps a few. */
const maxConnections = 1024;
const maxHeaderBytes = 16 * 1024;
/** Longest text of a reason that goes out or into the log, in characters. */
const maxReason = 4096;
/** Paths that tell whether the server is there. */
const healthPaths: ReadonlySet<string> = new Set(['/ready', '/httpsReady']);

function statusBody(code: number, message: string): JsonObject {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    reason: code === 400 ? 'BadRequest' : code === 503 ? 'ServiceUnavailable' : 'Failure',
    code,
    message: message.slice(0, maxReason),
  };
}

function send(response: ServerResponse, code: number, body: JsonObject): void {
  if (response.destroyed || response.headersSent) return;
  const bytes = Buffer.from(JSON.stringify(body));
  // The rest of a refused request is not waited for.
  if (!response.req.complete) response.setHeader('connection', 'close');
  response.writeHead(code, { 'content-type': 'application/json', 'content-length': bytes.length });
  response.end(bytes);
}

/** What is logged of a pod; names only. */
function podName(review: unknown): { readonly namespace: string; readonly pod: string } {
  const { request } = review as {
    readonly request?: {
      readonly namespace?: string;
      readonly object?: { readonly metadata?: Readonly<Record<string, unknown>> };
    };
  };
  const { name, generateName, namespace = request?.namespace ?? '' } = request?.object?.metadata ?? {};
  return { namespace: String(namespace), pod: String(name ?? generateName ?? '') };
}

/** Serves reviews. Owns the socket and its connections. */
export class WebhookServer {
  readonly #options: WebhookServerOptions;
  readonly #bounds: BodyBounds;
  readonly #metrics: WebhookMetrics;
  readonly #log: Logger;
  readonly #server: Server;
  readonly #held: Held = { requests: 0, bytes: 0 };

  constructor(options: WebhookServerOptions) {
    this.#options = options;
    this.#bounds = { ...defaultBodyBounds, ...options.bounds };
    this.#metrics = webhookMetrics(options.metrics);
    this.#log = (options.log ?? silentLogger).scope('injection');
    const { timeoutMs } = this.#bounds;
    this.#server = createServer(
      {
        cert: options.tls.cert,
        key: options.tls.key,
        minVersion: 'TLSv1.2',
        maxHeaderSize: maxHeaderBytes,
        headersTimeout: timeoutMs,
        requestTimeout: timeoutMs,
        handshakeTimeout: timeoutMs,
        connectionsCheckingInterval: Math.max(20, Math.min(timeoutMs / 4, 5000)),
        keepAliveTimeout: keepAliveTimeoutMs,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = maxConnections;
  }

  /** Listens; an empty address is all, port 0 picks a free one. Resolves with the port. */
  async listen(address: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(address === '' ? { port } : { port, host: address }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    return (this.#server.address() as AddressInfo).port;
  }

  /** New connections use this certificate; those that are open stay. */
  rotate({ cert, key }: WebhookTls): void {
    this.#server.setSecureContext({ cert, key, minVersion: 'TLSv1.2' });
  }

  /** Stops listening; reviews under way are answered, idle connections end. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const late = setTimeout(() => this.#server.closeAllConnections(), 1000);
    await closed;
    clearTimeout(late);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A peer that resets its connection ends the request, nothing else.
    response.on('error', () => {});
    try {
      const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
      if (healthPaths.has(path)) this.#health(request, response);
      else if (path === '/inject' || path.startsWith('/inject/')) await this.#inject(request, response, path);
      else send(response, 404, statusBody(404, 'expected a path below /inject'));
    } catch (error) {
      this.#log.error('a request failed', { error });
      send(response, 500, statusBody(500, 'internal error'));
    }
    // What nobody reads would keep the connection busy; it is thrown away until the connection ends.
    request.resume();
  }

  #health(request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return send(response, 405, statusBody(405, 'expected GET'));
    }
    const ready = this.#options.settings() !== undefined;
    response.writeHead(ready ? 200 : 503, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(ready || request.method === 'HEAD' ? undefined : 'no good configuration of the injector\n');
  }

  async #inject(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const { requests, failure } = this.#metrics;
    requests.inc();
    this.#held.requests++;
    let answered = false;
    try {
      this.#checkHead(request, response);
      const body = await readBody(request, this.#bounds, this.#held);
      const result = this.#review(parseJson(body), path);
      answered = true;
      send(response, result.status, result.body);
    } catch (error) {
      if (!answered) failure.inc();
      if (!(error instanceof BadRequest)) throw error;
      this.#log.warn('request refused', { status: error.status, reason: error.message });
      if (error.status === 503) response.setHeader('retry-after', '1');
      send(response, error.status, statusBody(error.status, error.message));
    } finally {
      this.#held.requests--;
    }
  }

  /** @throws BadRequest */
  #checkHead({ method, headers }: IncomingMessage, response: ServerResponse): void {
    if (method !== 'POST') {
      response.setHeader('allow', 'POST');
      throw new BadRequest(405, 'expected POST');
    }
    const type = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
    if (type !== 'application/json') throw new BadRequest(415, 'expected content-type application/json');
    const encoding = headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') throw new BadRequest(415, 'expected no content-encoding');
    if (this.#held.requests > this.#bounds.maxRequests)
      throw new BadRequest(503, 'too many reviews at one time');
  }

  /** @throws BadRequest 503 without settings */
  #review(review: unknown, path: string): ReviewResult {
    const settings = this.#options.settings();
    if (settings === undefined) throw new BadRequest(503, 'the injector has no good configuration');
    const { success, failure, skip, time } = this.#metrics;
    const start = performance.now();
    const result = reviewPod(review, path, settings);
    time.observe((performance.now() - start) / 1000);
    const reason = result.reason.slice(0, maxReason);
    switch (result.outcome) {
      case 'injected':
        success.inc();
        this.#log.debug('injected', podName(review));
        break;
      case 'skipped':
        skip.inc();
        this.#log.debug('skipped', { ...podName(review), reason });
        break;
      case 'failed':
        failure.inc();
        this.#log.warn('pod refused', { ...podName(review), reason });
        break;
      case 'bad_request':
        throw new BadRequest(result.status, reason);
    }
    return result;
  }
}
