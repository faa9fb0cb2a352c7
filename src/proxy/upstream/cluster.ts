/** A live cluster of one worker: hosts, balancer, pools, circuit breakers, outlier detection. */
import { toBinary } from '@bufbuild/protobuf';
import { type Cluster as ClusterProto, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { RoutingPriority } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { rawBufferUpstream } from '../network/raw_buffer.ts';
import {
  type TransportSocketContext,
  type UpstreamTransportOptions,
  newTlsStats,
  noTransportOptions,
} from '../network/transport_socket.ts';
import type { ExtensionRegistry } from '../registry.ts';
import type { OverrideHost } from '../stream_info/stream_info.ts';
import { type ClusterOptions, readClusterOptions } from './cluster_options.ts';
import { clientCodecs, type CodecChooser, type PoolProtocol } from './conn_pool/client_codecs.ts';
import type { Counts } from '../network/shared_counts.ts';
import type { DialOptions } from './conn_pool/dial.ts';
import { HttpConnPool, type HttpPoolOptions } from './conn_pool/http_pool.ts';
import { TcpConnect } from './conn_pool/tcp_connect.ts';
import { DnsEndpoints, type ResolveName, readDnsOptions } from './dns.ts';
import { HealthChecks, readClusterHealthChecks } from './health_checks.ts';
import { HealthFlag } from './health_flags.ts';
import { hostKey, hostKeyOfText, type UpstreamHost } from './host.ts';
import { type Assignment, HostTable, readAssignment } from './host_sets.ts';
import { createLoadBalancer } from './lb_policy.ts';
import type { HostSet, LoadBalancer, LocalSide } from './load_balancer.ts';
import { newLoadBalancerStats } from './load_balancer_stats.ts';
import { OriginalDstHosts } from './original_dst_hosts.ts';
import { OutlierDetector } from './outlier_detection.ts';
import type { EventLog } from './outlier_event_log.ts';
import { newResponseCodes } from './response_codes.ts';
import { ThresholdResources } from './resource_manager.ts';
import { type TransportSockets, createTransportSockets } from './transport_socket_matches.ts';
import type {
  Cancellable,
  Cluster,
  ClusterStats,
  Host,
  LoadBalancerContext,
  MetadataMap,
  TcpPoolCallbacks,
} from './upstream.ts';

/** What clusters get from their manager. */
export interface ClusterHost {
  readonly registry: ExtensionRegistry;
  readonly sockets: TransportSocketContext;
  readonly resolve: ResolveName;
  /** Counts over all workers; undefined for one worker alone. */
  readonly sharedCounts: Counts | undefined;
  /** Undefined where the bootstrap names no local cluster. */
  readonly local: LocalSide | undefined;
  /** Where outlier detection writes its events. */
  readonly outlierLog: EventLog | undefined;
  /** Opens the file that health checks write their events to. */
  readonly eventFile: ((path: string) => EventLog) | undefined;
}

export function newClusterStats(): ClusterStats {
  return {
    upstreamCxTotal: 0,
    upstreamCxActive: 0,
    upstreamCxConnectFail: 0,
    upstreamCxOverflow: 0,
    upstreamCxNoneHealthy: 0,
    upstreamCxConnectTimeout: 0,
    upstreamCxHttp1Total: 0,
    upstreamCxHttp2Total: 0,
    upstreamCxIdleTimeout: 0,
    upstreamCxMaxDurationReached: 0,
    upstreamCxMaxRequests: 0,
    upstreamRqPendingTotal: 0,
    upstreamRqTotal: 0,
    upstreamRqActive: 0,
    upstreamRqPendingOverflow: 0,
    upstreamRqPendingFailureEject: 0,
    upstreamRqRetry: 0,
    upstreamRqRetrySuccess: 0,
    upstreamInternalRedirectSucceeded: 0,
    upstreamInternalRedirectFailed: 0,
    upstreamRqRetryOverflow: 0,
    upstreamRqRetryLimitExceeded: 0,
    upstreamRqTimeout: 0,
    upstreamRqPerTryTimeout: 0,
    upstreamRqRxReset: 0,
    upstreamRqTxReset: 0,
    codes: newResponseCodes(),
    tls: newTlsStats(),
    membershipChange: 0,
    updateAttempt: 0,
    updateSuccess: 0,
    updateFailure: 0,
    updateEmpty: 0,
    updateNoRebuild: 0,
    lb: newLoadBalancerStats(),
  };
}

/** The configuration as text of its bytes, to see that nothing changed. */
export function clusterBytes(config: ClusterProto): string {
  return Buffer.from(toBinary(ClusterSchema, config)).toString('latin1');
}

/** ALPN that an HTTP pool offers over TLS when neither the transport socket nor the request names any. */
const offers: Readonly<Record<PoolProtocol, UpstreamTransportOptions>> = {
  http1: { ...noTransportOptions, applicationProtocols: ['http/1.1'] },
  http2: { ...noTransportOptions, applicationProtocols: ['h2'] },
  auto: { ...noTransportOptions, applicationProtocols: ['h2', 'http/1.1'] },
};

/** Cluster of one configuration; a changed configuration makes a new one and drains this. */
export class LiveCluster implements Cluster {
  readonly config: ClusterProto;
  readonly bytes: string;
  readonly name: string;
  readonly statName: string;
  readonly metadata: MetadataMap | undefined;
  readonly stats: ClusterStats;
  readonly options: ClusterOptions;
  readonly maintenanceMode = false;
  dropOverload = 0;
  readonly bufferLimitBytes: number;
  readonly maxResponseHeadersKb: number;
  readonly idleTimeoutMs: number;
  /** EDS resource that feeds it; undefined for other kinds. */
  readonly edsServiceName: string | undefined;
  readonly #resources: readonly [ThresholdResources, ThresholdResources];
  readonly #sockets: TransportSockets;
  readonly #table: HostTable;
  readonly #balancer: LoadBalancer | undefined;
  readonly #originalDst: OriginalDstHosts | undefined;
  readonly #dns: DnsEndpoints | undefined;
  readonly detector: OutlierDetector | undefined;
  readonly #poolOptions: Readonly<Record<PoolProtocol, HttpPoolOptions>>;
  readonly #tcpDial: DialOptions;
  readonly healthChecks: HealthChecks | undefined;
  readonly #maxConnectionsPerHost: number;
  #zoneAware = false;
  #onHosts: (() => void) | undefined = undefined;
  #sets: readonly HostSet[] = [];
  #hostsKnown = false;
  #onReady: (() => void)[] = [];

  /** @throws Error when the configuration is bad. */
  constructor(config: ClusterProto, host: ClusterHost, stats: ClusterStats) {
    this.config = config;
    this.bytes = clusterBytes(config);
    this.name = config.name;
    this.statName = config.altStatName === '' ? config.name : config.altStatName;
    this.metadata = config.metadata?.filterMetadata as MetadataMap | undefined;
    this.stats = stats;
    const options = readClusterOptions(config);
    this.options = options;
    this.bufferLimitBytes = options.bufferLimitBytes;
    this.maxResponseHeadersKb = options.maxResponseHeadersKb;
    this.idleTimeoutMs = options.idleTimeoutMs;
    const thresholds = config.circuitBreakers?.thresholds ?? [];
    const perHost = config.circuitBreakers?.perHostThresholds ?? [];
    this.#maxConnectionsPerHost =
      perHost.find((entry) => entry.priority === RoutingPriority.DEFAULT)?.maxConnections ?? Infinity;
    const counts = host.sharedCounts;
    this.#resources = [RoutingPriority.DEFAULT, RoutingPriority.HIGH].map(
      (priority) =>
        new ThresholdResources(
          thresholds.find((entry) => entry.priority === priority),
          // A version of a cluster has limits of its own, as in Envoy: its configuration is part of the name.
          counts && ((name = 'breakers') => counts.open(`${name} ${this.name} ${priority} ${this.bytes}`)),
        ),
    ) as [ThresholdResources, ThresholdResources];
    this.#balancer =
      options.discovery === 'original_dst'
        ? undefined
        : createLoadBalancer(config, host.registry, { stats: stats.lb, local: this.#localSide(host.local) });
    const eds = options.discovery === 'eds';
    const serviceName = config.edsClusterConfig?.serviceName ?? '';
    this.edsServiceName = eds ? (serviceName === '' ? config.name : serviceName) : undefined;
    const names = options.discovery.endsWith('_dns');
    const assignment = eds ? undefined : readAssignment(config.loadAssignment, names);
    const dnsOptions = names ? readDnsOptions(config, options.discovery === 'logical_dns') : undefined;
    this.#sockets = createTransportSockets(config, host.registry, { ...host.sockets, tlsStats: stats.tls });
    this.#table = new HostTable(this.#sockets);
    this.detector =
      config.outlierDetection === undefined
        ? undefined
        : new OutlierDetector(config.outlierDetection, {
            onChange: (changed) => this.#onHealthChange(changed),
            clusterName: this.name,
            shared: counts,
            log: host.outlierLog,
          });
    this.#tcpDial = {
      connectTimeoutMs: options.connectTimeoutMs,
      sourceAddresses: options.sourceAddresses,
      keepalive: options.keepalive,
      allowHalfOpen: true,
      highWaterMark: 64 * 1024,
    };
    const codecs = clientCodecs(options, options.http2);
    const poolOptions = (protocol: PoolProtocol): HttpPoolOptions => ({
      dial: { ...this.#tcpDial, allowHalfOpen: false },
      idleTimeoutMs: options.idleTimeoutMs,
      maxConnectionDurationMs: options.maxConnectionDurationMs,
      maxRequestsPerConnection: options.maxRequestsPerConnection,
      streamsPerConnection: protocol === 'http1' ? 1 : options.http2.maxConcurrentStreams,
      preconnectRatio: options.preconnectRatio,
      stats,
      codecFor: codecs[protocol],
    });
    this.#poolOptions = {
      http1: poolOptions('http1'),
      http2: poolOptions('http2'),
      auto: poolOptions('auto'),
    };
    this.healthChecks = this.#healthChecks(host, codecs);
    for (const socket of this.#sockets.all) if (!socket.ready) socket.onReady(() => this.#announce());
    if (options.discovery === 'original_dst') {
      this.#originalDst = new OriginalDstHosts(
        config,
        this.#sockets,
        (added) => this.detector?.add(added),
        (removed) => this.#forget(removed),
      );
      this.#hostsKnown = true;
    } else if (dnsOptions !== undefined && assignment !== undefined) {
      this.#dns = new DnsEndpoints(assignment, dnsOptions, host.resolve, stats, (resolved) =>
        this.#apply(resolved),
      );
      this.#dns.start();
    } else if (assignment !== undefined) this.#apply(assignment);
  }

  #healthChecks(
    { eventFile }: ClusterHost,
    codecs: Readonly<Record<PoolProtocol, CodecChooser>>,
  ): HealthChecks | undefined {
    const options = readClusterHealthChecks(this.config);
    if (options === undefined) return undefined;
    const match = options.transportMatch;
    const wanted = match === undefined ? undefined : { 'envoy.transport_socket_match': match };
    return new HealthChecks(options, {
      clusterName: this.name,
      dial: { ...this.#tcpDial, allowHalfOpen: false },
      http1: codecs.http1(''),
      http2: codecs.http2('h2'),
      transport: (host) => (wanted === undefined ? host.transport : this.#sockets.choose(wanted)),
      hasTraffic: () => this.stats.upstreamCxTotal > 0,
      onResult: (host) => this.#onChecked(host),
      eventFile,
    });
  }

  /** Its transport sockets have their secrets, and its hosts were heard of once. */
  get ready(): boolean {
    return (
      this.#hostsKnown &&
      this.healthChecks?.settled !== false &&
      this.#sockets.all.every((socket) => socket.ready)
    );
  }

  /** Calls back once when `ready` turns true; at once when it is. */
  onReady(callback: () => void): void {
    if (this.ready) callback();
    else this.#onReady.push(callback);
  }

  #announce(): void {
    if (!this.ready) return;
    const callbacks = this.#onReady;
    this.#onReady = [];
    for (const callback of callbacks) callback();
  }

  /** Hosts, in the order of the assignment. */
  hosts(): UpstreamHost[] {
    return [...(this.#originalDst ?? this.#table).hosts()];
  }

  /** EDS: a new assignment. Hosts that stay keep their connections; those of hosts that are gone drain. */
  updateEndpoints(assignment: Assignment): void {
    this.stats.updateSuccess++;
    this.#apply(assignment);
  }

  /** Hosts by priority as the balancer knows them. */
  get sets(): readonly HostSet[] {
    return this.#sets;
  }

  /** Notes that the balancer asks for it. */
  #localSide(local: LocalSide | undefined): LocalSide | undefined {
    if (local === undefined) return undefined;
    return {
      locality: local.locality,
      hosts: () => {
        this.#zoneAware = true;
        return local.hosts();
      },
    };
  }

  /** The cluster of this proxy itself has other hosts: zone-aware balancers look again. */
  localClusterChanged(): void {
    if (this.#zoneAware) this.#refresh();
  }

  /** EDS will not deliver (initial_fetch_timeout, resource removed): the cluster is ready without hosts. */
  endpointsUnavailable(): void {
    if (this.#hostsKnown) return;
    this.#hostsKnown = true;
    this.#announce();
  }

  #apply(assignment: Assignment): void {
    const checks = this.healthChecks;
    const lingers =
      checks === undefined || this.options.removeWhileHealthy
        ? undefined
        : (host: UpstreamHost) => !host.has(HealthFlag.failedActiveHc | HealthFlag.failedEdsHealth);
    this.dropOverload = assignment.dropOverload;
    const { added, removed } = this.#table.apply(assignment, lingers);
    for (const host of added) this.#adopt(host);
    for (const host of removed) this.#forget(host);
    if (added.length > 0 || removed.length > 0) {
      this.stats.membershipChange++;
      if (this.options.renewOnHostSetChange)
        for (const host of this.#table.hosts()) host.renewConnections(false);
    } else if (this.edsServiceName !== undefined) this.stats.updateNoRebuild++;
    this.#hostsKnown = true;
    checks?.setHosts(added, removed);
    this.#refresh();
    this.#announce();
  }

  #adopt(host: UpstreamHost): void {
    this.detector?.add(host);
    host.maxConnections = this.#maxConnectionsPerHost;
    if (this.options.closeOnHealthFailure) host.tcpSockets = new Set();
    if (this.healthChecks === undefined || host.healthCheck?.disabled === true) return;
    host.setFlag(HealthFlag.failedActiveHc, true);
    if (this.options.ignoreNewHosts) host.setFlag(HealthFlag.pendingActiveHc, true);
    host.refreshHealth();
  }

  #forget(host: UpstreamHost): void {
    this.detector?.remove(host);
    host.drain();
  }

  /** Outlier detection, or a health check that passed or failed, moved the host to another place. */
  #onHealthChange(host: UpstreamHost): void {
    if (!host.healthy && !host.degraded) host.renewConnections(this.options.closeOnHealthFailure);
    this.#refresh();
  }

  #onChecked(host: UpstreamHost): void {
    if (host.has(HealthFlag.failedActiveHc) && host.has(HealthFlag.pendingDynamicRemoval)) {
      this.#table.remove(host);
      this.healthChecks?.setHosts([], [host]);
      this.#forget(host);
      this.stats.membershipChange++;
    }
    const { monitor } = host;
    if (
      monitor !== undefined &&
      !host.has(HealthFlag.failedActiveHc) &&
      this.detector?.options.unejectOnHealthCheck
    )
      this.detector.unejectHost(monitor);
    if (host.refreshHealth() || host.has(HealthFlag.pendingDynamicRemoval)) this.#onHealthChange(host);
    this.#announce();
  }

  #refresh(): void {
    this.#sets = this.#table.sets();
    this.#balancer?.update(this.#sets);
    this.#onHosts?.();
  }

  /** Calls back after each change of hosts or their health. */
  set onHosts(callback: () => void) {
    this.#onHosts = callback;
  }

  resources(priority: 'default' | 'high'): ThresholdResources {
    return this.#resources[priority === 'high' ? 1 : 0];
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    const asked = context.overrideHost;
    const host = asked === undefined ? this.#balance(context) : this.#overrideHost(asked, context);
    if (host === undefined) this.stats.upstreamCxNoneHealthy++;
    return host;
  }

  #balance(context: LoadBalancerContext): Host | undefined {
    return this.#originalDst === undefined
      ? this.#balancer?.chooseHost(context)
      : this.#originalDst.choose(context);
  }

  /** The host that a request asks for, where its health allows it; else, unless it is strict, any. */
  #overrideHost(asked: OverrideHost, context: LoadBalancerContext): Host | undefined {
    const host = this.#find(asked.address);
    if (host !== undefined && (this.options.overrideHostStatuses & (1 << host.healthStatus)) !== 0)
      return host;
    return asked.strict ? undefined : this.#balance(context);
  }

  #find(address: string): UpstreamHost | undefined {
    const key = hostKeyOfText(address);
    if (this.options.discovery !== 'logical_dns') return (this.#originalDst ?? this.#table).get(key);
    for (const host of this.#table.hosts()) if (hostKey(host.address) === key) return host;
    return undefined;
  }

  upstreamProtocol(downstreamProtocol: string): 'HTTP/1.1' | 'HTTP/2' {
    return this.#poolProtocol(downstreamProtocol) === 'http2' ? 'HTTP/2' : 'HTTP/1.1';
  }

  #poolProtocol(downstreamProtocol: string): PoolProtocol {
    const { protocol } = this.options;
    if (protocol !== 'downstream') return protocol;
    return downstreamProtocol === 'HTTP/2' ? 'http2' : 'http1';
  }

  httpPool(
    chosen: Host,
    priority: 'default' | 'high',
    downstreamProtocol: string,
    context: LoadBalancerContext,
  ): HttpConnPool {
    const host = chosen as UpstreamHost;
    const same = downstreamProtocol === 'HTTP/2' && this.options.protocol === 'downstream';
    const slot = (priority === 'high' ? 1 : 0) + (same ? 2 : 0);
    const asked = context.transportOptions;
    if (!this.options.autoSni) {
      if (asked === undefined) {
        const pool = host.pools[slot];
        if (pool !== undefined) return pool;
      } else {
        const last = host.askedPools?.[slot];
        if (last !== undefined && last.asked === asked) return last.pool;
      }
    }
    return this.#findPool(host, slot, this.#poolProtocol(downstreamProtocol), context);
  }

  #findPool(
    host: UpstreamHost,
    slot: number,
    protocol: PoolProtocol,
    context: LoadBalancerContext,
  ): HttpConnPool {
    const options = this.#transportOptions(host, protocol, context);
    const resources = this.#resources[(slot & 1) as 0 | 1];
    const asked = context.transportOptions;
    const { autoSni } = this.options;
    if (!autoSni && asked === undefined) {
      const pool = new HttpConnPool(host, resources, options, this.#poolOptions[protocol]);
      host.pools[slot] = pool;
      return pool;
    }
    const key = `${slot} ${options.serverName ?? ''} ${options.applicationProtocols?.join(',') ?? ''} ${options.verifySubjectAltNames?.join(',') ?? ''}`;
    host.otherPools ??= new Map();
    let pool = host.otherPools.get(key);
    if (pool === undefined) {
      pool = new HttpConnPool(host, resources, options, this.#poolOptions[protocol]);
      host.otherPools.set(key, pool);
    }
    if (asked !== undefined && !autoSni) {
      host.askedPools ??= [undefined, undefined, undefined, undefined];
      host.askedPools[slot] = { asked, pool };
    }
    return pool;
  }

  #transportOptions(
    host: UpstreamHost,
    protocol: PoolProtocol,
    context: LoadBalancerContext,
  ): UpstreamTransportOptions {
    const asked = context.transportOptions;
    if (!host.transport.secure) return asked ?? noTransportOptions;
    const { autoSni, autoSanValidation, autoSniHeader } = this.options;
    const base = host.transport.applicationProtocols.length === 0 ? offers[protocol] : noTransportOptions;
    const headers = context.requestHeaders;
    let serverName: string | undefined;
    if (autoSni && headers !== undefined) {
      const authority =
        (autoSniHeader === '' ? undefined : headers.getFirst(autoSniHeader)) ?? headers.authority;
      serverName = authority.replace(/:\d+$/, '');
    }
    if (asked === undefined && serverName === undefined) return base;
    const name = asked?.serverName ?? serverName;
    return {
      serverName: name,
      applicationProtocols: asked?.applicationProtocols ?? base.applicationProtocols,
      verifySubjectAltNames:
        asked?.verifySubjectAltNames ?? (autoSanValidation && name !== undefined ? [name] : undefined),
    };
  }

  tcpConnect(host: Host, context: LoadBalancerContext, callbacks: TcpPoolCallbacks): Cancellable {
    return new TcpConnect(
      host as UpstreamHost,
      this.#resources[0],
      context.transportOptions ?? noTransportOptions,
      this.#tcpDial,
      this.stats,
      callbacks,
    );
  }

  /** A newer version took its place: idle connections close, requests in flight finish. */
  drain(): void {
    this.#stop();
    for (const host of this.hosts()) host.drain();
  }

  /** Closes all connections now. */
  close(): void {
    this.#stop();
    for (const host of this.hosts()) for (const pool of host.allPools()) pool.close();
  }

  #stop(): void {
    this.#dns?.close();
    this.#originalDst?.close();
    this.detector?.close();
    this.healthChecks?.close();
    this.#onHosts = undefined;
    for (const resources of this.#resources) resources.close();
    this.#sockets.close();
    this.#onReady = [];
  }
}

/** True for hosts without TLS; for admin pages. */
export function isPlainText(host: UpstreamHost): boolean {
  return host.transport === rawBufferUpstream;
}
