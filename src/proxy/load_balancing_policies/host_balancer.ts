/**
 * What policies that pick a host by turn or by chance share: priorities, panic, weighted localities. A policy only says
 * how to pick one host of a list. On the hot path: bench/micro/load_balancers.ts.
 */
import type { HostSet, LoadBalancer, LoadBalancerOptions, LocalityHosts } from '../upstream/load_balancer.ts';
import type { Host, LoadBalancerContext } from '../upstream/upstream.ts';
import { EdfScheduler } from './edf_scheduler.ts';
import type { LocalityOptions } from './locality_config.ts';
import { choosePriority, computePriorityLoad } from './priority_load.ts';

/** Picks hosts of one fixed list. */
export interface HostPicker {
  pick(): Host | undefined;
}

export type CreatePicker = (hosts: readonly Host[]) => HostPicker;

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

/** The weight that is left when only a part of the locality's hosts is healthy. */
function effectiveWeight(entry: LocalityHosts, overprovisioningFactor: number): number {
  if (entry.hosts.length === 0) return 0;
  const ratio = (overprovisioningFactor * entry.healthyHosts.length) / entry.hosts.length / 100;
  return entry.weight * Math.min(ratio, 1);
}

/** Balancer made of pickers. */
export class HostBalancer implements LoadBalancer {
  readonly #createPicker: CreatePicker;
  readonly #options: LoadBalancerOptions;
  readonly #locality: LocalityOptions;
  #loads: readonly number[] = [];
  #pickers: HostPicker[] = [];
  /** Set when one priority takes all load: the common case skips the draw. */
  #only: HostPicker | undefined = nobody;

  constructor(createPicker: CreatePicker, options: LoadBalancerOptions, locality: LocalityOptions) {
    this.#createPicker = createPicker;
    this.#options = options;
    this.#locality = locality;
  }

  update(sets: readonly HostSet[]): void {
    const { loads, panic } = computePriorityLoad(sets, this.#options.healthyPanicThreshold);
    this.#loads = loads;
    this.#pickers = sets.map((set, i) => this.#pickerOf(set, loads[i] === 0, panic[i] === true));
    const full = loads.indexOf(100);
    this.#only = full >= 0 ? this.#pickers[full] : loads.every((load) => load === 0) ? nobody : undefined;
  }

  #pickerOf(set: HostSet, idle: boolean, panic: boolean): HostPicker {
    if (idle) return nobody;
    if (panic) return this.#locality.failOnPanic ? nobody : this.#createPicker(set.hosts);
    if (!this.#locality.weighted) return this.#createPicker(set.healthyHosts);
    const entries = set.localities
      .map((entry) => ({
        weight: effectiveWeight(entry, set.overprovisioningFactor),
        hosts: entry.healthyHosts,
      }))
      .filter(({ weight }) => weight > 0)
      .map(({ weight, hosts }) => ({ weight, picker: this.#createPicker(hosts) }));
    if (entries.length === 0) return this.#createPicker(set.healthyHosts);
    return entries.length === 1
      ? (entries[0]?.picker ?? nobody)
      : new LocalityPicker(entries, this.#options.random);
  }

  chooseHost(context: LoadBalancerContext): Host | undefined {
    for (let attempt = 0; ; attempt++) {
      const host = this.#pick();
      if (host === undefined || attempt >= context.hostSelectionRetryCount) return host;
      if (!context.shouldSelectAnotherHost(host)) return host;
    }
  }

  #pick(): Host | undefined {
    if (this.#only !== undefined) return this.#only.pick();
    return this.#pickers[choosePriority(this.#loads, this.#options.random() * 100)]?.pick();
  }
}

/** True when all hosts have one weight. */
export function equalWeights(hosts: readonly Host[]): boolean {
  const first = hosts[0]?.weight;
  return hosts.every((host) => host.weight === first);
}
