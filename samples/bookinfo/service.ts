/** What the four services share: a server that ends gracefully, JSON answers, and calls that carry headers along. */
import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
  createServer,
  get,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** Where and as what a service runs. */
export interface ServiceOptions {
  readonly name: string;
  /** Default 0.0.0.0. */
  readonly host: string;
  /** Default 9080; 0 takes a free one. */
  readonly port: number;
  readonly version: string;
}

/** HOST, PORT (or the first argument) and SERVICE_VERSION. */
export function serviceOptions(name: string): ServiceOptions {
  const port = Number(process.argv[2] ?? process.env['PORT'] ?? 9080);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    console.error(`usage: node ${name}.ts [PORT]`);
    process.exit(2);
  }
  return {
    name,
    host: process.env['HOST'] ?? '0.0.0.0',
    port,
    version: process.env['SERVICE_VERSION'] ?? 'v1',
  };
}

/** Answers a request; a rejection becomes status 500. */
export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void> | void;

/** How long a stopping service still takes requests on open connections, each answered with `connection: close`. */
const lingerMs = 500;
/** After this a stopping service ends whatever is under way. */
const drainMs = 10_000;

/** Listens until SIGTERM or SIGINT, then finishes what is under way and ends. */
export function serve({ name, host, port, version }: ServiceOptions, handler: Handler): void {
  let stopping = false;
  const server = createServer((request, response) => {
    if (stopping) response.setHeader('connection', 'close');
    const url = parseUrl(request.url ?? '/');
    if (url === undefined) return sendJson(response, 400, { error: 'bad request' });
    Promise.resolve()
      .then(() => handler(request, response, url))
      .catch((error: unknown) => {
        console.error(`${name}: ${request.method} ${url.pathname}:`, error);
        if (response.headersSent) response.destroy();
        else sendJson(response, 500, { error: 'internal error' });
      });
  });
  // Callers keep connections for up to an hour: were this side the first to close, a request could meet the close.
  server.keepAliveTimeout = 3_700_000;
  server.on('error', (error) => {
    console.error(`${name}: ${error.message}`);
    process.exit(1);
  });
  server.listen(port, host, () => {
    const address = server.address() as AddressInfo;
    console.log(`${name} ${version} listening on ${address.address}:${address.port}`);
  });
  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    setTimeout(() => server.close(() => process.exit(0)), lingerMs);
    setTimeout(() => process.exit(0), drainMs).unref();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

function parseUrl(target: string): URL | undefined {
  return URL.parse(target, 'http://service') ?? undefined;
}

/** Sends a value as JSON. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

/**
 * Headers that a service passes from the request it serves to the requests it makes: trace context of every usual
 * form, the request id, and who asks. Tracing and routing by user depend on it.
 */
export const carriedHeaders: readonly string[] = [
  'x-request-id',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'b3',
  'traceparent',
  'tracestate',
  'x-cloud-trace-context',
  'x-ot-span-context',
  'grpc-trace-bin',
  'x-datadog-trace-id',
  'x-datadog-parent-id',
  'x-datadog-sampling-priority',
  'sw8',
  'end-user',
  'user-agent',
  'cookie',
  'authorization',
  'jwt',
];

/** The headers to carry along from a request. */
export function carry(headers: IncomingHttpHeaders): Record<string, string> {
  const carried: Record<string, string> = {};
  for (const name of carriedHeaders) {
    const value = headers[name];
    if (typeof value === 'string') carried[name] = value;
  }
  return carried;
}

/** `http://reviews:9080`, from NAME_HOSTNAME, NAME_SERVICE_PORT and SERVICES_DOMAIN. */
export function serviceUrl(name: string): string {
  const prefix = name.toUpperCase();
  const domain = process.env['SERVICES_DOMAIN'] ?? '';
  const host = process.env[`${prefix}_HOSTNAME`] ?? name;
  return `http://${host}${domain === '' ? '' : `.${domain}`}:${process.env[`${prefix}_SERVICE_PORT`] ?? '9080'}`;
}

/** A whole answer; status 0 when there was none. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** Longest answer that is read, in bytes. */
const maxBodyBytes = 1_048_576;

/** Gets JSON. Connections are kept and reused. Never rejects. */
export function getJson(url: string, headers: Record<string, string>, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const none = (): void => resolve({ status: 0, body: undefined });
    const request = get(url, { headers, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBodyBytes) request.destroy(new Error('answer too long'));
        else chunks.push(chunk);
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: parse(Buffer.concat(chunks)) }),
      );
      response.on('error', none);
    });
    request.on('error', none);
  });
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** The last part of a path as a product id, undefined when it is not a number. */
export function productId(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}
