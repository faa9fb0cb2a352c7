/**
 * The one list/watch loop: keeps a copy of a collection and tells each change once, in order.
 *
 *   list (all pages) -> differences to what was known -> watch from the list's version -> events
 *        ^                                                  |  ended, cut or late: watch again from the last version
 *        +---- the version is lost (410): list again <------+
 *
 * A list is taken over as a whole. Between two lists nothing is told twice: events carry on from the version of the last
 * event or bookmark, and one that shows an object at the version that is known is left out. What happened while the
 * server kept no history is told as the difference: several changes of one object are then one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '#base/backoff.ts';
import { type Logger, silentLogger } from '#base/log.ts';
import type { KubeClient, ListOptions } from './client.ts';
import { isVersionLost, KubeError } from './kube_error.ts';
import { type ApiResource, type KubeObject, apiVersionOf } from './object.ts';
import type { WatchEvent } from './watch_stream.ts';

/** One change of the collection. */
export type ReflectorChange<T> =
  | { readonly type: 'add'; readonly value: T }
  | { readonly type: 'update'; readonly value: T; readonly previous: T }
  | { readonly type: 'delete'; readonly value: T };

/** What to follow, and what to do with it. */
export interface ReflectorOptions<T> extends ListOptions {
  readonly client: KubeClient;
  readonly resource: ApiResource;
  /**
   * What is kept of an object; undefined leaves it out. `previous` is what is kept of it now. The same value again is no
   * change. Must not throw.
   */
  readonly read: (object: KubeObject, previous: T | undefined) => T | undefined;
  /** Hears changes after they show in `values`; those of one read at a time. Must not throw. */
  readonly onChanges: (changes: readonly ReflectorChange<T>[]) => void;
  /** The server does not know the resource (404). Called at each try; the state stays. */
  readonly onUnknown?: () => void;
  readonly log?: Logger;
  /** Objects per page of a list. Default 500. */
  readonly pageSize?: number;
  /** Most objects that are kept. Default 500 000; a longer list is an error and the state stays. */
  readonly maxObjects?: number;
  /** The server ends each watch after a time between this and twice this, in seconds. Default 120. */
  readonly watchSeconds?: number;
  /** Wait after a failure in milliseconds, doubling. Default 500 to 30 000. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
}

/** State of a reflector, for debug pages and metrics. */
export interface ReflectorState {
  /** `v1/pods`. */
  readonly resource: string;
  /** True once a full list has been taken over. */
  readonly synced: boolean;
  readonly objects: number;
  /** Of the last list, event or bookmark; empty before the first. */
  readonly resourceVersion: string;
  /** Since the start. */
  readonly lists: number;
  readonly watches: number;
  readonly events: number;
  readonly bookmarks: number;
  /** The failure that is being waited out; absent when all is well. */
  readonly error?: string;
}

interface Known<T> {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly value: T;
}

/** A watch that lives shorter counts as a failure, so that a server that ends them at once is not hammered. */
const shortWatchMs = 1000;
/** History that is gone twice within this time is waited out. */
const lostAgainMs = 10_000;

function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}

/** Waits; less when the signal comes. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    // aborted
  }
}

/** Keeps a copy of a collection. */
export class Reflector<T> {
  readonly #options: ReflectorOptions<T>;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #known = new Map<string, Known<T>>();
  #version = '';
  #synced = false;
  #pageSize: number;
  #lists = 0;
  #watches = 0;
  #events = 0;
  #bookmarks = 0;
  #error: string | undefined;
  /** In a row. */
  #failures = 0;
  #lostAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;
  #waiters: (() => void)[] = [];

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#backoff = new Backoff(options.backoff ?? { baseMs: 500, maxMs: 30_000 });
    this.#pageSize = options.pageSize ?? 500;
  }

  /** Starts the loop; it runs until `close`. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves once a full list has been taken over. */
  async synced(): Promise<void> {
    if (!this.#synced) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  get isSynced(): boolean {
    return this.#synced;
  }

  /** What is kept now, in no particular order. */
  *values(): IterableIterator<T> {
    for (const { value } of this.#known.values()) yield value;
  }

  /** One of the values; `namespace` is undefined for cluster-scoped objects. */
  get(namespace: string | undefined, name: string): T | undefined {
    return this.#known.get(namespace === undefined ? name : `${namespace}/${name}`)?.value;
  }

  get state(): ReflectorState {
    const { resource } = this.#options;
    return {
      resource: `${apiVersionOf(resource)}/${resource.plural}`,
      synced: this.#synced,
      objects: this.#known.size,
      resourceVersion: this.#version,
      lists: this.#lists,
      watches: this.#watches,
      events: this.#events,
      bookmarks: this.#bookmarks,
      ...(this.#error === undefined ? {} : { error: this.#error }),
    };
  }

  /** Ends the loop. Nothing is told after it resolves. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#resolveWaiters();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (this.#version === '') await this.#list();
        await this.#watch();
      } catch (error) {
        if (signal.aborted) return;
        await this.#fail(error);
      }
    }
  }

  /** Says what went wrong, decides what is done next, and waits. */
  async #fail(error: unknown): Promise<void> {
    const { resource, onUnknown } = this.#options;
    const message = error instanceof Error ? error.message : String(error);
    const lost = isVersionLost(error);
    if (lost) {
      this.#log.info('the history is gone, listing again', { resource: resource.plural, reason: message });
      this.#version = '';
    } else {
      // Connections end all the time; a server that says no, or one that stays away, is worth a line.
      const worth = ++this.#failures === 2 || (error instanceof KubeError && error.code === 'http');
      const fields = { resource: resource.plural, error: message };
      if (worth && message !== this.#error) this.#log.warn('cannot follow, trying again', fields);
      else this.#log.debug('the watch ended, starting again', fields);
      this.#error = message;
    }
    if (error instanceof KubeError && error.code === 'too_large')
      this.#pageSize = Math.max(1, Math.floor(this.#pageSize / 4));
    if (error instanceof KubeError && error.status === 404) onUnknown?.();
    const waitMs = this.#backoff.next();
    if (lost) {
      // The new list is due at once, unless history went only a moment ago too.
      const before = this.#lostAt;
      this.#lostAt = performance.now();
      if (this.#lostAt - before > lostAgainMs) return;
    }
    const asked = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
    await pause(Math.max(waitMs, asked), this.#stop.signal);
  }

  async #list(): Promise<void> {
    const { client, resource, read, maxObjects = 500_000 } = this.#options;
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const { signal } = this.#stop;
    const next = new Map<string, Known<T>>();
    let version = '';
    let token: string | undefined;
    let seen = 0;
    do {
      const page = await client.listPage(resource, {
        limit: this.#pageSize,
        signal,
        ...(token === undefined ? {} : { continue: token }),
        ...(namespace === undefined ? {} : { namespace }),
        ...(labelSelector === undefined ? {} : { labelSelector }),
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
      });
      seen += page.items.length;
      if (seen > maxObjects)
        throw new KubeError('too_large', `${resource.plural}: more than ${maxObjects} objects`);
      for (const object of page.items) {
        const key = keyOf(object);
        const { uid = '', resourceVersion = '' } = object.metadata;
        const known = this.#known.get(key);
        if (known?.uid === uid && known.resourceVersion === resourceVersion) {
          next.set(key, known);
          continue;
        }
        const value = read(object, known?.uid === uid ? known.value : undefined);
        if (value !== undefined) next.set(key, { uid, resourceVersion, value });
      }
      // All pages show the state at the version of the first.
      version = page.metadata.resourceVersion;
      token = page.metadata.continue === '' ? undefined : page.metadata.continue;
    } while (token !== undefined && !signal.aborted);
    if (signal.aborted) return;
    this.#takeOver(next, version);
  }

  #takeOver(next: Map<string, Known<T>>, version: string): void {
    const changes: ReflectorChange<T>[] = [];
    for (const [key, { uid, value }] of this.#known) {
      const now = next.get(key);
      if (now === undefined || now.uid !== uid) changes.push({ type: 'delete', value });
    }
    for (const [key, { uid, value }] of next) {
      const before = this.#known.get(key);
      if (before === undefined || before.uid !== uid) changes.push({ type: 'add', value });
      else if (before.value !== value) changes.push({ type: 'update', value, previous: before.value });
    }
    this.#known = next;
    this.#version = version;
    this.#lists++;
    if (changes.length > 0) this.#options.onChanges(changes);
    if (this.#synced) return;
    this.#synced = true;
    this.#resolveWaiters();
  }

  async #watch(): Promise<void> {
    const { client, resource, watchSeconds = 120 } = this.#options;
    const { namespace, labelSelector, fieldSelector } = this.#options;
    const { signal } = this.#stop;
    if (signal.aborted) return;
    const started = performance.now();
    const eventsBefore = this.#events + this.#bookmarks;
    // Spread, so that the watches of many clients do not end at one time.
    const timeoutSeconds = Math.max(1, Math.round(watchSeconds * (1 + Math.random())));
    this.#watches++;
    await client.watch(
      resource,
      {
        resourceVersion: this.#version,
        timeoutSeconds,
        signal,
        ...(namespace === undefined ? {} : { namespace }),
        ...(labelSelector === undefined ? {} : { labelSelector }),
        ...(fieldSelector === undefined ? {} : { fieldSelector }),
      },
      (events) => this.#onEvents(events),
    );
    if (signal.aborted) return;
    if (performance.now() - started < shortWatchMs && this.#events + this.#bookmarks === eventsBefore)
      throw new KubeError('connection', `watch of ${resource.plural}: ended at once`);
    this.#recovered();
    this.#backoff.reset();
  }

  /** Events of one read: applied in order, told at once. */
  #onEvents(events: readonly WatchEvent[]): void {
    if (this.#stop.signal.aborted) return;
    const changes: ReflectorChange<T>[] = [];
    let failure: KubeError | undefined;
    for (const event of events) {
      if (event.type === 'ERROR') {
        const { code = 500, message = event.object.reason ?? 'unknown' } = event.object;
        failure = new KubeError('http', `watch of ${this.#options.resource.plural}: ${message}`, {
          status: code,
          details: event.object,
        });
        break;
      }
      const version = event.object.metadata?.resourceVersion;
      if (typeof version !== 'string' || version === '') {
        failure = new KubeError('malformed', 'an event of a watch has no resourceVersion');
        break;
      }
      if (event.type === 'BOOKMARK') this.#bookmarks++;
      else {
        this.#events++;
        this.#apply(event.type, event.object, version, changes);
      }
      this.#version = version;
    }
    this.#recovered();
    if (events.length > 0 && failure === undefined) this.#backoff.reset();
    if (changes.length > 0) this.#options.onChanges(changes);
    if (failure !== undefined) throw failure;
  }

  #apply(
    type: 'ADDED' | 'MODIFIED' | 'DELETED',
    object: KubeObject,
    resourceVersion: string,
    changes: ReflectorChange<T>[],
  ): void {
    const key = keyOf(object);
    const { uid = '' } = object.metadata;
    const known = this.#known.get(key);
    if (type === 'DELETED') {
      if (known === undefined || known.uid !== uid) return;
      this.#known.delete(key);
      changes.push({ type: 'delete', value: known.value });
      return;
    }
    if (known !== undefined && known.uid !== uid) {
      // The deletion of the object that had the name before was not seen.
      this.#known.delete(key);
      changes.push({ type: 'delete', value: known.value });
      this.#apply(type, object, resourceVersion, changes);
      return;
    }
    if (known?.resourceVersion === resourceVersion) return;
    const value = this.#options.read(object, known?.value);
    if (value === undefined) {
      if (known === undefined) return;
      this.#known.delete(key);
      changes.push({ type: 'delete', value: known.value });
      return;
    }
    this.#known.set(key, { uid, resourceVersion, value });
    if (known === undefined) changes.push({ type: 'add', value });
    else if (known.value !== value) changes.push({ type: 'update', value, previous: known.value });
  }

  #recovered(): void {
    if (this.#failures >= 2) this.#log.info('following again', { resource: this.#options.resource.plural });
    this.#failures = 0;
    this.#error = undefined;
  }

  #resolveWaiters(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
