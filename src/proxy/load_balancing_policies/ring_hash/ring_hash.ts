/** Consistent hashing on a ring (envoy.load_balancing_policies.ring_hash, "ketama"). */
import { fromBinary } from '@bufbuild/protobuf';
import {
  RingHashSchema,
  RingHash_HashFunction as HashFunction,
} from '#api/gen/envoy/extensions/load_balancing_policies/ring_hash/v3/ring_hash_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { LoadBalancingPolicyExtension } from '../../upstream/load_balancer.ts';
import type { Host } from '../../upstream/upstream.ts';
import { HashBalancer, hash64 } from '../hash_balancer.ts';
import type { HashTable, WeightedHost } from '../hash_table.ts';
import { murmurHash64 } from '../murmur_hash.ts';

/** Largest ring, as in Envoy. */
const maxRingSize = 8 * 1024 * 1024;

class Ring implements HashTable {
  readonly #hashes: BigUint64Array;
  readonly #hosts: readonly Host[];

  constructor(
    hosts: readonly WeightedHost[],
    minSize: number,
    maxSize: number,
    hashOf: (text: string) => bigint,
  ) {
    const entries: { hash: bigint; host: Host }[] = [];
    const smallest = Math.min(...hosts.map((entry) => entry.weight));
    // The smallest host gets a whole number of points, so that weights are kept exactly where the size allows it.
    const scale = Math.min(Math.ceil(smallest * minSize) / smallest, maxSize);
    let current = 0;
    let target = 0;
    for (const { host, weight, key } of hosts) {
      target += scale * weight;
      for (let i = 0; current < target; i++, current++) entries.push({ hash: hashOf(`${key}_${i}`), host });
    }
    entries.sort((a, b) => (a.hash < b.hash ? -1 : a.hash > b.hash ? 1 : 0));
    this.#hashes = BigUint64Array.from(entries, (entry) => entry.hash);
    this.#hosts = entries.map((entry) => entry.host);
  }

  find(hash: bigint, attempt: number): Host | undefined {
    const hashes = this.#hashes;
    let low = 0;
    let high = hashes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((hashes[middle] as bigint) < hash) low = middle + 1;
      else high = middle;
    }
    return this.#hosts[(low + attempt) % this.#hosts.length];
  }
}

export const ringHash = {
  name: 'envoy.load_balancing_policies.ring_hash',
  typeUrls: [typeUrlOf(RingHashSchema)],
  create(config, options) {
    const proto = fromBinary(RingHashSchema, config.value);
    const hashOf = proto.hashFunction === HashFunction.MURMUR_HASH_2 ? murmurHash64 : hash64;
    const minSize = Math.min(Number(proto.minimumRingSize ?? 1024n), maxRingSize);
    const maxSize = Math.min(Number(proto.maximumRingSize ?? BigInt(maxRingSize)), maxRingSize);
    if (minSize > maxSize)
      throw new Error(`ring hash: minimum_ring_size (${minSize}) > maximum_ring_size (${maxSize})`);
    return new HashBalancer((hosts) => new Ring(hosts, minSize, maxSize, hashOf), options, {
      useHostname: proto.consistentHashingLbConfig?.useHostnameForHashing ?? proto.useHostnameForHashing,
      localityWeighted: proto.localityWeightedLbConfig !== undefined,
      balanceFactor: proto.consistentHashingLbConfig?.hashBalanceFactor ?? proto.hashBalanceFactor ?? 0,
    });
  },
} satisfies LoadBalancingPolicyExtension;
