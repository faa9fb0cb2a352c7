/**
 * Zone-aware routing (envoy ZoneAwareLoadBalancerBase): requests stay in this proxy's zone as far as the zone's share of
 * the upstream allows; what is left over goes to zones that have more hosts than callers.
 */
import type { HostSet, LoadBalancerOptions, LocalityHosts } from '../upstream/load_balancer.ts';
import type { Host } from '../upstream/upstream.ts';
import type { CreatePicker, HostPicker } from './host_picker.ts';
import type { ZoneAwareOptions } from './locality_config.ts';
import { inPanic } from './priority_load.ts';

function sameLocality(a: Host['locality'], b: Host['locality']): boolean {
  return a.region === b.region && a.zone === b.zone && a.subZone === b.subZone;
}

function keyOf({ region, zone, subZone }: Host['locality']): string {
  return `${region}/${zone}/${subZone}`;
}

/** Healthy hosts of a locality, by number or by weight. */
function size(hosts: readonly Host[], byWeight: boolean): number {
  return byWeight ? hosts.reduce((sum, host) => sum + host.weight, 0) : hosts.length;
}

/** Shares of localities in 1/100 percent, by key. */
function shares(localities: readonly LocalityHosts[], byWeight: boolean): Map<string, number> {
  const sizes = new Map<string, number>();
  let total = 0;
  for (const { locality, healthyHosts } of localities) {
    const count = size(healthyHosts, byWeight);
    total += count;
    sizes.set(keyOf(locality), (sizes.get(keyOf(locality)) ?? 0) + count);
  }
  for (const [key, count] of sizes) sizes.set(key, total === 0 ? 0 : Math.floor((10_000 * count) / total));
  return sizes;
}

/** A locality with hosts, and how much more it takes than its own callers send. */
interface Zone {
  readonly picker: HostPicker;
  /** Sum of the spare shares up to and with this one. */
  readonly spare: number;
}

class ZonePicker implements HostPicker {
  readonly #options: LoadBalancerOptions;
  readonly #zone: ZoneAwareOptions;
  readonly #all: HostPicker;
  readonly #near: HostPicker | undefined;
  /** Of 10000 requests so many stay in the zone; 10000 or more: all. */
  readonly #nearShare: number;
  readonly #zones: readonly Zone[];

  constructor(
    options: LoadBalancerOptions,
    zone: ZoneAwareOptions,
    all: HostPicker,
    near: HostPicker | undefined,
    nearShare: number,
    zones: readonly Zone[],
  ) {
    this.#options = options;
    this.#zone = zone;
    this.#all = all;
    this.#near = near;
    this.#nearShare = nearShare;
    this.#zones = zones;
  }

  pick(): Host | undefined {
    const { random, stats, local, healthyPanicThreshold } = this.#options;
    const { routingPercent, failOnPanic } = this.#zone;
    if (routingPercent < 100 && random() * 100 >= routingPercent) return this.#all.pick();
    const own = local?.hosts();
    if (own === undefined || inPanic(own, healthyPanicThreshold)) {
      stats.localClusterNotOk++;
      return failOnPanic ? undefined : this.#all.pick();
    }
    if (this.#near !== undefined) {
      if (this.#nearShare >= 10_000) {
        stats.zoneRoutingAllDirectly++;
        return this.#near.pick();
      }
      if (random() * 10_000 < this.#nearShare) {
        stats.zoneRoutingSampled++;
        return this.#near.pick();
      }
    }
    stats.zoneRoutingCrossZone++;
    const zones = this.#zones;
    const total = zones[zones.length - 1]?.spare ?? 0;
    if (total <= 0) {
      // Rounding can leave nothing over: any zone is as good.
      stats.zoneNoCapacityLeft++;
      return zones[Math.floor(random() * zones.length)]?.picker.pick();
    }
    const point = random() * total;
    for (const zone of zones) if (point < zone.spare) return zone.picker.pick();
    return this.#all.pick();
  }
}

/** A picker that prefers the own zone, or undefined when zones cannot decide for this set. */
export function createZonePicker(
  set: HostSet,
  options: LoadBalancerOptions,
  zone: ZoneAwareOptions,
  createPicker: CreatePicker,
): HostPicker | undefined {
  const { local, stats } = options;
  const own = local?.hosts();
  if (local === undefined || own === undefined || set.priority !== 0) return undefined;
  stats.recalculateZoneStructures++;
  const isNear = (entry: LocalityHosts): boolean => sameLocality(entry.locality, local.locality);
  const nearHosts = set.localities.filter(isNear).flatMap((entry) => entry.healthyHosts);
  if (zone.forceLocalMinSize > 0 && nearHosts.length >= zone.forceLocalMinSize) {
    const near = createPicker(nearHosts);
    return new ZonePicker(options, zone, createPicker(set.healthyHosts), near, 10_000, []);
  }
  if (set.localities.length < 2) return undefined;
  if (own.localities.length < 2) return undefined;
  if (!own.localities.some((entry) => isNear(entry) && entry.hosts.length > 0)) {
    stats.localClusterNotOk++;
    return undefined;
  }
  if (set.healthyHosts.length < zone.minClusterSize) {
    stats.zoneClusterTooSmall++;
    return undefined;
  }
  const callers = shares(own.localities, zone.byWeight);
  const upstream = shares(set.localities, zone.byWeight);
  if (callers.size !== upstream.size) stats.zoneNumberDiffers++;
  const nearKey = keyOf(local.locality);
  const ownShare = callers.get(nearKey) ?? 0;
  const upstreamShare = upstream.get(nearKey) ?? 0;
  const near = upstreamShare > 0 ? createPicker(nearHosts) : undefined;
  const nearShare =
    ownShare === 0 || upstreamShare >= ownShare ? 10_000 : Math.floor((upstreamShare * 10_000) / ownShare);
  const all = createPicker(set.healthyHosts);
  if (near !== undefined && nearShare >= 10_000)
    return new ZonePicker(options, zone, all, near, nearShare, []);
  const zones: Zone[] = [];
  let spare = 0;
  for (const entry of set.localities) {
    if (isNear(entry) || entry.healthyHosts.length === 0) continue;
    const key = keyOf(entry.locality);
    spare += Math.max(0, (upstream.get(key) ?? 0) - (callers.get(key) ?? 0));
    zones.push({ picker: createPicker(entry.healthyHosts), spare });
  }
  return new ZonePicker(options, zone, all, near, nearShare, zones);
}
