/** One HTTP exchange with the API server: connections, credentials, time limits. HTTP/1.1, a connection per watch. */
import {
  Agent as HttpAgent,
  type IncomingMessage,
  type RequestOptions,
  request as httpRequest,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { AccessMaterial, KubeAccess } from './access.ts';
import { KubeError } from './kube_error.ts';

/** Idle connections that are kept. Watches hold one each beside them. */
const maxFreeSockets = 4;
/** TCP keep-alive finds a peer whose network is gone, also under a watch without events. */
const keepAliveMs = 15_000;

/** One exchange. */
export interface Exchange {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly body?: string;
  readonly contentType?: string;
  readonly accept?: string;
  /** Until the head of the answer is there. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

type Agent = HttpAgent | HttpsAgent;

function sameTls(a: AccessMaterial, b: AccessMaterial): boolean {
  return a.ca === b.ca && a.cert === b.cert && a.key === b.key;
}

/** Owns the connections to one API server. */
export class Transport {
  readonly access: KubeAccess;
  readonly #base: URL;
  readonly #userAgent: string;
  #agent: Agent | undefined;
  #tls: AccessMaterial = {};

  constructor(access: KubeAccess, userAgent: string) {
    this.access = access;
    this.#base = new URL(access.server);
    this.#userAgent = userAgent;
  }

  /** Sends and resolves with the answer, whatever its status; its body must be read or destroyed. @throws KubeError */
  async send(exchange: Exchange): Promise<IncomingMessage> {
    const what = `${exchange.method} ${exchange.path}`;
    let material: AccessMaterial;
    try {
      material = await this.access.material();
    } catch (error) {
      throw new KubeError('credentials', `no credentials from ${this.access.origin}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    exchange.signal?.throwIfAborted();
    const options = this.#options(exchange, material);
    const start = this.#base.protocol === 'http:' ? httpRequest : httpsRequest;
    return await new Promise<IncomingMessage>((resolve, reject) => {
      const request = start(options);
      const timer = setTimeout(() => {
        request.destroy(new KubeError('timeout', `${what}: no answer in ${exchange.timeoutMs} ms`));
      }, exchange.timeoutMs);
      const abort = (): void => void request.destroy(new Error('aborted'));
      exchange.signal?.addEventListener('abort', abort, { once: true });
      request.once('response', (response) => {
        clearTimeout(timer);
        // The signal goes on to end the body.
        response.once('close', () => exchange.signal?.removeEventListener('abort', abort));
        resolve(response);
      });
      request.on('error', (error) => {
        clearTimeout(timer);
        exchange.signal?.removeEventListener('abort', abort);
        if (error instanceof KubeError) reject(error);
        else reject(new KubeError('connection', `${what}: ${messageOf(error)}`, { cause: error }));
      });
      request.end(exchange.body);
    });
  }

  /** Ends all connections, with the exchanges on them. */
  close(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
  }

  #options(exchange: Exchange, material: AccessMaterial): RequestOptions {
    const { body, contentType = 'application/json', accept = 'application/json' } = exchange;
    const base = this.#base;
    return {
      method: exchange.method,
      protocol: base.protocol,
      hostname: base.hostname.replace(/^\[|\]$/g, ''),
      port: base.port === '' ? (base.protocol === 'http:' ? 80 : 443) : base.port,
      path: `${base.pathname === '/' ? '' : base.pathname}${exchange.path}`,
      agent: this.#agentFor(material),
      headers: {
        accept,
        'user-agent': this.#userAgent,
        ...(material.token === undefined ? {} : { authorization: `Bearer ${material.token}` }),
        ...(body === undefined
          ? {}
          : { 'content-type': contentType, 'content-length': Buffer.byteLength(body) }),
      },
    };
  }

  /** New roots or a new client certificate need new connections. */
  #agentFor(material: AccessMaterial): Agent {
    if (this.#agent !== undefined && sameTls(this.#tls, material)) return this.#agent;
    this.#agent?.destroy();
    this.#tls = material;
    const pool = { keepAlive: true, keepAliveMsecs: keepAliveMs, maxFreeSockets };
    if (this.#base.protocol === 'http:') return (this.#agent = new HttpAgent(pool));
    const { tlsServerName, verify = true } = this.access;
    return (this.#agent = new HttpsAgent({
      ...pool,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: verify,
      ...(material.ca === undefined ? {} : { ca: material.ca }),
      ...(material.cert === undefined ? {} : { cert: material.cert }),
      ...(material.key === undefined ? {} : { key: material.key }),
      ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
    }));
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

/** Reads a whole body. @throws KubeError when it is cut, too large, or late. */
export async function readBody(
  response: IncomingMessage,
  what: string,
  limits: { readonly maxBytes: number; readonly timeoutMs: number },
): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  return await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(
      () => response.destroy(new KubeError('timeout', `${what}: the answer took too long`)),
      limits.timeoutMs,
    );
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > limits.maxBytes)
        response.destroy(new KubeError('too_large', `${what}: more than ${limits.maxBytes} bytes`));
      else chunks.push(chunk);
    });
    response.once('end', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks, size).toString('utf8'));
    });
    response.once('error', (error) => {
      clearTimeout(timer);
      if (error instanceof KubeError) reject(error);
      else reject(new KubeError('connection', `${what}: ${messageOf(error)}`, { cause: error }));
    });
    response.once('close', () => {
      clearTimeout(timer);
      if (!response.complete) reject(new KubeError('connection', `${what}: the answer was cut`));
    });
  });
}
