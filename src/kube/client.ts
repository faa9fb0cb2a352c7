/** A small client of the Kubernetes API: typed verbs, time limits, bounded bodies, retries with back-off. */
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '#base/backoff.ts';
import type { KubeAccess } from './access.ts';
import { hasStatus, KubeError } from './kube_error.ts';
import {
  type ApiResource,
  type KubeList,
  type KubeObject,
  type KubeStatus,
  collectionPath,
  objectPath,
} from './object.ts';
import { readBody, Transport } from './transport.ts';
import { readWatch, type WatchEvent } from './watch_stream.ts';

/** How a client behaves. */
export interface KubeClientOptions {
  readonly access: KubeAccess;
  /** Default `trysail`. */
  readonly userAgent?: string;
  /** Longest wait for an answer, and for its body. Default 30 s. */
  readonly timeoutMs?: number;
  /** Largest body of an answer that is no watch. Default 64 MiB. */
  readonly maxBytes?: number;
  /** Tries of a request in all. Default 5. */
  readonly maxTries?: number;
  /** First wait between tries. Default 200 ms, doubling to 5 s. */
  readonly backoffMs?: number;
}

/** Which objects of a collection. */
export interface ListOptions {
  /** Absent: of all namespaces. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** A page of a list. */
export interface PageOptions extends ListOptions {
  readonly limit?: number;
  readonly continue?: string;
  readonly signal?: AbortSignal;
}

/** A watch. */
export interface WatchOptions extends ListOptions {
  readonly resourceVersion: string;
  /** The server is to end the watch after this many seconds. */
  readonly timeoutSeconds: number;
  /** Longest wait for the head of the answer in milliseconds; default as for other requests. */
  readonly headTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** How a patch is written (RFC 7386, RFC 6902, Kubernetes' strategic merge, server-side apply). */
export type PatchType = 'merge' | 'json' | 'strategic' | 'apply';

const patchContentTypes: Readonly<Record<PatchType, string>> = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** Options of writing. */
export interface WriteOptions {
  readonly signal?: AbortSignal;
  /** Who owns the fields (`apply` needs it). Default the user agent. */
  readonly fieldManager?: string;
  /** With `apply`: take fields over from other owners. */
  readonly force?: boolean;
}

/** One request in full. */
export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
  /** A request that may be sent twice without harm is retried after a broken connection. Default: GET only. */
  readonly idempotent?: boolean;
}

/** Longest time that a server's Retry-After is followed. */
const maxRetryAfterMs = 30_000;

function withQuery(path: string, query: KubeRequest['query']): string {
  const entries = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
  if (entries.length === 0) return path;
  return `${path}?${new URLSearchParams(entries.map(([key, value]) => [key, String(value)])).toString()}`;
}

function selectors(options: ListOptions): Record<string, string | undefined> {
  return { labelSelector: options.labelSelector, fieldSelector: options.fieldSelector };
}

function retryAfterOf(response: IncomingMessage): number | undefined {
  const seconds = Number(response.headers['retry-after']);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(seconds * 1000, maxRetryAfterMs) : undefined;
}

function readStatus(text: string): KubeStatus | undefined {
  try {
    const value = JSON.parse(text) as Partial<KubeStatus> | null;
    return value?.kind === 'Status' ? (value as KubeStatus) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether another try can help and does no harm. */
function isRetryable(error: KubeError, idempotent: boolean): boolean {
  if (error.code === 'http') {
    // 429: refused before anything was done. 503 and the like with Retry-After say the same.
    if (error.status === 429) return true;
    return error.status >= 500 && error.status !== 501 && (idempotent || error.retryAfterMs !== undefined);
  }
  if (error.code === 'credentials') return true;
  return idempotent && (error.code === 'connection' || error.code === 'timeout');
}

/** Talks to one API server. */
export class KubeClient {
  readonly access: KubeAccess;
  readonly #options: Required<Omit<KubeClientOptions, 'access'>>;
  readonly #transport: Transport;

  constructor(options: KubeClientOptions) {
    this.access = options.access;
    this.#options = {
      userAgent: options.userAgent ?? 'trysail',
      timeoutMs: options.timeoutMs ?? 30_000,
      maxBytes: options.maxBytes ?? 64 * 1024 * 1024,
      maxTries: options.maxTries ?? 5,
      backoffMs: options.backoffMs ?? 200,
    };
    this.#transport = new Transport(options.access, this.#options.userAgent);
  }

  /** Ends all connections, with the requests and watches on them. */
  close(): void {
    this.#transport.close();
  }

  /** One object. @throws KubeError with status 404 when it is not there. */
  async get<T extends KubeObject>(
    resource: ApiResource,
    namespace: string | undefined,
    name: string,
    signal?: AbortSignal,
  ): Promise<T> {
    return await this.request<T>({ method: 'GET', path: objectPath(resource, namespace, name), signal });
  }

  /** One object, or undefined when it is not there. */
  async find<T extends KubeObject>(
    resource: ApiResource,
    namespace: string | undefined,
    name: string,
    signal?: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return await this.get<T>(resource, namespace, name, signal);
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** One page of a collection, read at the newest version. */
  async listPage<T extends KubeObject>(
    resource: ApiResource,
    options: PageOptions = {},
  ): Promise<KubeList<T>> {
    const list = await this.request<KubeList<T>>({
      method: 'GET',
      path: collectionPath(resource, options.namespace),
      query: { ...selectors(options), limit: options.limit, continue: options.continue },
      signal: options.signal,
    });
    // An empty list of items may come as null.
    const items = (list.items as readonly T[] | null) ?? [];
    if (!Array.isArray(items) || typeof list.metadata?.resourceVersion !== 'string')
      throw new KubeError('malformed', `GET ${resource.plural}: the answer is no list`);
    return { ...list, items };
  }

  async create<T extends KubeObject>(
    resource: ApiResource,
    namespace: string | undefined,
    object: T,
    options: WriteOptions = {},
  ): Promise<T> {
    return await this.request<T>({
      method: 'POST',
      path: collectionPath(resource, namespace),
      query: { fieldManager: options.fieldManager },
      body: object,
      signal: options.signal,
    });
  }

  /** Replaces an object. With `metadata.resourceVersion`: only while it is still at that version, else status 409. */
  async update<T extends KubeObject>(
    resource: ApiResource,
    object: T,
    options: WriteOptions & { readonly subresource?: string } = {},
  ): Promise<T> {
    const { namespace, name, resourceVersion } = object.metadata;
    return await this.request<T>({
      method: 'PUT',
      path: objectPath(resource, namespace, name, options.subresource),
      query: { fieldManager: options.fieldManager },
      body: object,
      signal: options.signal,
      idempotent: resourceVersion === undefined,
    });
  }

  async patch<T extends KubeObject>(
    resource: ApiResource,
    namespace: string | undefined,
    name: string,
    type: PatchType,
    patch: unknown,
    options: WriteOptions & { readonly subresource?: string } = {},
  ): Promise<T> {
    const manager = options.fieldManager ?? (type === 'apply' ? this.#options.userAgent : undefined);
    return await this.request<T>({
      method: 'PATCH',
      path: objectPath(resource, namespace, name, options.subresource),
      query: { fieldManager: manager, force: type === 'apply' ? (options.force ?? false) : undefined },
      body: patch,
      contentType: patchContentTypes[type],
      signal: options.signal,
      idempotent: type === 'apply',
    });
  }

  /** Deletes an object; false when it was not there. */
  async delete(
    resource: ApiResource,
    namespace: string | undefined,
    name: string,
    options: WriteOptions & { readonly uid?: string } = {},
  ): Promise<boolean> {
    const body = options.uid === undefined ? undefined : { preconditions: { uid: options.uid } };
    try {
      await this.request({
        method: 'DELETE',
        path: objectPath(resource, namespace, name),
        body,
        signal: options.signal,
        idempotent: true,
      });
      return true;
    } catch (error) {
      if (hasStatus(error, 404)) return false;
      throw error;
    }
  }

  /** Posts to a subresource (`token`, `eviction`) and gives what the server made of it. */
  async createSubresource<T>(
    resource: ApiResource,
    namespace: string | undefined,
    name: string,
    subresource: string,
    body: unknown,
    signal?: AbortSignal,
  ): Promise<T> {
    return await this.request<T>({
      method: 'POST',
      path: objectPath(resource, namespace, name, subresource),
      body,
      signal,
    });
  }

  /**
   * Follows a collection from a version on. Events come in order, those of one read at a time. Resolves when the server
   * ends the watch; never retries.
   * @throws KubeError
   */
  async watch(
    resource: ApiResource,
    options: WatchOptions,
    onEvents: (events: readonly WatchEvent[]) => void,
  ): Promise<void> {
    const path = withQuery(collectionPath(resource, options.namespace), {
      ...selectors(options),
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: options.resourceVersion,
      timeoutSeconds: options.timeoutSeconds,
    });
    const response = await this.#transport.send({
      method: 'GET',
      path,
      timeoutMs: options.headTimeoutMs ?? this.#options.timeoutMs,
      signal: options.signal,
    });
    if (response.statusCode !== 200) throw await this.#failure(response, `GET ${path}`);
    const what = `watch of ${resource.plural}`;
    // The server's own limit comes first unless it hangs.
    const deadlineMs = options.timeoutSeconds * 1000 + Math.min(10_000, options.timeoutSeconds * 250);
    await readWatch(response, what, { deadlineMs }, onEvents);
  }

  /** Any request. @throws KubeError */
  async request<T>(request: KubeRequest): Promise<T> {
    const backoff = new Backoff({ baseMs: this.#options.backoffMs, maxMs: 5000 });
    const idempotent = request.idempotent ?? request.method === 'GET';
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once<T>(request);
      } catch (error) {
        if (!(error instanceof KubeError) || attempt >= this.#options.maxTries) throw error;
        // A token that has just been renewed: once more with the new one.
        const refused = error.status === 401 && attempt === 1;
        if (!refused && !isRetryable(error, idempotent)) throw error;
        const waitMs = refused ? 0 : Math.max(backoff.next(), error.retryAfterMs ?? 0);
        await sleep(waitMs, undefined, request.signal === undefined ? {} : { signal: request.signal });
      }
    }
  }

  async #once<T>(request: KubeRequest): Promise<T> {
    const path = withQuery(request.path, request.query);
    const { timeoutMs, maxBytes } = this.#options;
    const response = await this.#transport.send({
      method: request.method,
      path,
      timeoutMs,
      signal: request.signal,
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      ...(request.contentType === undefined ? {} : { contentType: request.contentType }),
    });
    const what = `${request.method} ${request.path}`;
    const { statusCode = 0 } = response;
    if (statusCode < 200 || statusCode > 299) throw await this.#failure(response, what);
    const text = await readBody(response, what, { maxBytes, timeoutMs });
    try {
      return JSON.parse(text) as T;
    } catch (error) {
      throw new KubeError('malformed', `${what}: the answer is no JSON`, { cause: error });
    }
  }

  /** The error that an answer stands for. */
  async #failure(response: IncomingMessage, what: string): Promise<KubeError> {
    const { statusCode: status = 0 } = response;
    if (status === 401) this.access.refresh();
    const { timeoutMs } = this.#options;
    const text = await readBody(response, what, { maxBytes: 1024 * 1024, timeoutMs }).catch(() => '');
    const details = readStatus(text);
    return new KubeError(
      'http',
      `${what}: ${status} ${details?.message ?? details?.reason ?? ''}`.trimEnd(),
      {
        status,
        details,
        retryAfterMs: retryAfterOf(response),
      },
    );
  }
}
