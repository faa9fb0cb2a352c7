/** Counters of RBAC filters: `allowed`, `denied` and the same of shadow rules, per policy where that is asked for. */
import type { Counter, Labels, MetricsRegistry } from '#telemetry/metrics.ts';
import type { RbacEngine } from './engine.ts';

/** Policies with counters of their own, at most; later ones share the totals only. */
const maxPolicies = 1000;

/** Counts verdicts of one kind of rules. */
export class RbacCounts {
  readonly #allowed: Counter;
  readonly #denied: Counter;
  readonly #policies = new Map<string, Counter>();
  readonly #make: (name: string, policy: string) => Counter;

  /**
   * @param family `envoy_http_rbac` or `envoy_rbac`
   * @param shadow counters of shadow rules
   */
  constructor(metrics: MetricsRegistry, family: string, labels: Labels, shadow: boolean) {
    const kind = shadow ? 'shadow_' : '';
    this.#allowed = metrics.counter(`${family}_${kind}allowed`, labels);
    this.#denied = metrics.counter(`${family}_${kind}denied`, labels);
    this.#make = (name, policy) =>
      metrics.counter(`${family}_policy_${kind}${name}`, { ...labels, envoy_rbac_policy_name: policy });
  }

  /** @param index as `engine.find` gave it */
  count(engine: RbacEngine, index: number): boolean {
    const allowed = engine.allows(index);
    (allowed ? this.#allowed : this.#denied).inc();
    return allowed;
  }

  /** Counts for the policy that matched, by its name. */
  countPolicy(policy: string, allowed: boolean): void {
    if (policy === '') return;
    const key = `${allowed ? 'allowed' : 'denied'} ${policy}`;
    let counter = this.#policies.get(key);
    if (counter === undefined) {
      if (this.#policies.size >= maxPolicies) return;
      counter = this.#make(allowed ? 'allowed' : 'denied', policy);
      this.#policies.set(key, counter);
    }
    counter.inc();
  }
}

/** A prefix as a level of a name: `own.` and `own` are the same. */
export function levelOf(prefix: string): string {
  return prefix.endsWith('.') ? prefix.slice(0, -1) : prefix;
}
