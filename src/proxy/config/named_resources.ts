/** Resources that are asked for by name (RDS, EDS, SDS): one live value per name, shared by all who use it. */
import type { ConfigSource } from '#api/gen/envoy/config/core/v3/config_source_pb.ts';
import { initialFetchTimeoutMs, sourceKey } from './config_source.ts';
import { type Rejection, type SubscriptionPort, type WireResource, messageOf } from './config_update.ts';
import { TimeSlice } from '#base/time_slice.ts';

/** A value as its users hold it. */
export interface LiveResource<T> {
  /** Undefined until it was delivered for the first time. */
  readonly current: T | undefined;
  /** True when it was delivered, does not exist, or was waited for long enough (`initial_fetch_timeout`). */
  readonly settled: boolean;
  close(): void;
}

interface Entry<T> {
  readonly source: string;
  readonly name: string;
  current: T | undefined;
  /** Of `current`: a repeated delivery changes nothing. */
  bytes: Uint8Array | undefined;
  settled: boolean;
  readonly watchers: Set<() => void>;
  timer: NodeJS.Timeout | undefined;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/**
 * Makes a value of bytes, at once or in slices of time. Throws Error (or rejects) with a readable cause for a resource that
 * is refused.
 * @param previous the value that the new one takes the place of.
 */
export type Decode<T> = (bytes: Uint8Array, name: string, previous: T | undefined) => T | Promise<T>;

/** All resources of one type in one worker. */
export class NamedResources<T> {
  readonly typeUrl: string;
  readonly #decode: Decode<T>;
  readonly #port: SubscriptionPort;
  readonly #entries = new Map<string, Entry<T>>();

  constructor(typeUrl: string, port: SubscriptionPort, decode: Decode<T>) {
    this.typeUrl = typeUrl;
    this.#port = port;
    this.#decode = decode;
  }

  /**
   * Subscribes. `onChange` is called after each change of `current` or `settled`, never inside this call; what it throws
   * refuses the new version.
   * @throws Error for a source that is not supported.
   */
  get(name: string, source: ConfigSource | undefined, onChange: () => void): LiveResource<T> {
    const origin = sourceKey(source);
    const key = `${origin}\0${name}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        source: origin,
        name,
        current: undefined,
        bytes: undefined,
        settled: false,
        watchers: new Set(),
        timer: undefined,
      };
      this.#entries.set(key, entry);
      this.#startTimer(entry, initialFetchTimeoutMs(source));
      this.#port.subscribe(origin, this.typeUrl, name);
    }
    return this.#watch(key, entry, onChange);
  }

  /** Values that are there. */
  current(): T[] {
    const values: T[] = [];
    for (const { current } of this.#entries.values()) if (current !== undefined) values.push(current);
    return values;
  }

  /** Takes what was delivered; gives what is refused by name. Resources nobody uses any more are passed over. */
  async apply(
    source: string,
    changed: readonly WireResource[],
    removed: readonly string[],
  ): Promise<Rejection[]> {
    const rejected: Rejection[] = [];
    const slice = new TimeSlice();
    for (const { name, bytes } of changed) {
      const entry = this.#entries.get(`${source}\0${name}`);
      if (entry === undefined) continue;
      try {
        await this.#replace(entry, bytes);
      } catch (error) {
        rejected.push({ name, message: messageOf(error) });
      }
      if (slice.over) await slice.pause();
    }
    for (const name of removed) {
      const entry = this.#entries.get(`${source}\0${name}`);
      // What is in use stays in use: only an owner (listener, cluster) takes it away.
      if (entry !== undefined) this.#settle(entry);
    }
    return rejected;
  }

  #watch(key: string, entry: Entry<T>, onChange: () => void): LiveResource<T> {
    // A wrapper of its own: the same function may watch twice.
    const watcher = (): void => onChange();
    entry.watchers.add(watcher);
    let open = true;
    return {
      get current() {
        return entry.current;
      },
      get settled() {
        return entry.settled;
      },
      close: () => {
        if (!open) return;
        open = false;
        entry.watchers.delete(watcher);
        if (entry.watchers.size > 0) return;
        clearTimeout(entry.timer);
        this.#entries.delete(key);
        this.#port.unsubscribe(entry.source, this.typeUrl, entry.name);
      },
    };
  }

  #startTimer(entry: Entry<T>, timeoutMs: number): void {
    if (timeoutMs <= 0) return;
    entry.timer = setTimeout(() => this.#settle(entry), timeoutMs);
    entry.timer.unref();
  }

  async #replace(entry: Entry<T>, bytes: Uint8Array): Promise<void> {
    if (entry.bytes !== undefined && equalBytes(entry.bytes, bytes)) return;
    const decoded = this.#decode(bytes, entry.name, entry.current);
    const value = decoded instanceof Promise ? await decoded : decoded;
    const { current: oldValue, bytes: oldBytes, settled: oldSettled } = entry;
    entry.current = value;
    entry.bytes = bytes;
    entry.settled = true;
    try {
      for (const watcher of entry.watchers) watcher();
    } catch (error) {
      entry.current = oldValue;
      entry.bytes = oldBytes;
      entry.settled = oldSettled;
      if (oldValue !== undefined) for (const watcher of entry.watchers) watcher();
      throw error;
    }
    clearTimeout(entry.timer);
  }

  #settle(entry: Entry<T>): void {
    clearTimeout(entry.timer);
    if (entry.settled) return;
    entry.settled = true;
    for (const watcher of entry.watchers) watcher();
  }
}
