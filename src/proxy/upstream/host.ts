/** A host of a cluster with all that lives as long as it does: pools, counters, ejection. */
import type { Address } from '../network/address.ts';
import type {
  UpstreamTransportOptions,
  UpstreamTransportSocketFactory,
} from '../network/transport_socket.ts';
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

/** Host, made by a cluster. */
export class UpstreamHost implements Host {
  readonly address: Address;
  hostname: string;
  metadata: MetadataMap | undefined;
  locality: Host['locality'];
  priority: number;
  weight: number;
  /** EDS says the host may be used (HEALTHY, UNKNOWN, DEGRADED). */
  edsHealthy = true;
  /** Outlier detection took it out. */
  ejected = false;
  healthy = true;
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
  /** Pools without overrides, by priority: default, high. */
  readonly pools: [HttpConnPool | undefined, HttpConnPool | undefined] = [undefined, undefined];
  /** Pools with overrides of SNI, ALPN or protocol. */
  otherPools: Map<string, HttpConnPool> | undefined = undefined;
  /** The last wish of a request, by identity, and the pool of `otherPools` that it led to. */
  lastAsked: UpstreamTransportOptions | undefined = undefined;
  lastPool: HttpConnPool | undefined = undefined;
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

  /** True when `healthy` changed. */
  refreshHealth(): boolean {
    const healthy = this.edsHealthy && !this.ejected;
    if (healthy === this.healthy) return false;
    this.healthy = healthy;
    return true;
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
}

/** Text that tells hosts apart: equal addresses are one host. */
export function hostKey(address: Address): string {
  return address.port < 0 ? address.ip : `${address.ip} ${address.port}`;
}
