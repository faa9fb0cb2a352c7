/** How load spreads over priorities, and when health is ignored (envoy LoadBalancerBase). */
import type { HostSet } from '../upstream/load_balancer.ts';

/** Shares of the priorities and which of them are in panic. */
export interface PriorityLoad {
  /** Percent that goes to healthy hosts, by priority. With `degraded` the sum is 100; all 0 when there is no priority. */
  readonly healthy: readonly number[];
  /** Percent that goes to degraded hosts, by priority. */
  readonly degraded: readonly number[];
  /** True where the balancer uses all hosts of the priority, healthy or not. */
  readonly panic: readonly boolean[];
}

/** Hosts that count: those that wait for a first health check do not. */
function counted(set: HostSet): number {
  return set.hosts.length - set.excludedCount;
}

/** Percent of its full load that a part of a priority can take. */
function availability(set: HostSet, hosts: number): number {
  const count = counted(set);
  return count <= 0 ? 0 : Math.min(100, Math.floor((set.overprovisioningFactor * hosts) / count));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, value) => total + value, 0);
}

/** True when a smaller share of the hosts than the threshold may be used. */
export function inPanic(set: HostSet, threshold: number): boolean {
  const count = counted(set);
  return count <= 0
    ? threshold > 0
    : (100 * (set.healthyHosts.length + set.degradedHosts.length)) / count < threshold;
}

/**
 * Shares of the priorities that had no turn yet (envoy retry_priorities.previous_priorities); undefined when none of them can
 * take a request.
 * @param tried bit `n` for priority `n`
 */
export function loadWithout(
  sets: readonly HostSet[],
  tried: number,
  panic: readonly boolean[],
): PriorityLoad | undefined {
  const part = (set: HostSet, hosts: number): number =>
    set.priority < 31 && (tried & (1 << set.priority)) !== 0 ? 0 : availability(set, hosts);
  const healthyPart = sets.map((set) => part(set, set.healthyHosts.length));
  const degradedPart = sets.map((set) => part(set, set.degradedHosts.length));
  const total = Math.min(100, sum(healthyPart) + sum(degradedPart));
  return total === 0 ? undefined : { ...spread(healthyPart, degradedPart, total), panic };
}

/** Percent by priority, in proportion to what each can take, first come first served. */
function spread(
  healthyPart: readonly number[],
  degradedPart: readonly number[],
  total: number,
): Omit<PriorityLoad, 'panic'> {
  let left = 100;
  const share = (value: number): number => {
    const load = Math.min(left, Math.floor((value * 100) / total));
    left -= load;
    return load;
  };
  const healthy = healthyPart.map(share);
  const degraded = degradedPart.map(share);
  // What rounding leaves over goes to the first priority that takes any.
  const first = healthyPart.findIndex((value) => value > 0);
  if (first >= 0) healthy[first] = (healthy[first] as number) + left;
  else {
    const firstDegraded = degradedPart.findIndex((value) => value > 0);
    degraded[firstDegraded] = (degraded[firstDegraded] as number) + left;
  }
  return { healthy, degraded };
}

/** @param panicThreshold percent of usable hosts under which a priority panics; 0 never. */
export function computePriorityLoad(sets: readonly HostSet[], panicThreshold: number): PriorityLoad {
  const none = sets.map(() => 0);
  if (sets.length === 0) return { healthy: none, degraded: none, panic: [] };
  const healthyPart = sets.map((set) => availability(set, set.healthyHosts.length));
  const degradedPart = sets.map((set) => availability(set, set.degradedHosts.length));
  const total = Math.min(100, sum(healthyPart) + sum(degradedPart));
  // Nothing may be used and panic is off: the first priority has the load, and no host for it.
  if (total === 0 && panicThreshold <= 0)
    return { healthy: sets.map((_, i) => (i === 0 ? 100 : 0)), degraded: none, panic: sets.map(() => false) };
  // While the priorities together can take everything, none panics, however few of its hosts are healthy.
  const panic = sets.map((set) => total < 100 && inPanic(set, panicThreshold));
  if (panic.every(Boolean)) return { healthy: byHostCount(sets), degraded: none, panic };
  return { ...spread(healthyPart, degradedPart, total), panic };
}

/** Every priority panics: hosts share the load whatever their priority. */
function byHostCount(sets: readonly HostSet[]): number[] {
  const total = sets.reduce((count, set) => count + set.hosts.length, 0);
  if (total === 0) return sets.map((_, i) => (i === 0 ? 100 : 0));
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

/**
 * The place that a number in [0, 100) falls to: the priority when its healthy hosts are meant, the priority plus the number
 * of priorities when its degraded hosts are; -1 when there is no load.
 */
export function choosePlace({ healthy, degraded }: PriorityLoad, point: number): number {
  let reached = 0;
  for (let i = 0; i < healthy.length; i++) {
    reached += healthy[i] as number;
    if (point < reached) return i;
  }
  for (let i = 0; i < degraded.length; i++) {
    reached += degraded[i] as number;
    if (point < reached) return i + healthy.length;
  }
  return -1;
}
