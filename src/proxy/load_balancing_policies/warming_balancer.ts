/** A balancer under slow start: tells it about hosts that come, and builds it anew when the last has warmed up. */
import type { HostSet, LoadBalancer } from '../upstream/load_balancer.ts';
import type { Host, LoadBalancerContext } from '../upstream/upstream.ts';
import type { SlowStart } from './slow_start.ts';

export class WarmingBalancer implements LoadBalancer {
  readonly #inner: LoadBalancer;
  readonly #slow: SlowStart;
  #sets: readonly HostSet[] = [];
  #wasActive = false;

  constructor(inner: LoadBalancer, slow: SlowStart) {
    this.#inner = inner;
    this.#slow = slow;
  }

  update(sets: readonly HostSet[]): void {
    this.#sets = sets;
    for (const set of sets) this.#slow.observe(set.hosts);
    this.#wasActive = this.#slow.active;
    this.#inner.update(sets);
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    if (this.#wasActive && !this.#slow.active) {
      this.#wasActive = false;
      this.#inner.update(this.#sets);
    }
    return this.#inner.chooseHost(context);
  }
}
