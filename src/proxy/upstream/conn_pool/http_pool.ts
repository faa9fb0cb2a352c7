/**
 * HTTP connections to one host with one protocol and one set of transport options (envoy Http::HttpConnPoolImplBase).
 * The connection used last is used first. On the way of a request that finds a free connection nothing is allocated but
 * the codec's stream. Bench: bench/micro/http1_proxy.ts.
 */
import type { Socket } from 'node:net';
import type { ClientConnection, ClientConnectionCallbacks, ResponseDecoder } from '../../http/codec.ts';
import type { TlsInfo } from '../../network/connection.ts';
import { nextConnectionId } from '../../network/connection_info.ts';
import { type TimerHandle, workerTimers } from '../../network/timer_wheel.ts';
import type { UpstreamTransportOptions } from '../../network/transport_socket.ts';
import type { UpstreamHost } from '../host.ts';
import type { ThresholdResources } from '../resource_manager.ts';
import type {
  Cancellable,
  ClusterStats,
  HttpConnectionPool,
  HttpPoolCallbacks,
  PoolFailure,
} from '../upstream.ts';
import { Dial, type DialCallbacks, type DialOptions } from './dial.ts';

/** Makes a codec on a connected socket. */
export type ClientCodecFactory = (socket: Socket, callbacks: ClientConnectionCallbacks) => ClientConnection;

/** What a pool takes from its cluster. */
export interface HttpPoolOptions {
  readonly dial: DialOptions;
  /** 0 means never. */
  readonly idleTimeoutMs: number;
  /** 0 means no limit. */
  readonly maxConnectionDurationMs: number;
  /** 0 means no limit. */
  readonly maxRequestsPerConnection: number;
  /**
   * Streams that a connection is expected to carry at once while it is being made: 1 for HTTP/1. Where ALPN decides, what
   * the first connection turns out to be corrects it.
   */
  readonly streamsPerConnection: number;
  /** Connections kept ready in proportion to streams, 1 to 3; default 1 (preconnect_policy.per_upstream_preconnect_ratio). */
  readonly preconnectRatio: number;
  readonly stats: ClusterStats;
  /** The codec for the protocol that ALPN chose (`h2` gives HTTP/2 where the cluster allows it). */
  codecFor(negotiatedProtocol: string): ClientCodecFactory;
}

/** A request that waits for a connection: a link of the pool's queue. */
class PendingStream implements Cancellable {
  readonly decoder: ResponseDecoder;
  readonly callbacks: HttpPoolCallbacks;
  readonly pool: HttpConnPool;
  next: PendingStream | undefined = undefined;
  prev: PendingStream | undefined = undefined;
  queued = true;

  constructor(pool: HttpConnPool, decoder: ResponseDecoder, callbacks: HttpPoolCallbacks) {
    this.pool = pool;
    this.decoder = decoder;
    this.callbacks = callbacks;
  }

  cancel(): void {
    this.pool.cancelPending(this);
  }
}

function onIdleTimeout(client: PooledClient): void {
  client.onIdleTimeout();
}

function onMaxDuration(client: PooledClient): void {
  client.onMaxDuration();
}

/** One connection of a pool. */
class PooledClient implements ClientConnectionCallbacks, DialCallbacks {
  readonly pool: HttpConnPool;
  readonly id = nextConnectionId();
  connection: ClientConnection | undefined = undefined;
  tls: TlsInfo | undefined = undefined;
  /** Streams begun on it. */
  streams = 0;
  active = 0;
  /** No new streams: goes away when the last one ends. */
  draining = false;
  /** In the pool's list of clients that can take a stream. */
  ready = false;
  closed = false;
  dial: Dial | undefined = undefined;
  /** Streams that the pool counts on while the connection is being made. */
  expected = 1;
  /** Streams at once until the peer has told its limit: what the one before allowed. */
  allowed = Infinity;
  idleTimer: TimerHandle | undefined = undefined;
  durationTimer: TimerHandle | undefined = undefined;

  constructor(pool: HttpConnPool) {
    this.pool = pool;
  }

  onConnected(socket: Socket, tls: TlsInfo | undefined, negotiatedProtocol: string): void {
    this.dial = undefined;
    this.tls = tls;
    const { options } = this.pool;
    this.connection = options.codecFor(negotiatedProtocol)(socket, this);
    if (options.maxConnectionDurationMs > 0)
      this.durationTimer = workerTimers.schedule(options.maxConnectionDurationMs, onMaxDuration, this);
    this.pool.onClientConnected(this);
  }

  onConnectFailure(reason: PoolFailure, transportFailureReason: string): void {
    this.dial = undefined;
    this.closed = true;
    this.pool.onClientConnectFailure(this, reason, transportFailureReason);
  }

  onStreamEnd(): void {
    this.active--;
    this.pool.onClientStreamEnd(this);
  }

  onCapacityChange(): void {
    this.allowed = Infinity;
    this.pool.onClientCapacity(this);
  }

  onGoAway(): void {
    this.draining = true;
    this.pool.onClientDraining(this);
  }

  onClose(_details: string): void {
    if (this.closed) return;
    this.closed = true;
    workerTimers.cancel(this.idleTimer);
    workerTimers.cancel(this.durationTimer);
    this.idleTimer = undefined;
    this.durationTimer = undefined;
    this.pool.onClientClosed(this);
  }

  startIdle(): void {
    const { idleTimeoutMs } = this.pool.options;
    if (idleTimeoutMs <= 0) return;
    if (this.idleTimer === undefined || !workerTimers.refresh(this.idleTimer, idleTimeoutMs))
      this.idleTimer = workerTimers.schedule(idleTimeoutMs, onIdleTimeout, this);
  }

  onIdleTimeout(): void {
    this.idleTimer = undefined;
    // Armed at the end of each stream and not disarmed at the start of the next: a busy client just goes on.
    if (this.active > 0) return;
    this.pool.options.stats.upstreamCxIdleTimeout++;
    this.connection?.close();
  }

  onMaxDuration(): void {
    this.durationTimer = undefined;
    this.pool.options.stats.upstreamCxMaxDurationReached++;
    this.draining = true;
    this.pool.onClientDraining(this);
  }
}

/** Owns the connections it makes. */
export class HttpConnPool implements HttpConnectionPool {
  readonly host: UpstreamHost;
  readonly options: HttpPoolOptions;
  readonly #resources: ThresholdResources;
  readonly #transportOptions: UpstreamTransportOptions;
  /** Clients that can take a stream now; the last one is used first. */
  readonly #ready: PooledClient[] = [];
  readonly #clients = new Set<PooledClient>();
  /** Streams that connections being made are expected to take. */
  #connectingStreams = 0;
  #streamsPerConnection: number;
  #active = 0;
  #pendingHead: PendingStream | undefined = undefined;
  #pendingTail: PendingStream | undefined = undefined;
  #pendingCount = 0;
  #draining = false;

  constructor(
    host: UpstreamHost,
    resources: ThresholdResources,
    transportOptions: UpstreamTransportOptions,
    options: HttpPoolOptions,
  ) {
    this.host = host;
    this.#resources = resources;
    this.#transportOptions = transportOptions;
    this.options = options;
    this.#streamsPerConnection = options.streamsPerConnection;
  }

  /** Requests that wait for a connection. */
  get pendingRequests(): number {
    return this.#pendingCount;
  }

  /** Connections, open or being made. */
  get size(): number {
    return this.#clients.size;
  }

  newStream(decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): Cancellable | undefined {
    const client = this.#ready[this.#ready.length - 1];
    if (client !== undefined) {
      this.#attach(client, decoder, callbacks);
      if (this.options.preconnectRatio > 1) this.#connectForPending();
      return undefined;
    }
    if (!this.#resources.tryPendingRequest()) {
      this.options.stats.upstreamRqPendingOverflow++;
      callbacks.onPoolFailure('overflow', '', this.host);
      return undefined;
    }
    this.options.stats.upstreamRqPendingTotal++;
    const pending = new PendingStream(this, decoder, callbacks);
    this.#enqueue(pending);
    this.#connectForPending();
    // The dial never answers inside its constructor, so the stream is still queued here unless no connection was allowed.
    return pending.queued ? pending : undefined;
  }

  #attach(client: PooledClient, decoder: ResponseDecoder, callbacks: HttpPoolCallbacks): void {
    const { host, options } = this;
    const { connection } = client;
    if (connection === undefined || !this.#resources.tryRequest()) {
      options.stats.upstreamRqPendingOverflow++;
      callbacks.onPoolFailure('overflow', '', host);
      return;
    }
    client.active++;
    client.streams++;
    this.#active++;
    host.activeRequests++;
    host.stats.rqTotal++;
    options.stats.upstreamRqTotal++;
    options.stats.upstreamRqActive++;
    const encoder = connection.newStream(decoder);
    const limit = options.maxRequestsPerConnection;
    if (limit > 0 && client.streams >= limit && !client.draining) {
      client.draining = true;
      options.stats.upstreamCxMaxRequests++;
    }
    if (client.ready && (client.draining || this.#roomOf(client) === 0)) this.#unready(client);
    callbacks.onPoolReady(encoder, host, connection, client.tls, client.id, client.streams > 1);
  }

  #unready(client: PooledClient): void {
    if (!client.ready) return;
    client.ready = false;
    const ready = this.#ready;
    if (ready[ready.length - 1] === client) {
      ready.pop();
      return;
    }
    const at = ready.indexOf(client);
    if (at >= 0) ready.splice(at, 1);
  }

  #enqueue(pending: PendingStream): void {
    this.#pendingCount++;
    pending.prev = this.#pendingTail;
    if (this.#pendingTail === undefined) this.#pendingHead = pending;
    else this.#pendingTail.next = pending;
    this.#pendingTail = pending;
  }

  #dequeue(pending: PendingStream): void {
    pending.queued = false;
    this.#pendingCount--;
    this.#resources.releasePendingRequest();
    if (pending.prev === undefined) this.#pendingHead = pending.next;
    else pending.prev.next = pending.next;
    if (pending.next === undefined) this.#pendingTail = pending.prev;
    else pending.next.prev = pending.prev;
    pending.next = undefined;
    pending.prev = undefined;
  }

  cancelPending(pending: PendingStream): void {
    if (pending.queued) this.#dequeue(pending);
  }

  /**
   * Connections for all that wait, as far as the circuit breaker lets: as Envoy, one more while the streams wanted (times
   * the preconnect ratio) pass those that connections can take.
   */
  #connectForPending(): void {
    while (this.#wantsConnection()) {
      const { host } = this;
      if (host.openConnections >= host.maxConnections || !this.#resources.tryConnection()) {
        this.options.stats.upstreamCxOverflow++;
        // A host without any connection gets one all the same, else it could never answer.
        if (this.#clients.size > 0) return;
        this.#resources.forceConnection();
      }
      this.#connect();
    }
  }

  #wantsConnection(): boolean {
    const ratio = this.options.preconnectRatio;
    // With a waiting request no connected client has room: then only those being made count.
    if (ratio === 1) return this.#pendingCount > this.#connectingStreams;
    if (this.#draining) return this.#pendingCount > this.#connectingStreams;
    let capacity = this.#connectingStreams;
    for (const client of this.#ready) capacity += this.#roomOf(client);
    return (this.#pendingCount + this.#active) * ratio > capacity + this.#active;
  }

  /** Streams that a connected client can take now. */
  #roomOf(client: PooledClient): number {
    const room = Math.min(client.connection?.availableStreams ?? 0, client.allowed - client.active);
    const limit = this.options.maxRequestsPerConnection;
    return limit > 0 ? Math.min(room, limit - client.streams) : room;
  }

  #connect(): void {
    const client = new PooledClient(this);
    const limit = this.options.maxRequestsPerConnection;
    const expected = this.#streamsPerConnection;
    client.expected = limit > 0 ? Math.min(expected, limit) : expected;
    client.allowed = expected;
    this.#clients.add(client);
    this.#connectingStreams += client.expected;
    this.host.openConnections++;
    this.host.stats.cxTotal++;
    this.options.stats.upstreamCxTotal++;
    client.dial = new Dial(
      this.host.address,
      this.host.transport,
      this.#transportOptions,
      this.options.dial,
      client,
    );
  }

  onClientConnected(client: PooledClient): void {
    this.#connectingStreams -= client.expected;
    this.host.stats.cxActive++;
    this.options.stats.upstreamCxActive++;
    this.host.report({ kind: 'connect_success' });
    // What ALPN chose once it will choose again.
    if (client.connection?.protocol === 'HTTP/1.1') {
      this.#streamsPerConnection = 1;
      this.options.stats.upstreamCxHttp1Total++;
    } else this.options.stats.upstreamCxHttp2Total++;
    this.#offer(client);
    if (this.#pendingCount > 0) this.#connectForPending();
  }

  onClientConnectFailure(client: PooledClient, reason: PoolFailure, transportFailureReason: string): void {
    this.#connectingStreams -= client.expected;
    this.#clients.delete(client);
    this.host.openConnections--;
    this.#resources.releaseConnection();
    this.host.stats.cxConnectFail++;
    if (reason === 'timeout') this.options.stats.upstreamCxConnectTimeout++;
    this.options.stats.upstreamCxConnectFail++;
    this.host.report({ kind: reason === 'timeout' ? 'connect_timeout' : 'connect_failure' });
    // All that wait are told, as in Envoy: whoever waits knows best whether another host should be asked.
    const waiting: PendingStream[] = [];
    for (let pending = this.#pendingHead; pending !== undefined; pending = this.#pendingHead) {
      this.#dequeue(pending);
      waiting.push(pending);
    }
    this.options.stats.upstreamRqPendingFailureEject += waiting.length;
    for (const pending of waiting) pending.callbacks.onPoolFailure(reason, transportFailureReason, this.host);
  }

  /** Gives the client waiting requests, or makes it wait itself. */
  #offer(client: PooledClient): void {
    while (this.#pendingHead !== undefined && !client.draining && !client.closed) {
      if (this.#roomOf(client) <= 0) return;
      const pending = this.#pendingHead;
      this.#dequeue(pending);
      this.#attach(client, pending.decoder, pending.callbacks);
    }
    if (client.closed) return;
    if (client.draining || this.#draining) {
      if (client.active === 0) client.connection?.close();
      return;
    }
    if (!client.ready && this.#roomOf(client) > 0) {
      client.ready = true;
      this.#ready.push(client);
    }
    if (client.active === 0) client.startIdle();
  }

  onClientStreamEnd(client: PooledClient): void {
    this.#releaseStream();
    if (!client.closed) this.#offer(client);
  }

  #releaseStream(): void {
    this.#active--;
    this.#resources.releaseRequest();
    this.host.activeRequests--;
    this.options.stats.upstreamRqActive--;
  }

  /** The peer allows more, or fewer, streams at once. */
  onClientCapacity(client: PooledClient): void {
    const available = client.connection?.availableStreams ?? 0;
    if (client.closed || client.dial !== undefined) return;
    if (!client.draining)
      this.#streamsPerConnection = Math.max(
        1,
        Math.min(this.options.streamsPerConnection, client.active + available),
      );
    if (available > 0) this.#offer(client);
    else this.#unready(client);
    if (this.#pendingCount > 0) this.#connectForPending();
  }

  onClientDraining(client: PooledClient): void {
    this.#unready(client);
    if (client.active === 0 && client.dial === undefined) client.connection?.close();
    // Waiting requests had hoped for it.
    else if (this.#pendingCount > 0) this.#connectForPending();
  }

  onClientClosed(client: PooledClient): void {
    this.#unready(client);
    // Streams that were open have heard onResetStream from the codec; their counts end here.
    while (client.active > 0) {
      client.active--;
      this.#releaseStream();
    }
    this.#clients.delete(client);
    this.#resources.releaseConnection();
    this.host.openConnections--;
    this.host.stats.cxActive--;
    this.options.stats.upstreamCxActive--;
    // Requests that waited because the limit was reached may connect now.
    if (this.#pendingCount > 0) this.#connectForPending();
  }

  /** Idle connections close now, busy ones when their requests end; requests that wait still get a connection. */
  drain(): void {
    this.#draining = true;
    for (const client of this.#clients) {
      if (client.dial !== undefined) continue;
      client.draining = true;
      this.onClientDraining(client);
    }
  }

  /** Closes everything now; requests that wait fail. */
  close(): void {
    this.#draining = true;
    for (const client of this.#clients) {
      if (client.dial === undefined) client.connection?.close();
      else client.dial.fail('local_connection_failure', '');
    }
  }
}
