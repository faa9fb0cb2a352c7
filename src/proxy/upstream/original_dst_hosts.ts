/** Hosts of an ORIGINAL_DST cluster: made from where the client wanted to go (envoy OriginalDstCluster). */
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { Address } from '../network/address.ts';
import { durationMs } from '../network/duration.ts';
import { parseIp } from '../network/ip.ts';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';
import { UpstreamHost, hostKey } from './host.ts';
import { maxHosts } from './host_sets.ts';
import type { TransportSockets } from './transport_socket_matches.ts';
import type { LoadBalancerContext } from './upstream.ts';

const noLocality = { region: '', zone: '', subZone: '' };

function onCleanup(hosts: OriginalDstHosts): void {
  hosts.cleanup();
}

/** Makes hosts on demand and forgets those that nobody used for a cleanup interval. */
export class OriginalDstHosts {
  readonly #sockets: TransportSockets;
  readonly #hosts = new Map<string, UpstreamHost>();
  readonly #cleanupMs: number;
  /** Name of the header that overrides the destination; empty when none may. */
  readonly #header: string;
  readonly #portOverride: number | undefined;
  readonly #onAdd: (host: UpstreamHost) => void;
  readonly #onRemove: (host: UpstreamHost) => void;
  #timer: TimerHandle | undefined = undefined;

  constructor(
    cluster: Cluster,
    sockets: TransportSockets,
    onAdd: (host: UpstreamHost) => void,
    onRemove: (host: UpstreamHost) => void,
  ) {
    const config = cluster.lbConfig.case === 'originalDstLbConfig' ? cluster.lbConfig.value : undefined;
    if (config?.metadataKey !== undefined)
      throw new Error('original_dst_lb_config.metadata_key is not implemented');
    this.#sockets = sockets;
    this.#cleanupMs = durationMs(cluster.cleanupInterval) ?? 5000;
    this.#header =
      config?.useHttpHeader === true
        ? (config.httpHeaderName === '' ? 'x-envoy-original-dst-host' : config.httpHeaderName).toLowerCase()
        : '';
    this.#portOverride = config?.upstreamPortOverride;
    this.#onAdd = onAdd;
    this.#onRemove = onRemove;
  }

  hosts(): IterableIterator<UpstreamHost> {
    return this.#hosts.values();
  }

  /** By `hostKey`. */
  get(key: string): UpstreamHost | undefined {
    return this.#hosts.get(key);
  }

  get size(): number {
    return this.#hosts.size;
  }

  /** Undefined when the destination is not known, or when there are too many hosts. */
  choose(context: LoadBalancerContext): UpstreamHost | undefined {
    const wanted = this.#destination(context);
    if (wanted === undefined) return undefined;
    const address = this.#portOverride === undefined ? wanted : { ip: wanted.ip, port: this.#portOverride };
    const key = hostKey(address);
    let host = this.#hosts.get(key);
    if (host === undefined) {
      if (this.#hosts.size >= maxHosts) return undefined;
      host = new UpstreamHost(address, '', undefined, noLocality, 0, 1, this.#sockets.choose(undefined));
      this.#hosts.set(key, host);
      this.#onAdd(host);
      this.#timer ??= workerTimers.schedule(this.#cleanupMs, onCleanup, this);
    }
    host.lastUsedMs = workerTimers.now();
    return host;
  }

  #destination(context: LoadBalancerContext): Address | undefined {
    if (this.#header !== '') {
      const text = context.requestHeaders?.getFirst(this.#header);
      const address = text === undefined ? undefined : parseAddress(text);
      if (address !== undefined) return address;
    }
    const { downstream } = context;
    return downstream?.localAddressRestored === true ? downstream.localAddress : undefined;
  }

  cleanup(): void {
    this.#timer = undefined;
    const oldest = workerTimers.now() - this.#cleanupMs;
    for (const [key, host] of this.#hosts) {
      // Connections keep their host, idle ones too: the next request to it saves the handshake.
      if (host.openConnections > 0 || host.lastUsedMs > oldest) continue;
      this.#hosts.delete(key);
      this.#onRemove(host);
    }
    if (this.#hosts.size > 0) this.#timer = workerTimers.schedule(this.#cleanupMs, onCleanup, this);
  }

  close(): void {
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
  }
}

/** `10.0.0.1:80` or `[::1]:80`. */
function parseAddress(text: string): Address | undefined {
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  const ip = text.slice(0, Math.max(colon, 0)).replace(/^\[(.*)\]$/, '$1');
  if (parseIp(ip) === undefined || !Number.isInteger(port) || port < 1 || port > 65535) return undefined;
  return { ip, port };
}
