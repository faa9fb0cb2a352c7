/**
 * Passes bytes between a client and one host (envoy.filters.network.tcp_proxy). Half-closes travel both ways; the slower
 * side sets the pace. On the hot path: bench/micro/tcp_proxy.ts.
 */
import type { Socket } from 'node:net';
import { ProxyProtocolTlvMergePolicy } from '#api/gen/envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy_pb.ts';
import { hash64 } from '../../../load_balancing_policies/hash_balancer.ts';
import type { Address } from '../../../network/address.ts';
import type { DownstreamConnection, TerminalNetworkFilter, TlsInfo } from '../../../network/connection.ts';
import { nextConnectionId } from '../../../network/connection_info.ts';
import type { ProxyTlv } from '../../../network/proxy_header.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import { type UpstreamTransportOptions, noTransportOptions } from '../../../network/transport_socket.ts';
import { setConnectionStream } from '../../../stream_info/connection_stream.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import { StreamInfo, newUpstreamInfo } from '../../../stream_info/stream_info.ts';
import type {
  Cancellable,
  Cluster,
  Host,
  LoadBalancerContext,
  PoolFailure,
  TcpPoolCallbacks,
} from '../../../upstream/upstream.ts';
import { clusterOverride } from './cluster_override.ts';
import type { TcpProxyConfig } from './config.ts';
import { Pump } from './pump.ts';

const noTlvs: readonly ProxyTlv[] = [];

/** TLVs of the client and those of the configuration (`proxy_protocol_tlv_merge_policy`). */
function mergeTlvs(
  told: readonly ProxyTlv[],
  own: readonly ProxyTlv[],
  policy: ProxyProtocolTlvMergePolicy,
): readonly ProxyTlv[] {
  if (own.length === 0) return told;
  if (told.length === 0) return own;
  if (policy === ProxyProtocolTlvMergePolicy.APPEND_IF_EXISTS_OR_ADD) return [...told, ...own];
  if (policy === ProxyProtocolTlvMergePolicy.ADD_IF_ABSENT) return told;
  const types = new Set(own.map(({ type }) => type));
  return [...told.filter(({ type }) => !types.has(type)), ...own];
}

/** One per filter chain; serves all its connections. */
export class TcpProxyFilter implements TerminalNetworkFilter {
  readonly config: TcpProxyConfig;

  constructor(config: TcpProxyConfig) {
    this.config = config;
  }

  onConnection(connection: DownstreamConnection): void {
    new TcpSession(connection, this.config).start();
  }

  /** Refused connections stand in the access log, too. */
  onUnserved(connection: DownstreamConnection): void {
    if (this.config.accessLoggers.length > 0) new TcpSession(connection, this.config).onUnserved();
  }
}

function ignoreError(): void {
  // 'close' follows and decides; Envoy sets no flag when an established TCP connection breaks.
}

function onIdleTimeout(session: TcpSession): void {
  session.onTimeout(0);
}

function onBackoff(session: TcpSession): void {
  session.onBackoff();
}

function onMaxDuration(session: TcpSession): void {
  session.onTimeout(ResponseFlag.durationTimeout);
}

function onLogInterval(session: TcpSession): void {
  session.onLogInterval();
}

/** One connection. */
class TcpSession implements TcpPoolCallbacks, LoadBalancerContext {
  readonly #config: TcpProxyConfig;
  readonly #client: Socket;
  readonly #connection: DownstreamConnection;
  readonly #info: StreamInfo;
  #server: Socket | undefined = undefined;
  #cluster: Cluster | undefined = undefined;
  #toServer: Pump | undefined = undefined;
  #toClient: Pump | undefined = undefined;
  #connecting: Cancellable | undefined = undefined;
  #idleTimer: TimerHandle | undefined = undefined;
  #durationTimer: TimerHandle | undefined = undefined;
  #logTimer: TimerHandle | undefined = undefined;
  #ended = false;
  // LoadBalancerContext
  readonly hash: bigint | undefined;
  metadataMatch: Readonly<Record<string, unknown>> | undefined = undefined;
  readonly requestHeaders = undefined;
  readonly hostSelectionRetryCount = 0;

  constructor(connection: DownstreamConnection, config: TcpProxyConfig) {
    this.#config = config;
    this.#connection = connection;
    this.#client = connection.socket;
    this.#info = new StreamInfo(connection.info, '');
    this.hash = config.hashSourceIp ? hash64(connection.info.remoteAddress.ip) : undefined;
    setConnectionStream(connection.info, this.#info);
  }

  get downstream(): DownstreamConnection['info'] {
    return this.#connection.info;
  }

  get transportOptions(): UpstreamTransportOptions {
    const { info } = this.#connection;
    const { proxyTlvs, tlvMerge } = this.#config;
    const told = info.proxyProtocol;
    return {
      ...noTransportOptions,
      proxyProtocol: {
        source: told?.source ?? info.remoteAddress,
        destination: told?.destination ?? info.localAddress,
        tlvs: mergeTlvs(told?.tlvs ?? noTlvs, proxyTlvs, tlvMerge),
      },
      source: info.upstreamSource,
    };
  }

  shouldSelectAnotherHost(): boolean {
    return false;
  }

  start(): void {
    const { maxDurationMs, maxDurationJitter, logIntervalMs, stats } = this.#config;
    stats.cxTotal.inc();
    // The client is read only once there is somebody to write to.
    this.#client.on('error', ignoreError);
    this.#client.on('close', this.#onClientClose);
    if (maxDurationMs > 0) {
      const longer = maxDurationJitter === 0 ? 0 : maxDurationMs * maxDurationJitter * this.#config.random();
      this.#durationTimer = workerTimers.schedule(maxDurationMs + longer, onMaxDuration, this);
    }
    if (logIntervalMs > 0) this.#logTimer = workerTimers.schedule(logIntervalMs, onLogInterval, this);
    const info = this.#info;
    const override = clusterOverride(this.#connection.info);
    const choice = override === undefined ? this.#config.chooseCluster() : undefined;
    const name = override ?? choice?.name ?? '';
    this.metadataMatch = choice?.metadataMatch;
    info.clusterName = name;
    const cluster = this.#config.clusterManager.get(name);
    if (cluster === undefined) {
      info.responseFlags |= ResponseFlag.noClusterFound;
      stats.cxNoRoute.inc();
      this.#fail('cluster_not_found');
      return;
    }
    this.#cluster = cluster;
    info.clusterStatName = cluster.statName;
    info.clusterMetadata = cluster.metadata;
    if (this.#config.logOnStart) this.#log();
    this.#connect(cluster);
  }

  #connect(cluster: Cluster): void {
    const info = this.#info;
    const host = cluster.chooseHost(this);
    if (host === undefined) {
      info.responseFlags |= ResponseFlag.noHealthyUpstream;
      this.#fail('no_healthy_upstream');
      return;
    }
    info.attemptCount++;
    const upstream = newUpstreamInfo();
    upstream.hostAddress = host.address;
    upstream.hostMetadata = host.metadata;
    info.upstream = upstream;
    this.#connecting = cluster.tcpConnect(host, this, this);
  }

  onPoolFailure(reason: PoolFailure, transportFailureReason: string, _host: Host): void {
    this.#connecting = undefined;
    const info = this.#info;
    if (info.upstream !== undefined) info.upstream.transportFailureReason = transportFailureReason;
    if (reason === 'overflow') {
      info.responseFlags |= ResponseFlag.upstreamOverflow;
      this.#fail('overflow');
      return;
    }
    info.responseFlags |= ResponseFlag.upstreamConnectionFailure;
    if (this.#cluster !== undefined && info.attemptCount < this.#config.maxConnectAttempts) {
      const { backoffBaseMs, backoffMaxMs, random } = this.#config;
      if (backoffBaseMs === 0) this.#connect(this.#cluster);
      else {
        // Envoy's fully jittered exponential back-off.
        const span = Math.min(backoffBaseMs * 2 ** (info.attemptCount - 1), backoffMaxMs);
        this.#idleTimer = workerTimers.schedule(Math.max(1, random() * span), onBackoff, this);
      }
      return;
    }
    // Envoy counts the end of attempts as such even when only one was allowed.
    info.responseFlags |= ResponseFlag.connectAttemptsExceeded;
    this.#fail('');
  }

  /** The wait before the next attempt is over. */
  onBackoff(): void {
    this.#idleTimer = undefined;
    if (this.#cluster !== undefined && !this.#ended) this.#connect(this.#cluster);
  }

  onPoolReady(server: Socket, _host: Host, localAddress: Address, tls: TlsInfo | undefined): void {
    this.#connecting = undefined;
    if (this.#ended) {
      server.destroy();
      return;
    }
    this.#server = server;
    const { upstream } = this.#info;
    if (upstream !== undefined) {
      upstream.localAddress = localAddress;
      upstream.tls = tls;
      upstream.connectionId = nextConnectionId();
    }
    const client = this.#client;
    server.on('error', ignoreError);
    server.on('close', this.#onServerClose);
    server.on('end', this.#onServerEnd);
    client.on('end', this.#onClientEnd);
    const { idleTimeoutMs } = this.#config;
    if (idleTimeoutMs > 0) this.#idleTimer = workerTimers.schedule(idleTimeoutMs, onIdleTimeout, this);
    if (this.#config.logOnConnected) this.#log();
    this.#toServer = new Pump(client, server, this.#onClientBytes, this.#cluster?.bufferLimitBytes);
    this.#toClient = new Pump(server, client, this.#onServerBytes, this.#config.bufferLimitBytes);
    this.#toServer.start();
    this.#toClient.start();
  }

  #touch(): void {
    if (this.#idleTimer !== undefined) workerTimers.refresh(this.#idleTimer, this.#config.idleTimeoutMs);
  }

  readonly #onClientBytes = (bytes: number): void => {
    this.#info.bytesReceived += bytes;
    this.#config.stats.rxBytes.value += bytes;
    this.#touch();
  };

  readonly #onServerBytes = (bytes: number): void => {
    this.#info.bytesSent += bytes;
    this.#config.stats.txBytes.value += bytes;
    this.#touch();
  };

  readonly #onClientEnd = (): void => {
    this.#touch();
    this.#toServer?.end(() => this.#server?.end());
  };

  readonly #onServerEnd = (): void => {
    this.#touch();
    this.#toClient?.end(() => this.#client.end());
  };

  readonly #onClientClose = (): void => {
    this.#connecting?.cancel();
    this.#connecting = undefined;
    const server = this.#server;
    // A clean end has passed both halves on already; what is left means the client broke off.
    if (server !== undefined && !server.destroyed) {
      if (this.#client.readableEnded && this.#client.writableFinished) server.end();
      else server.destroy();
    }
    this.#finish();
  };

  readonly #onServerClose = (): void => {
    const client = this.#client;
    if (client.destroyed) return;
    // What was received before a clean end goes out first; then nobody is left to read the client for.
    if (this.#server?.errored !== null || this.#toClient === undefined) client.destroy();
    else if (client.writableEnded) client.destroySoon();
    else this.#toClient.end(() => client.destroySoon());
  };

  /** Envoy leaves no termination details for either. */
  onTimeout(flag: number): void {
    const { stats } = this.#config;
    if (flag === 0) stats.idleTimeout.inc();
    else stats.maxDuration.inc();
    this.#info.responseFlags |= flag;
    this.#fail('');
  }

  onLogInterval(): void {
    this.#log();
    this.#logTimer = workerTimers.schedule(this.#config.logIntervalMs, onLogInterval, this);
  }

  #fail(details: string): void {
    if (details !== '' && this.#connection.info.terminationDetails === '')
      this.#connection.info.terminationDetails = details;
    this.#client.destroy();
  }

  onUnserved(): void {
    this.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    workerTimers.cancel(this.#idleTimer);
    workerTimers.cancel(this.#durationTimer);
    workerTimers.cancel(this.#logTimer);
    this.#info.end = performance.now();
    this.#log();
  }

  #log(): void {
    const info = this.#info;
    info.wireBytesReceived = info.bytesReceived;
    info.wireBytesSent = info.bytesSent;
    info.connectionTerminationDetails = this.#connection.info.terminationDetails;
    for (const logger of this.#config.accessLoggers) logger.log(info, undefined, undefined, undefined);
  }
}
