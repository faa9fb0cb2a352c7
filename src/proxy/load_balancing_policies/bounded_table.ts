/** Consistent hashing with bounded loads (`hash_balance_factor`; Mirrokni et al., arXiv 1608.01350). */
import type { Host } from '../upstream/upstream.ts';
import type { HashTable, WeightedHost } from './hash_table.ts';

/** Sends a request on to another host, the same for the same hash, when the table's host has more than its bound. */
export class BoundedTable implements HashTable {
  readonly #table: HashTable;
  readonly #hosts: readonly WeightedHost[];
  readonly #weights: ReadonlyMap<Host, number>;
  readonly #factor: number;

  /** @param factor most load of a host, in percent of its fair share; at least 100. */
  constructor(table: HashTable, hosts: readonly WeightedHost[], factor: number) {
    this.#table = table;
    this.#hosts = hosts;
    this.#weights = new Map(hosts.map(({ host, weight }) => [host, weight]));
    this.#factor = factor;
  }

  find(hash: bigint, attempt: number): Host | undefined {
    const first = this.#table.find(hash, attempt);
    if (first === undefined) return undefined;
    let active = 0;
    for (const { host } of this.#hosts) active += host.activeRequests;
    const slots = Math.ceil(((active + 1) * this.#factor) / 100);
    const overload = (host: Host, weight: number): number =>
      host.activeRequests / Math.max(Math.ceil(slots * weight), 1);
    let least = overload(first, this.#weights.get(first) ?? 0);
    if (least < 1) return first;
    let best = first;
    // A walk through all hosts in an order that the hash decides.
    const order = this.#hosts.map((_, i) => i);
    let state = Number(BigInt.asUintN(32, hash ^ (hash >> 32n)));
    for (let i = 0; i < order.length; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      const j = i + Math.floor((state / 2 ** 32) * (order.length - i));
      const { host, weight } = this.#hosts[order[j] as number] as WeightedHost;
      order[j] = order[i] as number;
      if (host === first) continue;
      const load = overload(host, weight);
      if (load < 1) return host;
      if (load < least) {
        least = load;
        best = host;
      }
    }
    return best;
  }
}
