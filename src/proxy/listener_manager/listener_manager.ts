/** All listeners of one worker: stages new versions, makes them live, finds the listener of a restored destination. */
import type { Listener } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { type Logger, silentLogger } from '#base/log.ts';
import type { FactoryContext } from '../factory_context.ts';
import type { DrainStrategy } from '../network/connection.ts';
import type { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { type OverloadState, newOverloadState } from '../network/overload_state.ts';
import { RuntimeValues } from '../network/runtime.ts';
import { workerTimers } from '../network/timer_wheel.ts';
import type { TransportSocketContext } from '../network/transport_socket.ts';
import type { DrainPolicy } from './drain.ts';
import { type ListenerHost, LiveListener } from './listener.ts';
import { createListenerVersion, listenerBytes, newListenerStats } from './listener_version.ts';

export interface ListenerManagerOptions {
  readonly log?: Logger;
  /** Secrets for TLS. */
  readonly sockets: TransportSocketContext;
  /** Milliseconds that connections of removed listeners and chains may go on (`--drain-time-s`). Default 600 000. */
  readonly drainTimeMs?: number;
  /** `--drain-strategy`. Default gradual. */
  readonly drainStrategy?: DrainStrategy;
  /** Default: nothing is asked. */
  readonly overload?: OverloadState;
  /** Default: no values. */
  readonly runtime?: RuntimeValues;
  /** Most connections of one listener in this worker. Default 100 000. */
  readonly maxConnections?: number;
}

/** A version that is built and waits to go live. Exactly one of `activate` and `discard` is called. */
export interface StagedListener {
  readonly name: string;
  /** True when the version equals the live one; `activate` then changes nothing. */
  readonly unchanged: boolean;
  /** True when all secrets of its transport sockets are there. */
  readonly ready: boolean;
  /** Calls back once when `ready` turns true; at once when it is. */
  onReady(callback: () => void): void;
  /** Makes it live; `onResult` hears a bind error, or undefined when it listens. */
  activate(onResult: (error: Error | undefined) => void): void;
  discard(): void;
}

/** Lives in a worker thread; every worker has its own with the same listeners. */
export class ListenerManager {
  readonly #options: ListenerManagerOptions;
  readonly #listeners = new Map<string, LiveListener>();
  /** Removed listeners whose connections still drain. */
  readonly #removed = new Set<LiveListener>();
  readonly #host: ListenerHost;
  readonly #drain: DrainPolicy;
  /** `/drain_listeners` without `skip_exit`: listeners that come later do not listen either. */
  #stopped: ((config: Listener) => boolean) | undefined = undefined;
  /** Listeners by `ip port` for hand-off; undefined when a change made it stale. */
  #byAddress: Map<string, LiveListener> | undefined = undefined;

  constructor(options: ListenerManagerOptions) {
    this.#options = options;
    this.#drain = {
      drainTimeMs: options.drainTimeMs ?? 600_000,
      strategy: options.drainStrategy ?? 'gradual',
      healthCheckFailed: false,
      random: Math.random,
      now: () => performance.now(),
    };
    this.#host = {
      log: options.log ?? silentLogger,
      drain: this.#drain,
      overload: options.overload ?? newOverloadState(),
      runtime: options.runtime ?? new RuntimeValues(),
      maxConnections: options.maxConnections ?? 100_000,
      findListener: (info, self) => this.#find(info, self),
    };
  }

  get(name: string): LiveListener | undefined {
    return this.#listeners.get(name);
  }

  /** Live listeners in the order they were added. */
  all(): LiveListener[] {
    return [...this.#listeners.values()];
  }

  /**
   * Builds a version of a listener.
   * @throws Error when the configuration is bad; the live version stays.
   */
  stage(config: Listener, context: FactoryContext): StagedListener {
    const live = this.#listeners.get(config.name);
    const before = live?.version;
    if (live !== undefined && before?.bytes === listenerBytes(config)) {
      return {
        name: config.name,
        unchanged: true,
        ready: true,
        onReady: (callback) => callback(),
        activate: (onResult) => onResult(undefined),
        discard() {},
      };
    }
    const version = createListenerVersion(
      config,
      before,
      context,
      this.#options.sockets,
      live?.stats ?? newListenerStats(),
    );
    const isReady = (): boolean => version.chains.every((chain) => chain.transport.ready);
    return {
      name: config.name,
      unchanged: false,
      get ready() {
        return isReady();
      },
      onReady(callback) {
        let called = false;
        const check = (): void => {
          if (called || !isReady()) return;
          called = true;
          callback();
        };
        check();
        for (const chain of version.chains)
          if (!called && !chain.transport.ready) chain.transport.onReady(check);
      },
      activate: (onResult) => {
        const current = this.#listeners.get(config.name);
        this.#byAddress = undefined;
        if (current === undefined) {
          const listener = new LiveListener(version, this.#host);
          if (this.#stopped?.(version.config) === true) listener.stopAccepting();
          this.#listeners.set(config.name, listener);
          listener.listen((error) => {
            if (error !== undefined && this.#listeners.get(config.name) === listener) {
              this.#listeners.delete(config.name);
              this.#byAddress = undefined;
              listener.close();
            }
            onResult(error);
          });
          return;
        }
        current.replace(version);
        current.listen(onResult);
      },
      discard() {
        const taken = new Set(before?.chains);
        for (const chain of version.chains) if (!taken.has(chain)) chain.close();
      },
    };
  }

  /** Stops accepting at once; connections drain, then close. False when there is no such listener. */
  remove(name: string): boolean {
    const listener = this.#listeners.get(name);
    if (listener === undefined) return false;
    this.#listeners.delete(name);
    this.#byAddress = undefined;
    this.#removed.add(listener);
    listener.drain();
    workerTimers.schedule(this.#drain.drainTimeMs + 1000, () => this.#removed.delete(listener));
    return true;
  }

  /** Tells connections to let go; listeners go on accepting until they are removed, stopped or closed. */
  drain(which: (config: Listener) => boolean = () => true): void {
    for (const listener of this.#listeners.values())
      if (which(listener.version.config)) listener.startDrainSequence();
  }

  /** Listeners, and those that come later, accept no more; open connections are left alone. */
  stopAccepting(which: (config: Listener) => boolean): void {
    this.#stopped = which;
    for (const listener of this.#listeners.values())
      if (which(listener.version.config)) listener.stopAccepting();
  }

  /** `/healthcheck/fail`: while true every response ends its connection. */
  set healthCheckFailed(failed: boolean) {
    this.#drain.healthCheckFailed = failed;
  }

  /** Closes all sockets now. */
  close(): void {
    for (const listener of [...this.#listeners.values(), ...this.#removed]) listener.close();
    this.#listeners.clear();
    this.#removed.clear();
  }

  #find(info: AcceptedConnectionInfo, self: LiveListener): LiveListener | undefined {
    this.#byAddress ??= this.#indexAddresses();
    const { ip, port } = info.localAddress;
    const any = ip.includes(':') ? `:: ${port}` : `0.0.0.0 ${port}`;
    const found = this.#byAddress.get(`${ip} ${port}`) ?? this.#byAddress.get(any);
    return found === self ? undefined : found;
  }

  #indexAddresses(): Map<string, LiveListener> {
    const index = new Map<string, LiveListener>();
    const add = (key: string, listener: LiveListener): void => {
      if (!index.has(key)) index.set(key, listener);
    };
    for (const listener of this.#listeners.values())
      for (const { ip, port } of listener.version.addresses) add(`${ip} ${port}`, listener);
    // A dual-stack wildcard takes IPv4 where no listener of its own does.
    for (const listener of this.#listeners.values())
      for (const { ip, port, ipv6Only } of listener.version.addresses)
        if (ip === '::' && !ipv6Only) add(`0.0.0.0 ${port}`, listener);
    return index;
  }
}
