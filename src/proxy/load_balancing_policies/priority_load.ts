/** How load spreads over priorities, and when health is ignored (envoy LoadBalancerBase). */
import type { HostSet } from '../upstream/load_balancer.ts';

/** Shares of the priorities and which of them are in panic. */
export interface PriorityLoad {
  /** Percent by priority; the sum is 100, or 0 when there is no host at all. */
  readonly loads: readonly number[];
  /** True where the balancer uses all hosts of the priority, healthy or not. */
  readonly panic: readonly boolean[];
}

/** Percent of its full load that a priority can take. */
function availability(set: HostSet): number {
  if (set.hosts.length === 0) return 0;
  return Math.min(100, Math.floor((set.overprovisioningFactor * set.healthyHosts.length) / set.hosts.length));
}

/** @param panicThreshold percent of healthy hosts under which a priority panics; 0 never. */
export function computePriorityLoad(sets: readonly HostSet[], panicThreshold: number): PriorityLoad {
  const available = sets.map(availability);
  const total = Math.min(
    100,
    available.reduce((sum, value) => sum + value, 0),
  );
  const panic = sets.map((set) => {
    if (total >= 100 || set.hosts.length === 0) return total < 100 && panicThreshold > 0;
    return (100 * set.healthyHosts.length) / set.hosts.length < panicThreshold;
  });
  if (total === 0 || panic.every(Boolean)) {
    if (panic.every(Boolean) && sets.length > 0) return { loads: byHostCount(sets), panic };
    return { loads: sets.map((_, i) => (i === 0 ? 100 : 0)), panic };
  }
  const loads: number[] = [];
  let left = 100;
  for (const value of available) {
    const load = Math.min(left, Math.floor((value * 100) / total));
    loads.push(load);
    left -= load;
  }
  // What rounding leaves over goes to the first priority that takes any.
  const first = available.findIndex((value) => value > 0);
  loads[first] = (loads[first] as number) + left;
  return { loads, panic };
}

/** Every priority panics: hosts share the load whatever their priority. */
function byHostCount(sets: readonly HostSet[]): number[] {
  const total = sets.reduce((sum, set) => sum + set.hosts.length, 0);
  if (total === 0) return sets.map(() => 0);
  let left = 100;
  const loads = sets.map((set) => {
    const load = Math.min(left, Math.floor((100 * set.hosts.length) / total));
    left -= load;
    return load;
  });
  const first = sets.findIndex((set) => set.hosts.length > 0);
  loads[first] = (loads[first] as number) + left;
  return loads;
}

/** The priority that a number in [0, 100) falls to; -1 when there is no load. */
export function choosePriority(loads: readonly number[], point: number): number {
  let sum = 0;
  for (let i = 0; i < loads.length; i++) {
    sum += loads[i] as number;
    if (point < sum) return i;
  }
  return -1;
}
