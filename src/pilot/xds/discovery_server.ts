/**
 * From a change of the configuration to the proxies: changes are debounced, make one new push context, and every connected
 * proxy gets in line for what it lacks.
 */
import { type Logger, silentLogger } from '#base/log.ts';
import type { ConfigChange, ConfigStore } from '#config/store/store.ts';
import type { Authenticator } from '#security/authn/authenticator.ts';
import { type TypeStatus, XdsServer } from '#xds/server/server.ts';
import type { StreamLimits } from '#xds/server/server_stream.ts';
import { typeUrls } from '#xds/type_url.ts';
import { endpointKinds } from '../model/endpoint_index.ts';
import type { MeshOptions } from '../model/mesh_index.ts';
import { type PushContext, buildPushContext } from '../model/push_context.ts';
import { serviceKinds } from '../model/service_index.ts';
import { type Connection, proxyName } from './connection.ts';
import { type ChangeBatch, Debounce, type DebounceOptions } from './debounce.ts';
import { type CurrentContext, DiscoverySource } from './discovery_source.ts';
import type { Generator } from './generator.ts';
import type { PilotMetrics } from './metrics.ts';
import { PushQueue } from './push_queue.ts';
import type { PushReason, PushRequest } from './push_request.ts';
import { type ProxySync, proxySync } from './sync_status.ts';

export interface DiscoveryServerOptions {
  readonly store: ConfigStore;
  readonly generators: readonly Generator[];
  readonly authenticators: readonly Authenticator[];
  readonly metrics: PilotMetrics;
  readonly mesh?: MeshOptions;
  readonly debounce?: DebounceOptions;
  /** Proxies pushed to at one time, default 100 (`PILOT_PUSH_THROTTLE`). */
  readonly pushThrottle?: number;
  readonly limits?: Partial<StreamLimits>;
  readonly log?: Logger;
}

/** Kinds that a cluster changes often and that no resource of a proxy is made of. */
const unreadKinds: ReadonlySet<string> = new Set(['Namespace', 'Secret', 'ServiceAccount']);

/** How far a generation of the configuration has come. */
export interface Progress {
  readonly generation: number;
  /** Proxies that have accepted all of it. */
  readonly live: number;
  /** Proxies that refuse a part of what they were sent. */
  readonly rejected: number;
  /** Connected proxies. */
  readonly total: number;
}

export class DiscoveryServer {
  readonly xds: XdsServer<Connection, PushRequest>;
  readonly #options: DiscoveryServerOptions;
  readonly #log: Logger;
  readonly #debounce: Debounce;
  readonly #queue: PushQueue<Connection>;
  readonly #connections = new Set<Connection>();
  readonly #listeners = new Set<(progress: Progress) => void>();
  readonly #unsubscribe: () => void;
  #current: CurrentContext;
  #pushes = 0;
  #notifying = false;

  constructor(options: DiscoveryServerOptions) {
    this.#options = options;
    this.#log = (options.log ?? silentLogger).scope('ads');
    this.#current = {
      context: buildPushContext(options.store, undefined, undefined, options.mesh),
      generation: 1,
    };
    this.#measure(this.#current.context);
    const source = new DiscoverySource({
      generators: options.generators,
      authenticators: options.authenticators,
      metrics: options.metrics,
      log: this.#log,
      current: () => this.#current,
      onChange: (connection, event) => this.#onConnection(connection, event),
    });
    this.xds = new XdsServer({
      source,
      identifier: 'istiod',
      log: options.log ?? silentLogger,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    this.#queue = new PushQueue(options.pushThrottle ?? 100, (connection, request, queuedMs) =>
      this.#push(connection, request, queuedMs),
    );
    this.#debounce = new Debounce(options.debounce ?? {}, (batch) => this.#onBatch(batch));
    this.#unsubscribe = options.store.subscribe((changes) => this.#onChanges(changes));
  }

  /** The context that requests are answered from. */
  get context(): PushContext {
    return this.#current.context;
  }

  /** Number of the current context, from 1. */
  get generation(): number {
    return this.#current.generation;
  }

  get connections(): Iterable<Connection> {
    return this.#connections;
  }

  /** Pushes made since the start. */
  get pushes(): number {
    return this.#pushes;
  }

  /** State of all connected proxies, by name. */
  status(): ProxySync[] {
    return [...this.#connections]
      .map((connection) => proxySync(connection, this.xds.status(connection)))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  /** State of a proxy by `pod.namespace`; of several connections the newest. */
  proxyStatus(name: string): ProxySync | undefined {
    const connection = [...this.#connections].findLast(({ proxy }) => proxyName(proxy) === name);
    return connection === undefined ? undefined : proxySync(connection, this.xds.status(connection));
  }

  /** How far the current generation has come. */
  progress(): Progress {
    const { generation } = this.#current;
    let live = 0;
    let rejected = 0;
    for (const connection of this.#connections) {
      if (connection.liveGeneration === generation) live++;
      else if (connection.failures.size > 0 || this.#rejects(connection)) rejected++;
    }
    return { generation, live, rejected, total: this.#connections.size };
  }

  /** Hears each change of `progress`. Returns a function that ends the subscription. */
  subscribe(listener: (progress: Progress) => void): () => void {
    const own = (progress: Progress): void => listener(progress);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** Builds a new context from all of the store and pushes it, after the usual debounce. */
  pushAll(): void {
    this.#debounce.add([]);
  }

  /** Stops following the store and ends all streams. */
  close(): void {
    this.#unsubscribe();
    this.#debounce.close();
    this.#listeners.clear();
    this.xds.close();
  }

  #onChanges(all: readonly ConfigChange[]): void {
    const { metrics } = this.#options;
    const changes = all.filter(({ resource }) => !unreadKinds.has(resource.kind));
    if (changes.length === 0) return;
    for (const { resource } of changes) {
      const reason = reasonOf(resource.kind);
      metrics.inboundUpdates(reason === 'endpoint' ? 'eds' : reason === 'service' ? 'svc' : 'config').inc();
    }
    this.#debounce.add(changes);
  }

  #onBatch({ changes, startedAt, merged }: ChangeBatch): void {
    const { store, metrics, mesh } = this.#options;
    metrics.debounceTime.observe((Date.now() - startedAt) / 1000);
    const started = performance.now();
    let context: PushContext;
    try {
      const known = changes.length === 0 ? undefined : changes;
      context = buildPushContext(store, known === undefined ? undefined : this.context, known, mesh);
    } catch (error) {
      metrics.internalErrors.inc();
      this.#log.error('no new context, the old one stays', { error });
      return;
    }
    metrics.contextTime.observe((performance.now() - started) / 1000);
    this.#measure(context);
    this.#current = { context, generation: this.#current.generation + 1 };
    this.#pushes++;
    const reasons = new Set<PushReason>(changes.map(({ resource }) => reasonOf(resource.kind)));
    if (reasons.size === 0) reasons.add('debug');
    for (const reason of reasons) metrics.trigger(reason).inc();
    const request: PushRequest = {
      context,
      generation: this.#current.generation,
      full: !context.endpointsOnly,
      reasons,
      startedAt,
    };
    this.#log.info('push debounced', {
      generation: request.generation,
      full: request.full,
      changes: changes.length,
      merged,
      reasons: [...reasons],
      proxies: this.#connections.size,
    });
    for (const connection of this.#connections) this.#queue.enqueue(connection, request);
    this.#notify();
  }

  async #push(connection: Connection, request: PushRequest, queuedMs: number): Promise<void> {
    const { metrics, generators } = this.#options;
    metrics.queueTime.observe(queuedMs / 1000);
    const types = request.full
      ? undefined
      : generators.filter(({ onEndpoints }) => onEndpoints).map(({ typeUrl }) => typeUrl);
    const sent = await this.xds.push(connection, types, request);
    if (!sent) return;
    metrics.convergence.observe((Date.now() - request.startedAt) / 1000);
    connection.sentGeneration = Math.max(connection.sentGeneration, request.generation);
    this.#settle(connection);
  }

  #onConnection(connection: Connection, event: 'open' | 'close' | 'answer'): void {
    if (event === 'open') this.#connections.add(connection);
    if (event === 'close') {
      this.#connections.delete(connection);
      this.#queue.remove(connection);
    }
    if (event === 'answer') this.#settle(connection);
    else this.#notify();
  }

  /** What was sent becomes live once each response has been accepted. */
  #settle(connection: Connection): void {
    const statuses = this.xds.status(connection);
    const accepted =
      connection.failures.size === 0 &&
      statuses.every(({ sent, acked }) => sent === undefined || sent.nonce === acked?.nonce) &&
      statuses.some(({ acked }) => acked !== undefined) &&
      !this.#starting(statuses);
    if (accepted) connection.liveGeneration = connection.sentGeneration;
    this.#notify();
  }

  /** A data plane asks for listeners only after its clusters are there; until then it is not live. */
  #starting(statuses: readonly TypeStatus[]): boolean {
    const has = (typeUrl: string): boolean => statuses.some((status) => status.typeUrl === typeUrl);
    return has(typeUrls.cds) && !has(typeUrls.lds);
  }

  #rejects(connection: Connection): boolean {
    return this.xds.status(connection).some(({ nacked }) => nacked !== undefined);
  }

  /** Many proxies answer in one turn of the event loop: listeners hear once. */
  #notify(): void {
    if (this.#listeners.size === 0 || this.#notifying) return;
    this.#notifying = true;
    setImmediate(() => {
      this.#notifying = false;
      const progress = this.progress();
      for (const listener of this.#listeners) listener(progress);
    });
  }

  #measure(context: PushContext): void {
    const { metrics, store } = this.#options;
    metrics.services.set(context.services.services.length);
    metrics.virtualServices.set(store.list('VirtualService').length);
  }
}

function reasonOf(kind: string): PushReason {
  if (endpointKinds.includes(kind)) return 'endpoint';
  if (serviceKinds.includes(kind)) return 'service';
  return kind === 'ConfigMap' ? 'global' : 'config';
}
