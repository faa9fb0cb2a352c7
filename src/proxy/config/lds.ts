/** Listeners of a worker: static ones and those of LDS, each warmed (RDS, SDS) before it replaces its old version. */
import { fromBinary } from '@bufbuild/protobuf';
import { type Listener, ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import type { Logger } from '#base/log.ts';
import type { FactoryContext } from '../factory_context.ts';
import type { ListenerManager, StagedListener } from '../listener_manager/listener_manager.ts';
import { type Rejection, type WireResource, messageOf } from './config_update.ts';
import type { RouteDiscovery } from './rds.ts';
import { TimeSlice } from '#base/time_slice.ts';
import { type Staged, WarmingSet } from './warming.ts';

/** A listener that waits for its routes and secrets. */
class WarmingListener implements Staged {
  /** Given up once it is live: it knows the version before, which would stay in memory with all before it. */
  #staged: StagedListener | undefined;
  readonly #routesSettled: () => boolean;
  #check: (() => void) | undefined;
  /** Hears once how activation went. */
  onActivated: (error: Error | undefined) => void = () => {};

  constructor(staged: StagedListener, routesSettled: () => boolean) {
    this.#staged = staged;
    this.#routesSettled = routesSettled;
  }

  get ready(): boolean {
    return (this.#staged?.ready ?? true) && this.#routesSettled();
  }

  onReady(callback: () => void): void {
    this.#check = callback;
    this.#staged?.onReady(callback);
  }

  routesChanged(): void {
    this.#check?.();
  }

  /** Fulfilled when it listens, or cannot. */
  activate(): Promise<void> {
    this.#check = undefined;
    const staged = this.#staged;
    this.#staged = undefined;
    return new Promise((resolve) => {
      staged?.activate((error) => {
        this.onActivated(error);
        resolve();
      });
    });
  }

  discard(): void {
    this.#check = undefined;
    this.#staged?.discard();
    this.#staged = undefined;
  }
}

export class ListenerDiscovery {
  readonly #manager: ListenerManager;
  readonly #context: Omit<FactoryContext, 'routeConfig'>;
  readonly #routes: RouteDiscovery;
  readonly #log: Logger;
  readonly #static = new Set<string>();
  readonly #warming: WarmingSet<WarmingListener>;

  constructor(
    manager: ListenerManager,
    context: Omit<FactoryContext, 'routeConfig'>,
    routes: RouteDiscovery,
    log: Logger,
    onWarmingChange: () => void,
  ) {
    this.#manager = manager;
    this.#context = context;
    this.#routes = routes;
    this.#log = log;
    this.#warming = new WarmingSet((_name, staged) => staged.activate(), onWarmingChange);
  }

  get warming(): string[] {
    return this.#warming.names;
  }

  isStatic(name: string): boolean {
    return this.#static.has(name);
  }

  /** Resolves when it listens, or at once when it has to wait for routes or secrets; rejects with an Error that names it. */
  async addStatic(config: Listener, { dryRun } = { dryRun: false }): Promise<void> {
    const name = config.name === '' ? `static_${this.#static.size}` : config.name;
    if (this.#static.has(name)) throw new Error(`two static listeners named ${name}`);
    this.#static.add(name);
    config.name = name;
    try {
      if (dryRun) config.bindToPort = false;
      await this.#add(config);
    } catch (error) {
      throw new Error(`listener ${name}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** Resolves when all that could go live at once is live; bind errors of those are refusals. */
  async apply(changed: readonly WireResource[], removed: readonly string[]): Promise<Rejection[]> {
    const rejected: Rejection[] = [];
    // Removed ones first: an address may pass from one listener to another.
    for (const name of removed) {
      if (this.#static.has(name)) continue;
      this.#warming.drop(name);
      this.#manager.remove(name);
    }
    const slice = new TimeSlice();
    const activations: Promise<void>[] = [];
    for (const { name, bytes } of changed) {
      if (this.#static.has(name)) continue;
      const refuse = (error: unknown): void => void rejected.push({ name, message: messageOf(error) });
      try {
        activations.push(this.#add(fromBinary(ListenerSchema, bytes)).catch(refuse));
      } catch (error) {
        refuse(error);
      }
      if (slice.over) await slice.pause();
    }
    await Promise.all(activations);
    return rejected;
  }

  #add(config: Listener): Promise<void> {
    return new Promise((resolve, reject) => {
      const { name } = config;
      let warming: WarmingListener | undefined;
      const scope = this.#routes.scope(() => warming?.routesChanged());
      let staged: StagedListener;
      try {
        staged = this.#manager.stage(config, { ...this.#context, routeConfig: scope.routeConfig });
        scope.close();
      } catch (error) {
        scope.abort();
        throw error;
      }
      warming = new WarmingListener(staged, scope.settled);
      let waited = false;
      warming.onActivated = (error) => {
        if (!waited) {
          if (error === undefined) resolve();
          else reject(error);
        } else if (error !== undefined) this.#log.error('listener does not listen', { name, error });
      };
      if (!this.#warming.add(name, warming)) {
        waited = true;
        resolve();
      }
    });
  }
}
