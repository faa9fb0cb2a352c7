/** Locality load balancing: priorities by nearness, or shares that are spelled out (Istio "Locality Load Balancing"). */
import type {
  LocalityDistribute,
  LocalityFailover,
  LocalityLoadBalancerSetting,
  ZoneAwareLoadBalancerSetting,
} from '#config/kinds/destination_rule/types.ts';
import type { Labels } from '../../model/labels.ts';
import type { Endpoint, Locality } from '../../model/service.ts';
import type { LocalityGroup, LocalityPolicy } from './load_assignment.ts';

/** What nearness is measured from. */
export interface Caller {
  readonly locality: Locality;
  readonly nodeName: string;
  readonly labels: Labels;
}

/** Whether `region/zone/subzone` with `*` at the end covers a locality. */
export function localityMatches(pattern: string, locality: Locality): boolean {
  const parts = pattern.split('/');
  const own = [locality.region, locality.zone, locality.subzone];
  for (const [index, part] of parts.entries()) {
    if (part === '*') return true;
    if (part !== own[index]) return false;
  }
  return true;
}

/** How far a locality is: 0 the same subzone, 1 zone, 2 region, 3 elsewhere, 4 elsewhere and not the one to fail over to. */
function distance(caller: Locality, other: Locality, failover: readonly LocalityFailover[]): number {
  if (caller.region === other.region) {
    if (caller.zone !== other.zone) return 2;
    return caller.subzone === other.subzone ? 0 : 1;
  }
  const target = failover.find(({ from }) => from === caller.region)?.to;
  return target === undefined || target === other.region ? 3 : 4;
}

/** Priorities must be without gaps from 0. */
function closeGaps(groups: readonly LocalityGroup[]): LocalityGroup[] {
  const used = [...new Set(groups.map(({ priority }) => priority))].sort((a, b) => a - b);
  return groups.map((group) => ({ ...group, priority: used.indexOf(group.priority) }));
}

function byDistance(caller: Caller, failover: readonly LocalityFailover[]): LocalityPolicy {
  return (groups) =>
    closeGaps(
      groups.map((group) => ({ ...group, priority: distance(caller.locality, group.locality, failover) })),
    );
}

function labelOf(key: string, labels: Labels, locality: Locality, nodeName: string): string | undefined {
  switch (key) {
    case 'topology.kubernetes.io/region':
      return locality.region;
    case 'topology.kubernetes.io/zone':
      return locality.zone;
    case 'topology.istio.io/subzone':
      return locality.subzone;
    case 'kubernetes.io/hostname':
      return nodeName;
    default:
      return labels[key];
  }
}

/** Counts how many of the labels, from the first, an endpoint has in common with the caller. */
function commonLabels(priorities: readonly string[], caller: Caller, endpoint: Endpoint): number {
  let count = 0;
  for (const entry of priorities) {
    const [key = '', fixed] = entry.split('=', 2);
    const wanted = fixed ?? labelOf(key, caller.labels, caller.locality, caller.nodeName);
    const own = labelOf(key, endpoint.labels, endpoint.locality, endpoint.nodeName);
    if (wanted !== own) break;
    count += 1;
  }
  return count;
}

function byLabels(caller: Caller, priorities: readonly string[]): LocalityPolicy {
  return (groups) => {
    const out: LocalityGroup[] = [];
    for (const group of groups) {
      const split = new Map<number, Endpoint[]>();
      for (const endpoint of group.endpoints) {
        const priority = priorities.length - commonLabels(priorities, caller, endpoint);
        split.set(priority, [...(split.get(priority) ?? []), endpoint]);
      }
      for (const [priority, endpoints] of split) out.push({ ...group, endpoints, priority });
    }
    return closeGaps(out);
  };
}

/** Shares out the percentages; localities that no entry names get nothing. */
function byShares(shares: LocalityDistribute): LocalityPolicy {
  return (groups) => {
    const out: LocalityGroup[] = [];
    const left = new Set(groups);
    for (const [pattern, percent] of Object.entries(shares.to ?? {})) {
      const covered = [...left].filter((group) => localityMatches(pattern, group.locality));
      const endpoints = covered.reduce((sum, group) => sum + group.endpoints.length, 0);
      for (const group of covered) {
        left.delete(group);
        const weight = Math.ceil((percent * group.endpoints.length) / endpoints);
        if (weight > 0) out.push({ ...group, weight });
      }
    }
    return out;
  };
}

/**
 * The policy of a caller whose zones its proxy balances itself: priorities by region, and by labels inside a region. The
 * region to fail over to comes next, others last.
 */
export function zonePolicy(setting: ZoneAwareLoadBalancerSetting, caller: Caller): LocalityPolicy {
  const priorities = setting.failoverPriority ?? [];
  const target = setting.failover?.find(({ from }) => from === caller.locality.region)?.to;
  const regionOf = ({ region }: Locality): number => {
    if (region === caller.locality.region) return 0;
    return target === undefined || target === region ? 1 : 2;
  };
  return (groups) =>
    closeGaps(
      byLabels(
        caller,
        priorities,
      )(groups).map((group) => {
        const endpoint = group.endpoints[0];
        const common = endpoint === undefined ? 0 : commonLabels(priorities, caller, endpoint);
        const within = priorities.length - common;
        return { ...group, priority: regionOf(group.locality) * (priorities.length + 1) + within };
      }),
    );
}

/** The policy of a caller for a setting. */
export function localityPolicy(setting: LocalityLoadBalancerSetting, caller: Caller): LocalityPolicy {
  const shares = setting.distribute?.find(({ from }) => localityMatches(from ?? '*', caller.locality));
  if (shares !== undefined) return byShares(shares);
  const priorities = setting.failoverPriority ?? [];
  if (priorities.length > 0) return byLabels(caller, priorities);
  return byDistance(caller, setting.failover ?? []);
}
