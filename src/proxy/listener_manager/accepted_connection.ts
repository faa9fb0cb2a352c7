/**
 * The way of one accepted socket to its terminal filter: listener filters, hand-off, chain match, transport socket,
 * network filters. One object per connection, no promise and no closure on the way. Bench: bench/micro/tcp_proxy.ts.
 */
import type { Socket } from 'node:net';
import type { DownstreamConnection, TlsInfo } from '../network/connection.ts';
import type { AcceptedConnectionInfo } from '../network/connection_info.ts';
import { NetworkFilterStatus, type NetworkReadFilter, type ReadFilterCallbacks } from '../network/filter.ts';
import { type ListenerFilter, ListenerFilterStatus } from '../network/listener_filter.ts';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';
import type { TransportSocketCallbacks } from '../network/transport_socket.ts';
import { ResponseFlag } from '../stream_info/response_flags.ts';
import { type LiveFilterChain, type LiveChainHandle, createReadFilters } from './filter_chain.ts';
import { type ListenerVersion, type LiveListenerFilter, predicateMatches } from './listener_version.ts';

/** What an accepted connection needs of the listener that took it. */
export interface ConnectionOwner {
  readonly version: ListenerVersion;
  /** Another listener for a restored destination address; undefined keeps the connection here. */
  handOff(connection: AcceptedConnection): ConnectionOwner | undefined;
  /** Exactly once per connection. */
  onConnectionClosed(connection: AcceptedConnection): void;
}

const noBytes = Buffer.alloc(0);

function ignoreError(): void {
  // 'close' follows; without a listener Node would end the process.
}

function onFilterTimeout(connection: AcceptedConnection): void {
  connection.onListenerFiltersTimeout();
}

function onTransportTimeout(connection: AcceptedConnection): void {
  connection.fail('transport socket timeout was reached');
}

/** One connection from accept to close. It is also what the terminal filter gets. */
export class AcceptedConnection
  implements DownstreamConnection, TransportSocketCallbacks, ReadFilterCallbacks
{
  socket: Socket;
  readonly info: AcceptedConnectionInfo;
  #owner: ConnectionOwner;
  #chain: LiveFilterChain | undefined = undefined;
  #handle: LiveChainHandle | undefined = undefined;
  #timer: TimerHandle | undefined = undefined;
  #filters: readonly LiveListenerFilter[];
  #filterIndex = 0;
  /** The filter that waits for bytes. */
  #waiting: ListenerFilter | undefined = undefined;
  /** Bytes seen and not yet consumed. */
  #peeked: Buffer = noBytes;
  #reading = false;
  #closed = false;
  #readFilters: readonly NetworkReadFilter[] = [];
  #readFilterIndex = 0;
  /** Response flag bits of a connection that no terminal filter took. */
  flags = 0;
  /** True once the terminal filter owns the socket. */
  established = false;

  constructor(socket: Socket, info: AcceptedConnectionInfo, owner: ConnectionOwner) {
    this.socket = socket;
    this.info = info;
    this.#owner = owner;
    this.#filters = owner.version.listenerFilters;
    socket.on('error', ignoreError);
    // Not `once`: it wraps the listener, and a second call changes nothing.
    socket.on('close', this.#onClose);
  }

  get chain(): LiveChainHandle {
    if (this.#handle === undefined) throw new Error('the connection has no chain yet');
    return this.#handle;
  }

  get drain(): DownstreamConnection['drain'] {
    return this.chain.drain;
  }

  get connection(): DownstreamConnection {
    return this;
  }

  /** The listener that has the connection now. */
  get owner(): ConnectionOwner {
    return this.#owner;
  }

  /** Begins with the listener filters. */
  start(): void {
    const { listenerFiltersTimeoutMs } = this.#owner.version;
    if (this.#filters.length > 0 && listenerFiltersTimeoutMs > 0)
      this.#timer = workerTimers.schedule(listenerFiltersTimeoutMs, onFilterTimeout, this);
    this.#runListenerFilters();
  }

  #runListenerFilters(): void {
    while (this.#filterIndex < this.#filters.length) {
      let filter = this.#waiting;
      let status: ListenerFilterStatus = ListenerFilterStatus.moreData;
      if (filter === undefined) {
        const entry = this.#filters[this.#filterIndex] as LiveListenerFilter;
        if (entry.disabled !== undefined && predicateMatches(entry.disabled, this.info)) {
          this.#filterIndex++;
          continue;
        }
        filter = entry.factory.createFilter();
        status = filter.onAccept(this.socket, this.info);
      }
      if (status === ListenerFilterStatus.moreData && this.#peeked.length > 0) status = this.#ask(filter);
      if (status === ListenerFilterStatus.moreData) {
        this.#waiting = filter;
        this.#read();
        return;
      }
      this.#waiting = undefined;
      if (status === ListenerFilterStatus.close) {
        this.fail('');
        return;
      }
      if (filter.consumed > 0) this.#peeked = this.#peeked.subarray(filter.consumed);
      this.#filterIndex++;
    }
    this.#finishListenerFilters();
  }

  #ask(filter: ListenerFilter): ListenerFilterStatus {
    const full = this.#peeked.length >= filter.maxReadBytes;
    const data = full ? this.#peeked.subarray(0, filter.maxReadBytes) : this.#peeked;
    const status = filter.onData?.(data, full, this.info) ?? ListenerFilterStatus.continue;
    // A filter that has seen all it may see cannot ask for more.
    return full && status === ListenerFilterStatus.moreData ? ListenerFilterStatus.continue : status;
  }

  #read(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.socket.on('data', this.#onData);
    this.socket.on('end', this.#onEnd);
    this.socket.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#peeked = this.#peeked.length === 0 ? chunk : Buffer.concat([this.#peeked, chunk]);
    this.#runListenerFilters();
  };

  /** The client left before the filters knew enough. */
  readonly #onEnd = (): void => this.fail('');

  onListenerFiltersTimeout(): void {
    this.#timer = undefined;
    if (this.#owner.version.continueOnListenerFiltersTimeout) this.#finishListenerFilters();
    else this.fail('');
  }

  #stopReading(): void {
    if (!this.#reading) return;
    this.#reading = false;
    this.socket.off('data', this.#onData);
    this.socket.off('end', this.#onEnd);
    this.socket.pause();
  }

  #finishListenerFilters(): void {
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    const next = this.#owner.handOff(this);
    if (next !== undefined) {
      this.#owner = next;
      this.#filters = next.version.listenerFilters;
      this.#filterIndex = 0;
      this.start();
      return;
    }
    this.#stopReading();
    if (this.#peeked.length > 0) {
      this.socket.unshift(this.#peeked);
      this.#peeked = noBytes;
    }
    const { version } = this.#owner;
    const chain = version.matcher.find(this.info);
    if (chain === undefined || chain.handle === undefined) {
      this.flags |= ResponseFlag.noRouteFound;
      version.stats.noFilterChainMatch++;
      this.fail('');
      return;
    }
    if (!chain.transport.ready) {
      this.info.transportFailureReason = 'TLS error: Secret is not supplied by SDS';
      this.fail('');
      return;
    }
    this.#chain = chain;
    this.#handle = chain.handle;
    this.info.filterChainName = chain.name;
    if (chain.transportTimeoutMs > 0 && chain.transport.secure)
      this.#timer = workerTimers.schedule(chain.transportTimeoutMs, onTransportTimeout, this);
    chain.transport.wrap(this.socket, this.info, this);
  }

  onTransportReady(socket: Socket, tls: TlsInfo | undefined, negotiatedProtocol: string): void {
    if (this.#closed) return;
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    if (socket !== this.socket) {
      // The TLS socket ends after the plain one: it decides when the connection is over.
      this.socket.off('close', this.#onClose);
      this.socket = socket;
      socket.on('error', ignoreError);
      socket.on('close', this.#onClose);
    }
    this.info.tls = tls;
    if (this.info.requestedServerName === '' && tls?.serverName !== undefined)
      this.info.requestedServerName = tls.serverName;
    this.info.negotiatedProtocol = negotiatedProtocol;
    this.chain.sockets.add(socket);
    if (this.#chain !== undefined && this.#chain.readFilters.length > 0)
      this.#readFilters = createReadFilters(this.#chain);
    this.continueReading();
  }

  onTransportFailure(reason: string): void {
    this.info.transportFailureReason = reason;
    this.fail('');
  }

  /** Asks the network filters from where they stopped, then gives the socket away. */
  continueReading(): void {
    while (this.#readFilterIndex < this.#readFilters.length) {
      if (this.#closed) return;
      const filter = this.#readFilters[this.#readFilterIndex++] as NetworkReadFilter;
      if (filter.onNewConnection(this) === NetworkFilterStatus.stopIteration) return;
    }
    if (this.#closed || this.established || this.socket.destroyed) return;
    this.established = true;
    this.chain.current.onConnection(this);
  }

  close(details: string): void {
    this.fail(details);
  }

  /** Closes now; `details` becomes `%CONNECTION_TERMINATION_DETAILS%`. */
  fail(details: string): void {
    if (details !== '' && this.info.terminationDetails === '') this.info.terminationDetails = details;
    this.socket.destroy();
  }

  readonly #onClose = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    this.#handle?.sockets.delete(this.socket);
    for (let i = 0; i < this.#readFilterIndex; i++) this.#readFilters[i]?.onClose?.();
    if (!this.established) this.#handle?.current.onUnserved?.(this);
    this.#owner.onConnectionClosed(this);
  };
}
