/** What ring hash and Maglev share: one table per priority, built from normalized weights (envoy ThreadAwareLoadBalancerBase). */
import xxhash from 'xxhash-wasm';
import { formatAddress } from '../network/address.ts';
import type { HostSet, LoadBalancer, LoadBalancerOptions } from '../upstream/load_balancer.ts';
import type { Host, LoadBalancerContext } from '../upstream/upstream.ts';
import { choosePriority, computePriorityLoad } from './priority_load.ts';

const { h64 } = await xxhash();

/** xxHash64 of text. */
export function hash64(text: string, seed = 0n): bigint {
  return h64(text, seed);
}

/** A host with its share of the table. */
export interface WeightedHost {
  readonly host: Host;
  /** Shares of all hosts add up to 1. */
  readonly weight: number;
  /** What stands for the host in hashes. */
  readonly key: string;
}

/** Hosts by hash. */
export interface HashTable {
  /** `attempt` counts from 0; a later attempt gives another place of the table. */
  find(hash: bigint, attempt: number): Host | undefined;
}

export interface HashOptions {
  readonly useHostname: boolean;
  readonly localityWeighted: boolean;
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
  if (options.localityWeighted && !panic) {
    for (const locality of set.localities) {
      const { healthyHosts, hosts } = locality;
      if (locality.weight === 0 || healthyHosts.length === 0) continue;
      const ratio = Math.min((set.overprovisioningFactor * healthyHosts.length) / hosts.length / 100, 1);
      const sum = healthyHosts.reduce((total, host) => total + host.weight, 0);
      for (const host of healthyHosts) weights.set(host, (locality.weight * ratio * host.weight) / sum);
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
  #loads: readonly number[] = [];
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
    const { loads, panic } = computePriorityLoad(sets, this.#options.healthyPanicThreshold);
    this.#loads = loads;
    this.#tables = sets.map((set, i) => this.#build(normalize(set, panic[i] === true, this.#hash)));
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    const { random } = this.#options;
    const hash = context.hash ?? BigInt(Math.floor(random() * 2 ** 53)) * (maxHash >> 53n);
    const table = this.#tables[choosePriority(this.#loads, Number(hash % 100n))];
    if (table === undefined) return undefined;
    for (let attempt = 0; ; attempt++) {
      const host = table.find(hash, attempt);
      if (host === undefined || attempt >= context.hostSelectionRetryCount) return host;
      if (!context.shouldSelectAnotherHost(host)) return host;
    }
  }
}
