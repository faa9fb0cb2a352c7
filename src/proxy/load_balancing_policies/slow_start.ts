/** Lets hosts that just came take their share step by step (envoy SlowStartConfig). */
import type { SlowStartConfig } from '#api/gen/envoy/extensions/load_balancing_policies/common/v3/common_pb.ts';
import { durationMs } from '../network/duration.ts';
import { workerTimers } from '../network/timer_wheel.ts';
import type { Host } from '../upstream/upstream.ts';

/** Remembers when hosts came. */
export class SlowStart {
  readonly #windowMs: number;
  readonly #aggression: number;
  readonly #minShare: number;
  readonly #now: () => number;
  readonly #since = new WeakMap<Host, number>();
  /** Time at which the host that came last has warmed up. */
  #warmAt = -Infinity;

  constructor(config: SlowStartConfig, now: () => number = () => workerTimers.now()) {
    this.#windowMs = durationMs(config.slowStartWindow) ?? 0;
    this.#aggression = Math.max(config.aggression?.defaultValue ?? 1, 0.01);
    this.#minShare = (config.minWeightPercent?.value ?? 10) / 100;
    this.#now = now;
  }

  /** Hosts that are new start now; hosts that turned unhealthy start again when they come back. */
  observe(hosts: readonly Host[]): void {
    const now = this.#now();
    for (const host of hosts) {
      if (!host.healthy) this.#since.delete(host);
      else if (!this.#since.has(host)) {
        this.#since.set(host, now);
        this.#warmAt = now + this.#windowMs;
      }
    }
  }

  /** True while some host warms up. */
  get active(): boolean {
    return this.#now() < this.#warmAt;
  }

  /** Share of its weight that the host gets, up to 1. */
  factor(host: Host): number {
    const since = this.#since.get(host);
    if (since === undefined || this.#windowMs <= 0) return 1;
    const elapsed = this.#now() - since;
    if (elapsed >= this.#windowMs) return 1;
    return Math.max((Math.max(elapsed, 1) / this.#windowMs) ** (1 / this.#aggression), this.#minShare);
  }
}
