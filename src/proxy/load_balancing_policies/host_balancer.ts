/**
 * What policies that pick a host by turn or by chance share: priorities, panic, degraded hosts, weighted localities, zones.
 * A policy only says how to pick one host of a list. On the hot path: bench/micro/load_balancers.ts.
 */
import type { HostSet, LoadBalancer, LoadBalancerOptions, LocalityHosts } from '../upstream/load_balancer.ts';
import type { Host, LoadBalancerContext } from '../upstream/upstream.ts';
import { EdfScheduler } from './edf_scheduler.ts';
import type { CreatePicker, HostPicker } from './host_picker.ts';
import type { LocalityOptions } from './locality_config.ts';
import { type PriorityLoad, choosePlace, computePriorityLoad, loadWithout } from './priority_load.ts';
import { createZonePicker } from './zone_picker.ts';

const nobody: HostPicker = { pick: () => undefined };

/** Localities of one priority, by effective weight. */
class LocalityPicker implements HostPicker {
  readonly #schedule: EdfScheduler<{ readonly weight: number; readonly picker: HostPicker }>;

  constructor(entries: readonly { weight: number; picker: HostPicker }[], random: () => number) {
    this.#schedule = new EdfScheduler(entries, (entry) => entry.weight, random);
  }

  pick(): Host | undefined {
    return this.#schedule.pick()?.picker.pick();
  }
}

/** Counts the choices that ignore health. */
class PanicPicker implements HostPicker {
  readonly #picker: HostPicker;
  readonly #options: LoadBalancerOptions;

  constructor(picker: HostPicker, options: LoadBalancerOptions) {
    this.#picker = picker;
    this.#options = options;
  }

  pick(): Host | undefined {
    this.#options.stats.healthyPanic++;
    return this.#picker.pick();
  }
}

/** The weight that is left when only a part of the locality's hosts may be used. */
export function effectiveWeight(
  entry: LocalityHosts,
  usable: number,
  overprovisioningFactor: number,
): number {
  const counted = entry.hosts.length - entry.excludedCount;
  if (counted <= 0) return 0;
  return entry.weight * Math.min((overprovisioningFactor * usable) / counted / 100, 1);
}

/** Balancer made of pickers. */
export class HostBalancer implements LoadBalancer {
  readonly #createPicker: CreatePicker;
  readonly #options: LoadBalancerOptions;
  readonly #locality: LocalityOptions;
  #sets: readonly HostSet[] = [];
  #loads: PriorityLoad = { healthy: [], degraded: [], panic: [] };
  /** By place: healthy hosts of each priority, then degraded ones. */
  #pickers: HostPicker[] = [];
  /** Set when one place takes all load: the common case skips the draw. */
  #only: HostPicker | undefined = nobody;

  constructor(createPicker: CreatePicker, options: LoadBalancerOptions, locality: LocalityOptions) {
    this.#createPicker = createPicker;
    this.#options = options;
    this.#locality = locality;
  }

  update(sets: readonly HostSet[]): void {
    const loads = computePriorityLoad(sets, this.#options.healthyPanicThreshold);
    this.#loads = loads;
    this.#sets = sets;
    this.#pickers = [
      ...sets.map((set, i) =>
        loads.healthy[i] === 0 ? nobody : this.#healthyPicker(set, loads.panic[i] === true),
      ),
      ...sets.map((set, i) => (loads.degraded[i] === 0 ? nobody : this.#degradedPicker(set))),
    ];
    const full = [...loads.healthy, ...loads.degraded].indexOf(100);
    this.#only = full >= 0 ? this.#pickers[full] : sets.length === 0 ? nobody : undefined;
  }

  #healthyPicker(set: HostSet, panic: boolean): HostPicker {
    const { weighted, zoneAware } = this.#locality;
    if (panic)
      return new PanicPicker(
        zoneAware?.failOnPanic === true ? nobody : this.#createPicker(set.hosts),
        this.#options,
      );
    if (weighted) {
      const picker = this.#localityPicker(set, (entry) => entry.healthyHosts);
      if (picker !== undefined) return picker;
    } else if (zoneAware !== undefined) {
      const picker = createZonePicker(set, this.#options, zoneAware, this.#createPicker);
      if (picker !== undefined) return picker;
    }
    return this.#createPicker(set.healthyHosts);
  }

  #degradedPicker(set: HostSet): HostPicker {
    const byLocality = this.#locality.weighted
      ? this.#localityPicker(set, (entry) => entry.degradedHosts)
      : undefined;
    return byLocality ?? this.#createPicker(set.degradedHosts);
  }

  #localityPicker(set: HostSet, usable: (entry: LocalityHosts) => readonly Host[]): HostPicker | undefined {
    const entries = set.localities
      .map((entry) => ({
        weight: effectiveWeight(entry, usable(entry).length, set.overprovisioningFactor),
        hosts: usable(entry),
      }))
      .filter(({ weight }) => weight > 0)
      .map(({ weight, hosts }) => ({ weight, picker: this.#createPicker(hosts) }));
    if (entries.length <= 1) return entries[0]?.picker;
    return new LocalityPicker(entries, this.#options.random);
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    const tried = context.triedPriorities ?? 0;
    for (let attempt = 0; ; attempt++) {
      const host = tried === 0 ? this.#pick() : this.#pickElsewhere(tried, context);
      if (host === undefined || attempt >= context.hostSelectionRetryCount) return host;
      if (!context.shouldSelectAnotherHost(host)) return host;
    }
  }

  /** A host of a priority that had no turn yet: rare, so that pickers are made when they are first needed. */
  #pickElsewhere(tried: number, context: LoadBalancerContext): Host | undefined {
    const sets = this.#sets;
    const loads = loadWithout(sets, tried, this.#loads.panic);
    if (loads === undefined) {
      context.forgetTriedPriorities?.();
      return this.#pick();
    }
    const place = choosePlace(loads, this.#options.random() * 100);
    const priority = place % sets.length;
    const set = sets[priority];
    if (set === undefined) return undefined;
    if (this.#pickers[place] === nobody)
      this.#pickers[place] =
        place < sets.length
          ? this.#healthyPicker(set, loads.panic[priority] === true)
          : this.#degradedPicker(set);
    return this.#pickers[place]?.pick();
  }

  #pick(): Host | undefined {
    if (this.#only !== undefined) return this.#only.pick();
    return this.#pickers[choosePlace(this.#loads, this.#options.random() * 100)]?.pick();
  }
}

/** True when all hosts have one weight. */
export function equalWeights(hosts: readonly Host[]): boolean {
  const first = hosts[0]?.weight;
  return hosts.every((host) => host.weight === first);
}
