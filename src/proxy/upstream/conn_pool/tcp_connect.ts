/** One upstream TCP connection for one downstream connection (envoy Tcp::ConnPool). */
import type { Socket } from 'node:net';
import { unmapIpv4 } from '../../network/address.ts';
import type { TlsInfo } from '../../network/connection.ts';
import type { UpstreamTransportOptions } from '../../network/transport_socket.ts';
import type { UpstreamHost } from '../host.ts';
import type { ThresholdResources } from '../resource_manager.ts';
import type { Cancellable, ClusterStats, HostResult, PoolFailure, TcpPoolCallbacks } from '../upstream.ts';
import { Dial, type DialCallbacks, type DialOptions } from './dial.ts';

const connected: HostResult = { kind: 'connect_success', final: true };

/** Counts of the connection are given back when its socket closes. */
export class TcpConnect implements Cancellable, DialCallbacks {
  readonly #host: UpstreamHost;
  readonly #resources: ThresholdResources;
  readonly #stats: ClusterStats;
  readonly #callbacks: TcpPoolCallbacks;
  readonly #dial: Dial | undefined;
  #counted = false;

  constructor(
    host: UpstreamHost,
    resources: ThresholdResources,
    transportOptions: UpstreamTransportOptions,
    options: DialOptions,
    stats: ClusterStats,
    callbacks: TcpPoolCallbacks,
  ) {
    this.#host = host;
    this.#resources = resources;
    this.#stats = stats;
    this.#callbacks = callbacks;
    if (host.openConnections >= host.maxConnections || !resources.tryConnection()) {
      stats.upstreamCxOverflow++;
      queueMicrotask(() => callbacks.onPoolFailure('overflow', '', host));
      return;
    }
    this.#counted = true;
    host.openConnections++;
    host.stats.cxTotal++;
    stats.upstreamCxTotal++;
    this.#dial = new Dial(host.address, host.transport, transportOptions, options, this);
  }

  cancel(): void {
    this.#dial?.cancel();
    this.#release();
  }

  onConnected(socket: Socket, tls: TlsInfo | undefined): void {
    const host = this.#host;
    const stats = this.#stats;
    host.report(connected);
    host.stats.cxActive++;
    host.activeRequests++;
    stats.upstreamCxActive++;
    host.tcpSockets?.add(socket);
    socket.on('close', () => {
      host.tcpSockets?.delete(socket);
      host.stats.cxActive--;
      host.activeRequests--;
      stats.upstreamCxActive--;
      this.#release();
    });
    const ip = socket.localAddress;
    const local =
      ip === undefined ? { ip: '', port: -1 } : { ip: unmapIpv4(ip), port: socket.localPort ?? 0 };
    this.#callbacks.onPoolReady(socket, host, local, tls);
  }

  onConnectFailure(reason: PoolFailure, transportFailureReason: string): void {
    this.#release();
    this.#host.stats.cxConnectFail++;
    this.#stats.upstreamCxConnectFail++;
    this.#host.report({ kind: reason === 'timeout' ? 'connect_timeout' : 'connect_failure' });
    this.#callbacks.onPoolFailure(reason, transportFailureReason, this.#host);
  }

  #release(): void {
    if (!this.#counted) return;
    this.#counted = false;
    this.#host.openConnections--;
    this.#resources.releaseConnection();
  }
}
