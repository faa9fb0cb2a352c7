/**
 * Draining, as Envoy's DrainManagerImpl: each response asks whether its connection should end; the answer is yes with a
 * probability that grows over the drain time, so that clients do not all connect again in the same moment.
 */
import type { DrainSignal, DrainStrategy } from '../network/connection.ts';
import { type TimerHandle, workerTimers } from '../network/timer_wheel.ts';

/** What the drains of a worker have in common. */
export interface DrainPolicy {
  /** Milliseconds. */
  readonly drainTimeMs: number;
  readonly strategy: DrainStrategy;
  /** `/healthcheck/fail`: every response ends its connection (listeners of drain type DEFAULT). */
  healthCheckFailed: boolean;
  /** 0 up to 1. */
  readonly random: () => number;
  /** Milliseconds. */
  readonly now: () => number;
}

interface Waiting {
  readonly callback: () => void;
  timer: TimerHandle | undefined;
}

function fire(waiting: Waiting): void {
  waiting.timer = undefined;
  waiting.callback();
}

/** A drain signal with its switch. */
export class Drain implements DrainSignal {
  readonly #policy: DrainPolicy;
  readonly #waiting = new Set<Waiting>();
  #startMs = NaN;

  constructor(policy: DrainPolicy) {
    this.#policy = policy;
  }

  get started(): boolean {
    return !Number.isNaN(this.#startMs);
  }

  get draining(): boolean {
    const policy = this.#policy;
    if (Number.isNaN(this.#startMs)) return policy.healthCheckFailed;
    if (policy.strategy === 'immediate' || policy.healthCheckFailed) return true;
    return policy.now() - this.#startMs >= policy.random() * policy.drainTimeMs;
  }

  onDrain(callback: () => void): () => void {
    const waiting: Waiting = { callback, timer: undefined };
    this.#waiting.add(waiting);
    if (this.started) this.#schedule(waiting);
    return () => {
      this.#waiting.delete(waiting);
      workerTimers.cancel(waiting.timer);
    };
  }

  /** Later calls do nothing. */
  start(): void {
    if (this.started) return;
    this.#startMs = this.#policy.now();
    for (const waiting of this.#waiting) this.#schedule(waiting);
  }

  #schedule(waiting: Waiting): void {
    const { strategy, random, drainTimeMs, now } = this.#policy;
    const leftMs = this.#startMs + drainTimeMs - now();
    const delayMs = strategy === 'immediate' ? 0 : Math.max(0, random() * leftMs);
    if (delayMs === 0) waiting.callback();
    else waiting.timer = workerTimers.schedule(delayMs, fire, waiting);
  }
}
