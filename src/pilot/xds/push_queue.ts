/**
 * Proxies that wait for a push, first come first served. Each stands in the queue once, with one merged request; a proxy
 * that is being pushed to waits for its end before it stands in line again.
 */
import { type PushRequest, mergePushRequests } from './push_request.ts';

/** Sends to one proxy; resolves when it was sent or the proxy has gone. Must not reject. */
export type Pusher<Proxy> = (proxy: Proxy, request: PushRequest, queuedMs: number) => Promise<void>;

interface Waiting {
  readonly request: PushRequest;
  readonly since: number;
}

export class PushQueue<Proxy> {
  readonly #push: Pusher<Proxy>;
  readonly #concurrency: number;
  /** In order of arrival. */
  readonly #pending = new Map<Proxy, Waiting>();
  /** Being pushed to, with what came meanwhile. */
  readonly #processing = new Map<Proxy, Waiting | undefined>();

  /** @param concurrency pushes at one time (`PILOT_PUSH_THROTTLE`). */
  constructor(concurrency: number, push: Pusher<Proxy>) {
    this.#concurrency = concurrency;
    this.#push = push;
  }

  /** Proxies that wait or are being pushed to. */
  get size(): number {
    return this.#pending.size + this.#processing.size;
  }

  /** Puts a proxy in line, or merges into the request that waits for it. */
  enqueue(proxy: Proxy, request: PushRequest): void {
    const now = Date.now();
    if (this.#processing.has(proxy)) {
      this.#processing.set(proxy, merged(this.#processing.get(proxy), request, now));
      return;
    }
    this.#pending.set(proxy, merged(this.#pending.get(proxy), request, now));
    this.#next();
  }

  /** Forgets a proxy that has gone. */
  remove(proxy: Proxy): void {
    this.#pending.delete(proxy);
    if (this.#processing.has(proxy)) this.#processing.set(proxy, undefined);
  }

  #next(): void {
    while (this.#processing.size < this.#concurrency) {
      const [entry] = this.#pending;
      if (entry === undefined) return;
      const [proxy, { request, since }] = entry;
      this.#pending.delete(proxy);
      this.#processing.set(proxy, undefined);
      void this.#push(proxy, request, Date.now() - since).finally(() => this.#done(proxy));
    }
  }

  #done(proxy: Proxy): void {
    const waiting = this.#processing.get(proxy);
    this.#processing.delete(proxy);
    if (waiting !== undefined) this.#pending.set(proxy, waiting);
    this.#next();
  }
}

function merged(waiting: Waiting | undefined, request: PushRequest, now: number): Waiting {
  if (waiting === undefined) return { request, since: now };
  return { request: mergePushRequests(waiting.request, request), since: waiting.since };
}
