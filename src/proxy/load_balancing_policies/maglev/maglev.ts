/** Maglev hashing: even shares, little movement (envoy.load_balancing_policies.maglev; Eisenbud et al., NSDI 2016, 3.4). */
import { fromBinary } from '@bufbuild/protobuf';
import { MaglevSchema } from '#api/gen/envoy/extensions/load_balancing_policies/maglev/v3/maglev_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { LoadBalancingPolicyExtension } from '../../upstream/load_balancer.ts';
import type { Host } from '../../upstream/upstream.ts';
import { HashBalancer, hash64 } from '../hash_balancer.ts';
import type { HashTable, WeightedHost } from '../hash_table.ts';

/** Largest table, as in Envoy's validation. */
const maxTableSize = 5_000_011;

class MaglevTable implements HashTable {
  readonly #slots: Uint32Array;
  readonly #hosts: readonly Host[];

  constructor(weighted: readonly WeightedHost[], size: number) {
    // Order must not depend on how hosts were listed: all proxies build the same table.
    const sorted = [...weighted].sort((a, b) => (a.key < b.key ? -1 : 1));
    this.#hosts = sorted.map((entry) => entry.host);
    this.#slots = new Uint32Array(sorted.length === 0 ? 0 : size).fill(0xffff_ffff);
    const slots = this.#slots;
    const bigSize = BigInt(size);
    const largest = Math.max(...sorted.map((entry) => entry.weight));
    const claims = sorted.map((entry) => ({
      at: Number(hash64(entry.key) % bigSize),
      skip: Number(hash64(entry.key, 1n) % (bigSize - 1n)) + 1,
      weight: entry.weight,
      target: 0,
    }));
    let filled = 0;
    for (let turn = 1; filled < slots.length; turn++) {
      for (let i = 0; i < claims.length && filled < slots.length; i++) {
        const claim = claims[i] as (typeof claims)[number];
        // A host of half the largest weight claims in every second turn.
        if (turn * claim.weight < claim.target) continue;
        claim.target += largest;
        while (slots[claim.at] !== 0xffff_ffff) claim.at = (claim.at + claim.skip) % size;
        slots[claim.at] = i;
        filled++;
      }
    }
  }

  find(hash: bigint, attempt: number): Host | undefined {
    const size = this.#slots.length;
    if (size === 0) return undefined;
    // A retry looks elsewhere: the hash is mixed with the number of the attempt, as in Envoy.
    const mixed = attempt === 0 ? hash : hash ^ (~0n - BigInt(attempt) + 1n);
    return this.#hosts[this.#slots[Number(BigInt.asUintN(64, mixed) % BigInt(size))] as number];
  }
}

function isPrime(n: number): boolean {
  if (n < 2) return false;
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false;
  return true;
}

export const maglev = {
  name: 'envoy.load_balancing_policies.maglev',
  typeUrls: [typeUrlOf(MaglevSchema)],
  create(config, options) {
    const proto = fromBinary(MaglevSchema, config.value);
    const size = Number(proto.tableSize ?? 65_537n);
    if (size > maxTableSize || !isPrime(size))
      throw new Error(`maglev: the table size must be a prime number up to ${maxTableSize}, not ${size}`);
    return new HashBalancer((hosts) => new MaglevTable(hosts, size), options, {
      useHostname: proto.consistentHashingLbConfig?.useHostnameForHashing ?? false,
      localityWeighted: proto.localityWeightedLbConfig !== undefined,
      balanceFactor: proto.consistentHashingLbConfig?.hashBalanceFactor ?? 0,
    });
  },
} satisfies LoadBalancingPolicyExtension;
