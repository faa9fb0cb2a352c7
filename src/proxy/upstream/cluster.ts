/** A live cluster of one worker: hosts, balancer, pools, circuit breakers, outlier detection. */
import type { Socket } from 'node:net';
import { toBinary } from '@bufbuild/protobuf';
import { type Cluster as ClusterProto, ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { RoutingPriority } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { ClientConnectionCallbacks } from '../http/codec.ts';
import {
  type Http1ClientOptions,
  Http1ClientConnection,
  defaultClientOptions,
} from '../http/http1/client_connection.ts';
import { rawBufferUpstream } from '../network/raw_buffer.ts';
import {
  type TransportSocketContext,
  type UpstreamTransportOptions,
  noTransportOptions,
} from '../network/transport_socket.ts';
import type { ExtensionRegistry } from '../registry.ts';
import { type ClusterOptions, readClusterOptions } from './cluster_options.ts';
import type { DialOptions } from './conn_pool/dial.ts';
import { type ClientCodecFactory, HttpConnPool, type HttpPoolOptions } from './conn_pool/http_pool.ts';
import { TcpConnect } from './conn_pool/tcp_connect.ts';
import { DnsEndpoints, type ResolveName, readDnsOptions } from './dns.ts';
import type { UpstreamHost } from './host.ts';
import { type Assignment, HostTable, readAssignment } from './host_sets.ts';
import { createLoadBalancer } from './lb_policy.ts';
import type { LoadBalancer } from './load_balancer.ts';
import { OriginalDstHosts } from './original_dst_hosts.ts';
import { OutlierDetector } from './outlier_detection.ts';
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
  /** Makes HTTP/2 codecs; undefined while HTTP/2 is not compiled in. */
  readonly http2: ClientCodecFactory | undefined;
}

export function newClusterStats(): ClusterStats {
  return {
    upstreamCxTotal: 0,
    upstreamCxActive: 0,
    upstreamCxConnectFail: 0,
    upstreamCxOverflow: 0,
    upstreamRqTotal: 0,
    upstreamRqActive: 0,
    upstreamRqPendingOverflow: 0,
    upstreamRqPendingFailureEject: 0,
    upstreamRqRetry: 0,
    upstreamRqRetrySuccess: 0,
    upstreamRqRetryOverflow: 0,
    upstreamRqRetryLimitExceeded: 0,
    upstreamRqTimeout: 0,
    upstreamRqPerTryTimeout: 0,
    upstreamRqRxReset: 0,
    upstreamRqTxReset: 0,
  };
}

/** The configuration as text of its bytes, to see that nothing changed. */
export function clusterBytes(config: ClusterProto): string {
  return Buffer.from(toBinary(ClusterSchema, config)).toString('latin1');
}

// ALPN that an HTTP pool offers over TLS when neither the transport socket nor the request names any.
const http1Offer: UpstreamTransportOptions = { ...noTransportOptions, applicationProtocols: ['http/1.1'] };
const http2Offer: UpstreamTransportOptions = { ...noTransportOptions, applicationProtocols: ['h2'] };
const autoOffer: UpstreamTransportOptions = {
  ...noTransportOptions,
  applicationProtocols: ['h2', 'http/1.1'],
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
  readonly #poolOptions: HttpPoolOptions;
  readonly #tcpDial: DialOptions;
  readonly #http2: ClientCodecFactory | undefined;
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
    if (options.protocol === 'http2' && host.http2 === undefined)
      throw new Error('HTTP/2 to upstreams is not compiled in');
    this.#http2 = host.http2;
    this.maxResponseHeadersKb = options.maxResponseHeadersKb;
    this.idleTimeoutMs = options.idleTimeoutMs;
    const thresholds = config.circuitBreakers?.thresholds ?? [];
    this.#resources = [RoutingPriority.DEFAULT, RoutingPriority.HIGH].map(
      (priority) => new ThresholdResources(thresholds.find((entry) => entry.priority === priority)),
    ) as [ThresholdResources, ThresholdResources];
    this.#balancer =
      options.discovery === 'original_dst' ? undefined : createLoadBalancer(config, host.registry);
    const eds = options.discovery === 'eds';
    const serviceName = config.edsClusterConfig?.serviceName ?? '';
    this.edsServiceName = eds ? (serviceName === '' ? config.name : serviceName) : undefined;
    const names = options.discovery.endsWith('_dns');
    const assignment = eds ? undefined : readAssignment(config.loadAssignment, names);
    const dnsOptions = names ? readDnsOptions(config, options.discovery === 'logical_dns') : undefined;
    this.#sockets = createTransportSockets(config, host.registry, host.sockets);
    this.#table = new HostTable(this.#sockets);
    this.detector =
      config.outlierDetection === undefined
        ? undefined
        : new OutlierDetector(config.outlierDetection, () => this.#refresh());
    this.#tcpDial = {
      connectTimeoutMs: options.connectTimeoutMs,
      sourceAddresses: options.sourceAddresses,
      keepalive: options.keepalive,
      allowHalfOpen: true,
      highWaterMark: 64 * 1024,
    };
    this.#poolOptions = {
      dial: { ...this.#tcpDial, allowHalfOpen: false },
      idleTimeoutMs: options.idleTimeoutMs,
      maxConnectionDurationMs: options.maxConnectionDurationMs,
      maxRequestsPerConnection: options.maxRequestsPerConnection,
      streamsPerConnection: 1,
      preconnectRatio: options.preconnectRatio,
      stats,
      codecFor: this.#codecChooser(options),
    };
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
      this.#dns = new DnsEndpoints(assignment, dnsOptions, host.resolve, (resolved) => this.#apply(resolved));
      this.#dns.start();
    } else if (assignment !== undefined) this.#apply(assignment);
  }

  /** Its transport sockets have their secrets, and its hosts were heard of once. */
  get ready(): boolean {
    return this.#hostsKnown && this.#sockets.all.every((socket) => socket.ready);
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
    this.#apply(assignment);
  }

  /** EDS will not deliver (initial_fetch_timeout, resource removed): the cluster is ready without hosts. */
  endpointsUnavailable(): void {
    if (this.#hostsKnown) return;
    this.#hostsKnown = true;
    this.#announce();
  }

  #apply(assignment: Assignment): void {
    const { added, removed } = this.#table.apply(assignment);
    for (const host of added) this.detector?.add(host);
    for (const host of removed) this.#forget(host);
    this.#refresh();
    this.#hostsKnown = true;
    this.#announce();
  }

  #forget(host: UpstreamHost): void {
    this.detector?.remove(host);
    host.drain();
  }

  #refresh(): void {
    this.#balancer?.update(this.#table.sets());
  }

  resources(priority: 'default' | 'high'): ThresholdResources {
    return this.#resources[priority === 'high' ? 1 : 0];
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    return this.#originalDst === undefined
      ? this.#balancer?.chooseHost(context)
      : this.#originalDst.choose(context);
  }

  upstreamProtocol(downstreamProtocol: string): 'HTTP/1.1' | 'HTTP/2' {
    const { protocol } = this.options;
    if (protocol === 'http2') return 'HTTP/2';
    const same = protocol === 'downstream' && downstreamProtocol === 'HTTP/2' && this.#http2 !== undefined;
    return same ? 'HTTP/2' : 'HTTP/1.1';
  }

  httpPool(
    chosen: Host,
    priority: 'default' | 'high',
    downstreamProtocol: string,
    context: LoadBalancerContext,
  ): HttpConnPool {
    const host = chosen as UpstreamHost;
    const index = priority === 'high' ? 1 : 0;
    const { protocol, autoSni } = this.options;
    const http2 = protocol === 'downstream' && downstreamProtocol === 'HTTP/2' && this.#http2 !== undefined;
    const asked = context.transportOptions;
    // Filters give the same object for the same wish: the pool it led to last time is the one.
    if (asked !== undefined && asked === host.lastAsked && !autoSni && !http2 && index === 0)
      return host.lastPool ?? this.#makePool(host, index, http2, context);
    if (!autoSni && !http2 && context.transportOptions === undefined) {
      const pool = host.pools[index];
      if (pool !== undefined) return pool;
    }
    return this.#makePool(host, index, http2, context);
  }

  #makePool(host: UpstreamHost, index: 0 | 1, http2: boolean, context: LoadBalancerContext): HttpConnPool {
    const options = this.#transportOptions(host, http2, context);
    const plain = !this.options.autoSni && !http2 && context.transportOptions === undefined;
    const poolOptions =
      http2 && this.#http2 !== undefined
        ? { ...this.#poolOptions, codecFor: fixed(this.#http2) }
        : this.#poolOptions;
    if (plain) {
      const pool = new HttpConnPool(host, this.#resources[index], options, poolOptions);
      host.pools[index] = pool;
      return pool;
    }
    const key = `${index} ${http2} ${options.serverName ?? ''} ${options.applicationProtocols?.join(',') ?? ''} ${options.verifySubjectAltNames?.join(',') ?? ''}`;
    host.otherPools ??= new Map();
    let pool = host.otherPools.get(key);
    if (pool === undefined) {
      pool = new HttpConnPool(host, this.#resources[index], options, poolOptions);
      host.otherPools.set(key, pool);
    }
    if (index === 0 && !http2 && !this.options.autoSni) {
      host.lastAsked = context.transportOptions;
      host.lastPool = pool;
    }
    return pool;
  }

  #transportOptions(
    host: UpstreamHost,
    http2: boolean,
    context: LoadBalancerContext,
  ): UpstreamTransportOptions {
    const asked = context.transportOptions;
    if (!host.transport.secure) return asked ?? noTransportOptions;
    const { protocol, autoSni, autoSanValidation, autoSniHeader } = this.options;
    let base = noTransportOptions;
    if (host.transport.applicationProtocols.length === 0) {
      if (http2 || protocol === 'http2') base = http2Offer;
      else base = protocol === 'auto' && this.#http2 !== undefined ? autoOffer : http1Offer;
    }
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

  #codecChooser(options: ClusterOptions): HttpPoolOptions['codecFor'] {
    const { http1 } = options;
    const names = http1?.headerKeyFormat?.headerFormat.case;
    const clientOptions: Http1ClientOptions = {
      ...defaultClientOptions,
      maxHeadBytes: options.maxResponseHeadersKb * 1024,
      maxHeaders: options.maxResponseHeaders,
      allowChunkedLength: http1?.allowChunkedLength ?? false,
      enableTrailers: http1?.enableTrailers ?? false,
      highWatermark: options.bufferLimitBytes,
      nameFormat: names === 'properCaseWords' ? properCase : undefined,
    };
    const one: ClientCodecFactory = (socket: Socket, callbacks: ClientConnectionCallbacks) =>
      new Http1ClientConnection(socket, callbacks, clientOptions);
    const two = this.#http2;
    if (options.protocol === 'http2' && two !== undefined) return fixed(two);
    if (options.protocol === 'auto' && two !== undefined)
      return (negotiated) => (negotiated === 'h2' ? two : one);
    return fixed(one);
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
    this.#sockets.close();
    this.#onReady = [];
  }
}

function fixed(factory: ClientCodecFactory): HttpPoolOptions['codecFor'] {
  return () => factory;
}

/** `content-type` as `Content-Type` (header_key_format proper_case_words). */
function properCase(name: string): string {
  return name.replace(
    /(^|[^a-z0-9])([a-z])/g,
    (_all, before: string, letter: string) => before + letter.toUpperCase(),
  );
}

/** True for hosts without TLS; for admin pages. */
export function isPlainText(host: UpstreamHost): boolean {
  return host.transport === rawBufferUpstream;
}
