/** A live listener: sockets, the version that new connections see, and the connections it has. */
import type { Socket } from 'node:net';
import type { Logger } from '#base/log.ts';
import { formatAddress } from '../network/address.ts';
import { type AcceptedConnectionInfo, createConnectionInfo } from '../network/connection_info.ts';
import { type OverloadState, happens } from '../network/overload_state.ts';
import type { RuntimeValues } from '../network/runtime.ts';
import { workerTimers } from '../network/timer_wheel.ts';
import { StreamInfo } from '../stream_info/stream_info.ts';
import { AcceptedConnection, type ConnectionOwner } from './accepted_connection.ts';
import { type BoundSocket, bind, bindKey } from './bound_socket.ts';
import { LiveChainHandle, type LiveFilterChain } from './filter_chain.ts';
import type { DrainPolicy } from './drain.ts';
import { HeldConnections } from './held_connections.ts';
import type { BindAddress, ListenerStats, ListenerVersion } from './listener_version.ts';

/** What a listener asks of its manager. */
export interface ListenerHost {
  readonly log: Logger;
  /** `drainTimeMs` is how long connections of removed chains and listeners may go on. */
  readonly drain: DrainPolicy;
  readonly overload: OverloadState;
  readonly runtime: RuntimeValues;
  /** Most connections of one listener in this worker. */
  readonly maxConnections: number;
  /** The listener for a restored destination address, other than `self`. */
  findListener(info: AcceptedConnectionInfo, self: LiveListener): LiveListener | undefined;
}

/** Owns sockets. A listener that is removed stops accepting at once and lets its connections drain. */
export class LiveListener implements ConnectionOwner {
  readonly name: string;
  /** Runtime key of this listener's own limit. */
  readonly #limitKey: string;
  readonly stats: ListenerStats;
  #version: ListenerVersion;
  readonly #host: ListenerHost;
  #sockets: BoundSocket[] = [];
  readonly #handles = new Map<string, LiveChainHandle>();
  #draining = false;
  #stopped = false;
  readonly #held: HeldConnections;
  readonly #connections = new Set<AcceptedConnection>();

  constructor(version: ListenerVersion, host: ListenerHost) {
    this.name = version.name;
    this.#limitKey = `envoy.resource_limits.listener.${version.name}.connection_limit`;
    this.stats = version.stats;
    this.#host = host;
    this.#version = version;
    this.#held = new HeldConnections(host.overload, (socket, address) => this.#accept(socket, address));
    this.#adopt(version);
  }

  get version(): ListenerVersion {
    return this.#version;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Addresses that are bound, with the real port where 0 was asked for. */
  get boundAddresses(): { readonly ip: string; readonly port: number }[] {
    return this.#sockets.flatMap(({ server }) => {
      const address = server.address();
      if (address === null) return [];
      return [
        typeof address === 'string' ? { ip: address, port: -1 } : { ip: address.address, port: address.port },
      ];
    });
  }

  /** Binds what is not bound yet; `onResult` hears the first error or, when all listen, undefined. */
  listen(onResult: (error: Error | undefined) => void): void {
    const wanted = this.#version.bindToPort && !this.#stopped ? this.#version.addresses : [];
    const keys = new Set(wanted.map(bindKey));
    for (const socket of this.#sockets) if (!keys.has(socket.key)) socket.server.close();
    this.#sockets = this.#sockets.filter((socket) => keys.has(socket.key));
    const bound = new Set(this.#sockets.map((socket) => socket.key));
    const missing = wanted.filter((address) => !bound.has(bindKey(address)));
    let open = missing.length;
    let failed: Error | undefined;
    if (open === 0) {
      onResult(undefined);
      return;
    }
    for (const address of missing) {
      const socket = bind(
        address,
        this.#version.config,
        (accepted) => this.#accept(accepted, address),
        (error) => {
          if (error !== undefined) {
            failed ??= new Error(`cannot bind ${formatAddress(address)}: ${error.message}`, { cause: error });
            this.#sockets = this.#sockets.filter((other) => other !== socket);
            socket.server.close();
          }
          if (--open === 0) onResult(failed);
        },
      );
      this.#sockets.push(socket);
    }
  }

  /** New connections see the version from now on; chains that are gone drain. */
  replace(version: ListenerVersion): void {
    const old = this.#version;
    this.#version = version;
    this.#adopt(version);
    const kept = new Set(version.chains);
    const keys = new Set(version.chains.map((chain) => chain.key));
    for (const chain of old.chains) {
      if (kept.has(chain)) continue;
      if (keys.has(chain.key)) chain.close();
      else this.#drainChain(chain);
    }
  }

  /** Stops accepting and drains every chain. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    for (const { server } of this.#sockets) server.close();
    this.#sockets = [];
    this.#held.drop();
    // Nothing answers for these yet: a client that is turned away here connects again.
    for (const connection of this.#connections)
      if (!connection.established) connection.fail('listener_removed');
    for (const chain of this.#version.chains) this.#drainChain(chain);
  }

  /** Tells connections to let go while the listener still accepts (`/drain_listeners?graceful`, a pod that ends). */
  startDrainSequence(): void {
    for (const handle of this.#handles.values()) handle.drain.start();
  }

  /** Accepts no more; open connections are left alone (`/drain_listeners`). */
  stopAccepting(): void {
    this.#stopped = true;
    for (const { server } of this.#sockets) server.close();
    this.#sockets = [];
    this.#held.drop();
  }

  /** Closes everything now. */
  close(): void {
    for (const { server } of this.#sockets) server.close();
    this.#sockets = [];
    this.#held.drop();
    this.#draining = true;
    for (const connection of this.#connections) connection.socket.destroy();
    for (const chain of this.#version.chains) chain.close();
  }

  #adopt(version: ListenerVersion): void {
    for (const chain of version.chains) {
      let handle = this.#handles.get(chain.key);
      if (handle === undefined) {
        handle = new LiveChainHandle(chain.name, chain.terminal, this.#host.drain);
        this.#handles.set(chain.key, handle);
      } else handle.current = chain.terminal;
      chain.handle = handle;
    }
  }

  #drainChain(chain: LiveFilterChain): void {
    const { handle } = chain;
    this.#handles.delete(chain.key);
    // Also without connections: one that is in its handshake now must see it.
    handle?.drain.start();
    if (handle === undefined || handle.sockets.size === 0) {
      chain.close();
      return;
    }
    workerTimers.schedule(this.#host.drain.drainTimeMs, () => {
      for (const socket of handle.sockets) socket.destroy();
      chain.close();
    });
  }

  #accept(socket: Socket, address: BindAddress): void {
    const { stats } = this;
    if (this.#held.hold(socket, address)) return;
    if (!this.#admits()) {
      socket.destroy();
      return;
    }
    const info = createConnectionInfo(socket, address.port < 0 ? address.ip : undefined);
    if (info === undefined) {
      this.#releaseGlobal();
      socket.destroy();
      return;
    }
    stats.downstreamCxTotal++;
    stats.downstreamCxActive++;
    const connection = new AcceptedConnection(socket, info, this);
    this.#connections.add(connection);
    connection.start();
  }

  /** Counts a connection under the limits; false when one of them turns it away. */
  #admits(): boolean {
    const { stats } = this;
    const { overload, runtime, maxConnections, drain } = this.#host;
    const ownLimit = runtime.number(this.#limitKey, maxConnections);
    if (stats.downstreamCxActive >= ownLimit) {
      stats.downstreamCxOverflow++;
      return false;
    }
    if (happens(overload.rejectIncomingConnections, drain.random)) {
      stats.downstreamCxOverloadReject++;
      return false;
    }
    const limit = this.#version.config.ignoreGlobalConnLimit
      ? Infinity
      : runtime.number('overload.global_downstream_max_connections', overload.maxConnections);
    if (overload.connections.tryAcquire(0, limit)) return true;
    stats.downstreamGlobalCxOverflow++;
    return false;
  }

  #releaseGlobal(): void {
    this.#host.overload.connections.release(0);
  }

  handOff(connection: AcceptedConnection): LiveListener | undefined {
    if (!this.#version.useOriginalDst || !connection.info.localAddressRestored) return undefined;
    const next = this.#host.findListener(connection.info, this);
    if (next === undefined) return undefined;
    this.#connections.delete(connection);
    next.#connections.add(connection);
    this.stats.downstreamCxActive--;
    next.stats.downstreamCxTotal++;
    next.stats.downstreamCxActive++;
    return next;
  }

  onConnectionClosed(connection: AcceptedConnection): void {
    this.stats.downstreamCxActive--;
    this.#releaseGlobal();
    this.#connections.delete(connection);
    const { accessLoggers } = this.#version;
    if (accessLoggers.length === 0) return;
    const info = new StreamInfo(connection.info, '');
    info.responseFlags = connection.flags;
    info.end = performance.now();
    info.connectionTerminationDetails = connection.info.terminationDetails;
    for (const logger of accessLoggers) logger.log(info, undefined, undefined, undefined);
  }
}
