/** The part of a host set that belongs to a subset. */
import type { HostSet, LocalityHosts } from '../../upstream/load_balancer.ts';
import type { Host } from '../../upstream/upstream.ts';

export type HostFilter = (host: Host) => boolean;

/**
 * @param weightAware localities keep their weights (`locality_weight_aware`); else they have none.
 * @param scale a locality's weight shrinks with the share of its hosts that stays (`scale_locality_weight`).
 */
export function filterSet(set: HostSet, keep: HostFilter, weightAware: boolean, scale: boolean): HostSet {
  const localities: LocalityHosts[] = [];
  let excludedCount = 0;
  for (const entry of set.localities) {
    const hosts = entry.hosts.filter(keep);
    if (hosts.length === 0) continue;
    const share = hosts.length / entry.hosts.length;
    const scaled = scale ? Math.max(1, Math.round(entry.weight * share)) : entry.weight;
    // Which of its hosts wait for a health check is known by number only.
    const excluded = Math.min(entry.excludedCount, hosts.length);
    excludedCount += excluded;
    localities.push({
      locality: entry.locality,
      weight: weightAware && entry.weight > 0 ? scaled : 0,
      hosts,
      healthyHosts: entry.healthyHosts.filter(keep),
      degradedHosts: entry.degradedHosts.filter(keep),
      excludedCount: excluded,
    });
  }
  return {
    priority: set.priority,
    hosts: set.hosts.filter(keep),
    healthyHosts: set.healthyHosts.filter(keep),
    degradedHosts: set.degradedHosts.filter(keep),
    excludedCount,
    localities,
    overprovisioningFactor: set.overprovisioningFactor,
  };
}
