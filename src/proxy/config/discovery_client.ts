/**
 * The main thread's side of discovery: one stream per config source, subscriptions of all workers added up, every
 * response given to all workers and answered with what they say of it.
 */
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Logger } from '#base/log.ts';
import { AdsClient } from '#xds/client/ads_client.ts';
import type { ResourceUpdate, UpdateOutcome } from '#xds/client/resource_update.ts';
import type { AdsTransport, XdsProtocol } from '#xds/transport.ts';
import { typeUrls } from '#xds/type_url.ts';
import { adsKey, parseSourceKey } from './config_source.ts';
import type { ConfigUpdate, Rejection } from './config_update.ts';
import { ResourceStore } from './resource_store.ts';

/** Opens streams to the server behind a cluster, for one type or (without type) for ADS. */
export type TransportFinder = (cluster: string, typeUrl: string | undefined) => AdsTransport;

export interface DiscoveryClientOptions {
  readonly node: () => Node;
  readonly log: Logger;
  /** The ADS server; undefined when the bootstrap names none. */
  readonly ads: { readonly cluster: string; readonly protocol: XdsProtocol } | undefined;
  readonly transport: TransportFinder;
  /** Gives one worker what the others have accepted. */
  readonly give: (worker: number, update: ConfigUpdate) => void;
  /** Gives an update to all workers; resolves with what any of them refuses. */
  readonly broadcast: (update: ConfigUpdate) => Promise<readonly Rejection[]>;
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number;
}

/** Counts of one type, for `/stats` and the agent. */
export interface UpdateCounts {
  success: number;
  rejected: number;
}

/** A worker that asked for a name while an update was on its way. */
interface Late {
  readonly worker: number;
  readonly name: string;
}

interface Wanted {
  /** Workers that want the name. */
  readonly workers: Set<number>;
}

export class DiscoveryClient {
  readonly store = new ResourceStore();
  readonly counts = new Map<string, UpdateCounts>();
  readonly #options: DiscoveryClientOptions;
  readonly #log: Logger;
  readonly #clients = new Map<string, AdsClient>();
  readonly #wanted = new Map<string, Wanted>();
  /** By source and type, while an update of it is on its way. */
  readonly #late = new Map<string, Late[]>();
  readonly #onFirst = new Map<string, () => void>();
  #closed = false;

  constructor(options: DiscoveryClientOptions) {
    this.#options = options;
    this.#log = options.log.scope('config');
  }

  /** Subscribes to all resources of a type; resolves when the first response was applied. */
  subscribeAll(source: string, typeUrl: string): Promise<void> {
    return new Promise((resolve) => {
      this.#onFirst.set(`${source}\0${typeUrl}`, resolve);
      this.#client(source, typeUrl).subscribe(typeUrl, '*');
    });
  }

  /** A worker wants a resource by name; gives what is known of it already. */
  subscribe(worker: number, source: string, typeUrl: string, name: string): ConfigUpdate | undefined {
    const key = `${source}\0${typeUrl}\0${name}`;
    const wanted = this.#wanted.get(key);
    if (wanted !== undefined) {
      wanted.workers.add(worker);
      // An update that is on its way to the workers may have passed this one before it asked.
      this.#late.get(`${source}\0${typeUrl}`)?.push({ worker, name });
      return this.store.find(source, typeUrl, name);
    }
    this.#wanted.set(key, { workers: new Set([worker]) });
    try {
      this.#client(source, typeUrl).subscribe(typeUrl, [name]);
    } catch (error) {
      this.#log.error('cannot subscribe', { name, error });
      return { source, typeUrl, changed: [], removed: [name] };
    }
    return undefined;
  }

  unsubscribe(worker: number, source: string, typeUrl: string, name: string): void {
    const key = `${source}\0${typeUrl}\0${name}`;
    const wanted = this.#wanted.get(key);
    if (wanted?.workers.delete(worker) !== true || wanted.workers.size > 0) return;
    this.#wanted.delete(key);
    this.#clients.get(this.#clientKey(source, typeUrl))?.unsubscribe(typeUrl, [name]);
    this.store.forget(source, typeUrl, name);
  }

  /** A worker is gone: what only it wanted stays subscribed until its successor has asked again. */
  workerGone(worker: number): () => void {
    const held = [...this.#wanted].filter(([, { workers }]) => workers.delete(worker));
    return () => {
      for (const [key, { workers }] of held) {
        if (workers.size > 0) continue;
        const [source = '', typeUrl = '', name = ''] = key.split('\0');
        workers.add(worker);
        this.unsubscribe(worker, source, typeUrl, name);
      }
    };
  }

  /** What a worker that starts now has to be given: clusters, then listeners; the rest it asks for by name. */
  replay(): ConfigUpdate[] {
    const updates: ConfigUpdate[] = [];
    for (const typeUrl of [typeUrls.cds, typeUrls.lds])
      for (const type of this.store.types())
        if (type.typeUrl === typeUrl) updates.push(this.store.replay(type.source, typeUrl));
    return updates;
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #clientKey(source: string, typeUrl: string): string {
    return source === adsKey ? adsKey : `${source}\0${typeUrl}`;
  }

  #client(source: string, typeUrl: string): AdsClient {
    const key = this.#clientKey(source, typeUrl);
    let client = this.#clients.get(key);
    if (client !== undefined) return client;
    const own = parseSourceKey(source);
    const server = own ?? this.#options.ads;
    if (server === undefined) throw new Error('ads is named as config source, but there is no ads_config');
    client = new AdsClient({
      transport: this.#options.transport(server.cluster, own === undefined ? undefined : typeUrl),
      protocol: server.protocol,
      node: this.#options.node,
      log: this.#options.log,
      onUpdate: (type, update) => this.#onUpdate(source, type, update),
    });
    this.#clients.set(key, client);
    client.start();
    return client;
  }

  async #onUpdate(source: string, typeUrl: string, update: ResourceUpdate): Promise<UpdateOutcome> {
    // Bytes are views of a whole response: own copies, so that one small resource does not hold all of it.
    const changed = update.changed.map(({ name, bytes }) => ({ name, bytes: bytes.slice() }));
    const message: ConfigUpdate = { source, typeUrl, changed, removed: update.removed };
    const key = `${source}\0${typeUrl}`;
    const late: Late[] = [];
    this.#late.set(key, late);
    const rejected = await this.#options.broadcast(message);
    this.#late.delete(key);
    if (this.#closed) return undefined;
    const versions = new Map(update.changed.map(({ name, version }) => [name, version]));
    const now = (this.#options.now ?? Date.now)();
    this.store.commit(message, versions, update.version, rejected, now);
    const counts = this.counts.get(typeUrl) ?? { success: 0, rejected: 0 };
    if (rejected.length === 0) counts.success++;
    else counts.rejected++;
    this.counts.set(typeUrl, counts);
    for (const { name, message: text } of rejected) this.#log.warn('refused', { name, error: text });
    for (const { worker, name } of late) {
      const known = this.store.find(source, typeUrl, name);
      if (known !== undefined) this.#options.give(worker, known);
    }
    const onFirst = this.#onFirst.get(key);
    if (onFirst !== undefined) {
      this.#onFirst.delete(key);
      onFirst();
    }
    return rejected.length === 0 ? undefined : { rejected };
  }
}
