/** A host of a cluster with all that lives as long as it does: pools, counters, ejection. */
import type { Socket } from 'node:net';
import { HealthStatus } from '#api/gen/envoy/config/core/v3/health_check_pb.ts';
import type { Address } from '../network/address.ts';
import type {
  UpstreamTransportOptions,
  UpstreamTransportSocketFactory,
} from '../network/transport_socket.ts';
import { HealthFlag, degradedFlags, excludedFlags, unhealthyFlags } from './health_flags.ts';
import type { HttpConnPool } from './conn_pool/http_pool.ts';
import type { OutlierMonitor } from './outlier_detection.ts';
import type { Host, HostResult, MetadataMap } from './upstream.ts';

/** Plain numbers of one host (`upstream_*` of Envoy's `/clusters`). */
export interface HostStats {
  cxTotal: number;
  cxActive: number;
  cxConnectFail: number;
  rqTotal: number;
  rqError: number;
  rqSuccess: number;
  rqTimeout: number;
}

/** `Endpoint.HealthCheckConfig`: where and how one host is checked. */
export interface HealthCheckTarget {
  readonly address: Address | undefined;
  readonly port: number;
  readonly hostname: string;
  readonly disabled: boolean;
}

/** Filters give the same object for the same wish. */
export interface AskedPool {
  readonly asked: UpstreamTransportOptions;
  readonly pool: HttpConnPool;
}

/** Host, made by a cluster. */
export class UpstreamHost implements Host {
  /** Changes only for the host of a LOGICAL_DNS cluster: connections that are open stay where they are. */
  address: Address;
  hostname: string;
  metadata: MetadataMap | undefined;
  locality: Host['locality'];
  priority: number;
  weight: number;
  /** Bits of `HealthFlag`; 0 is a healthy host. */
  flags = 0;
  /** What the assignment says, as it is. */
  assignedStatus: HealthStatus = HealthStatus.UNKNOWN;
  healthy = true;
  degraded = false;
  /** Bits of the last look at `flags` that decide about the host's place in its sets. */
  #seenFlags = 0;
  /** Port and address that health checks go to in place of the host's own (`health_check_config`). */
  healthCheck: HealthCheckTarget | undefined = undefined;
  activeRequests = 0;
  readonly stats: HostStats = {
    cxTotal: 0,
    cxActive: 0,
    cxConnectFail: 0,
    rqTotal: 0,
    rqError: 0,
    rqSuccess: 0,
    rqTimeout: 0,
  };
  /** Transport socket that its metadata chose. */
  readonly transport: UpstreamTransportSocketFactory;
  monitor: OutlierMonitor | undefined = undefined;
  onDegraded: (() => void) | undefined = undefined;
  /** Pools without overrides, by slot: `LiveCluster.httpPool` tells which. */
  readonly pools: (HttpConnPool | undefined)[] = [undefined, undefined, undefined, undefined];
  /** Pools with overrides of SNI, ALPN or protocol. */
  otherPools: Map<string, HttpConnPool> | undefined = undefined;
  /** By slot: the last wish of a request, by identity, and the pool of `otherPools` that it led to. */
  askedPools: (AskedPool | undefined)[] | undefined = undefined;
  /** Connections, open or being made, and the most there may be (`per_host_thresholds`). */
  openConnections = 0;
  maxConnections = Infinity;
  /** Open TCP connections, where the cluster closes them when the host fails. */
  tcpSockets: Set<Socket> | undefined = undefined;
  /** Milliseconds of the wheel's clock at which it was last used; for original destination hosts. */
  lastUsedMs = 0;

  constructor(
    address: Address,
    hostname: string,
    metadata: MetadataMap | undefined,
    locality: Host['locality'],
    priority: number,
    weight: number,
    transport: UpstreamTransportSocketFactory,
  ) {
    this.address = address;
    this.hostname = hostname;
    this.metadata = metadata;
    this.locality = locality;
    this.priority = priority;
    this.weight = weight;
    this.transport = transport;
  }

  /** Outlier detection took it out. */
  get ejected(): boolean {
    return this.has(HealthFlag.failedOutlierCheck);
  }

  /** EDS says the host may be used (HEALTHY, UNKNOWN, DEGRADED). */
  get edsHealthy(): boolean {
    return !this.has(HealthFlag.failedEdsHealth | HealthFlag.edsStatusDraining);
  }

  /** Its health as one word (envoy Host::healthStatus): what `override_host_status` is compared with. */
  get healthStatus(): HealthStatus {
    if (this.has(HealthFlag.failedActiveHc | HealthFlag.failedOutlierCheck)) return HealthStatus.UNHEALTHY;
    if (!this.edsHealthy) return this.assignedStatus;
    const degraded = this.has(HealthFlag.degradedActiveHc | HealthFlag.degradedOutlierDetection);
    return degraded ? HealthStatus.DEGRADED : this.assignedStatus;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** Sets or clears bits of `HealthFlag`; `refreshHealth` makes them count. */
  setFlag(flag: number, on: boolean): void {
    this.flags = on ? this.flags | flag : this.flags & ~flag;
  }

  /** Takes the flags over into `healthy` and `degraded`. True when the host's place in its sets changed. */
  refreshHealth(): boolean {
    const seen = this.flags & (unhealthyFlags | degradedFlags | excludedFlags);
    if (seen === this.#seenFlags) return false;
    const { healthy, degraded } = this;
    const excluded = (this.#seenFlags & excludedFlags) !== 0;
    this.#seenFlags = seen;
    this.healthy = (seen & (unhealthyFlags | degradedFlags)) === 0;
    this.degraded = (seen & unhealthyFlags) === 0 && (seen & degradedFlags) !== 0;
    return (
      healthy !== this.healthy || degraded !== this.degraded || excluded !== ((seen & excludedFlags) !== 0)
    );
  }

  report(result: HostResult): void {
    if (result.kind === 'http') {
      if (result.status >= 500) this.stats.rqError++;
      else this.stats.rqSuccess++;
    } else if (result.kind === 'timeout') this.stats.rqTimeout++;
    this.monitor?.report(result);
  }

  /** Pools of the host, in any order. */
  allPools(): HttpConnPool[] {
    const pools: HttpConnPool[] = [];
    for (const pool of this.pools) if (pool !== undefined) pools.push(pool);
    if (this.otherPools !== undefined) pools.push(...this.otherPools.values());
    return pools;
  }

  /** Idle connections close now, busy ones when their requests end. */
  drain(): void {
    for (const pool of this.allPools()) pool.drain();
  }

  /**
   * HTTP connections go when their requests end, the next request gets a new one.
   * @param closeTcp TCP connections close at once; else they stay
   */
  renewConnections(closeTcp: boolean): void {
    const pools = this.allPools();
    this.pools.fill(undefined);
    this.otherPools = undefined;
    this.askedPools = undefined;
    for (const pool of pools) pool.drain();
    if (closeTcp && this.tcpSockets !== undefined) for (const socket of this.tcpSockets) socket.destroy();
  }
}

/** Text that tells hosts apart: equal addresses are one host. */
export function hostKey(address: Address): string {
  return address.port < 0 ? address.ip : `${address.ip} ${address.port}`;
}

/** `hostKey` of an address that is text: `10.0.0.1:80`, `[::1]:80` or a path. Nothing is checked. */
export function hostKeyOfText(text: string): string {
  const colon = text.lastIndexOf(':');
  if (text.startsWith('/') || colon < 0) return text;
  const ip = text.startsWith('[') ? text.slice(1, colon - 1) : text.slice(0, colon);
  return `${ip} ${text.slice(colon + 1)}`;
}
