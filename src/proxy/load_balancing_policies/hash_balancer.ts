/** What ring hash and Maglev share: one table per priority, built from normalized weights (envoy ThreadAwareLoadBalancerBase). */
import xxhash from 'xxhash-wasm';
import { formatAddress } from '../network/address.ts';
import type { HostSet, LoadBalancer, LoadBalancerOptions } from '../upstream/load_balancer.ts';
import type { Host, LoadBalancerContext } from '../upstream/upstream.ts';
import { BoundedTable } from './bounded_table.ts';
import type { HashTable, WeightedHost } from './hash_table.ts';
import { type PriorityLoad, choosePlace, computePriorityLoad, loadWithout } from './priority_load.ts';

const { h64 } = await xxhash();

/** xxHash64 of text. */
export function hash64(text: string, seed = 0n): bigint {
  return h64(text, seed);
}

export interface HashOptions {
  readonly useHostname: boolean;
  readonly localityWeighted: boolean;
  /** Most load of a host in percent of the average (`hash_balance_factor`); 0 for no bound. */
  readonly balanceFactor: number;
}

const maxHash = 1n << 64n;

function keyOf(host: Host, useHostname: boolean): string {
  const given = host.metadata?.['envoy.lb']?.['hash_key'];
  if (typeof given === 'string' && given !== '') return given;
  return useHostname && host.hostname !== '' ? host.hostname : formatAddress(host.address);
}

/** Shares of the hosts of a priority. */
function normalize(set: HostSet, panic: boolean, options: HashOptions): WeightedHost[] {
  const weights = new Map<Host, number>();
  if (options.localityWeighted && set.localities.some(({ weight }) => weight > 0)) {
    for (const locality of set.localities) {
      const hosts = panic ? locality.hosts : locality.healthyHosts;
      const sum = hosts.reduce((total, host) => total + host.weight, 0);
      if (locality.weight > 0)
        for (const host of hosts) weights.set(host, (locality.weight * host.weight) / sum);
    }
  } else for (const host of panic ? set.hosts : set.healthyHosts) weights.set(host, host.weight);
  let total = 0;
  for (const weight of weights.values()) total += weight;
  if (total === 0) return [];
  return [...weights].map(([host, weight]) => ({
    host,
    weight: weight / total,
    key: keyOf(host, options.useHostname),
  }));
}

/** Balancer made of hash tables. */
export class HashBalancer implements LoadBalancer {
  readonly #build: (hosts: readonly WeightedHost[]) => HashTable;
  readonly #options: LoadBalancerOptions;
  readonly #hash: HashOptions;
  #sets: readonly HostSet[] = [];
  #loads: PriorityLoad = { healthy: [], degraded: [], panic: [] };
  #tables: HashTable[] = [];

  constructor(
    build: (hosts: readonly WeightedHost[]) => HashTable,
    options: LoadBalancerOptions,
    hash: HashOptions,
  ) {
    this.#build = build;
    this.#options = options;
    this.#hash = hash;
  }

  update(sets: readonly HostSet[]): void {
    const loads = computePriorityLoad(sets, this.#options.healthyPanicThreshold);
    this.#loads = loads;
    this.#sets = sets;
    const { balanceFactor } = this.#hash;
    this.#tables = sets.map((set, i) => {
      const hosts = normalize(set, loads.panic[i] === true, this.#hash);
      const table = this.#build(hosts);
      return balanceFactor === 0 ? table : new BoundedTable(table, hosts, balanceFactor);
    });
  }

  #loadsFor(context: LoadBalancerContext): PriorityLoad {
    const tried = context.triedPriorities ?? 0;
    if (tried === 0) return this.#loads;
    const loads = loadWithout(this.#sets, tried, this.#loads.panic);
    if (loads === undefined) context.forgetTriedPriorities?.();
    return loads ?? this.#loads;
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    const { random, stats } = this.#options;
    const hash = context.hash ?? BigInt(Math.floor(random() * 2 ** 53)) * (maxHash >> 53n);
    const place = choosePlace(this.#loadsFor(context), Number(hash % 100n));
    // Degraded hosts have no table of their own, as in Envoy.
    const priority = place < this.#tables.length ? place : place - this.#tables.length;
    const table = this.#tables[priority];
    if (table === undefined) return undefined;
    if (this.#loads.panic[priority] === true) stats.healthyPanic++;
    for (let attempt = 0; ; attempt++) {
      const host = table.find(hash, attempt);
      if (host === undefined || attempt >= context.hostSelectionRetryCount) return host;
      if (!context.shouldSelectAnotherHost(host)) return host;
    }
  }
}
