/** Leader election by a Lease (coordination.k8s.io/v1): of several control planes one at a time writes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, silentLogger } from '#base/log.ts';
import type { KubeClient } from './client.ts';
import { hasStatus } from './kube_error.ts';
import { type KubeObject, apiResources } from './object.ts';

/** A Lease as it stands in the API. */
interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    /** RFC 3339 with microseconds. */
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/** One election. */
export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of the Lease: one per writer. */
  readonly name: string;
  /** Unique among those who stand: the name of the pod. */
  readonly identity: string;
  /** Runs while we lead; the signal ends it. Errors are logged and end the lead. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
  /** How long others wait after the last renewal. Default 15 s. */
  readonly leaseMs?: number;
  /** The lead ends when no renewal has worked for this long; less than `leaseMs`. Default 10 s. */
  readonly renewDeadlineMs?: number;
  /** Time between tries. Default 2 s. */
  readonly retryMs?: number;
  readonly log?: Logger;
}

/** RFC 3339 with six digits of a second, as the API wants it. */
function microTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`;
}

/**
 * Stands for election until closed. Nobody's clock is believed: a lease counts as left when we have seen no renewal of it
 * for its whole life.
 */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #log: Logger;
  readonly #leaseMs: number;
  readonly #renewDeadlineMs: number;
  readonly #retryMs: number;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #leading = false;
  #holder = '';
  /** The lease as it was seen last, and when it was first seen like that. */
  #seen = '';
  #seenAt = 0;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#log = (options.log ?? silentLogger).scope('leader');
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#renewDeadlineMs = options.renewDeadlineMs ?? 10_000;
    this.#retryMs = options.retryMs ?? 2000;
  }

  get isLeader(): boolean {
    return this.#leading;
  }

  /** Who leads, as far as we know; empty when nobody does. */
  get holder(): string {
    return this.#holder;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends the lead, if there is one, and gives the lease back so that another may take it at once. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      if (await this.#try()) await this.#lead();
      await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    const jittered = this.#retryMs * (1 + Math.random() * 0.2);
    await sleep(jittered, undefined, { signal: this.#stop.signal }).catch(() => {});
  }

  async #lead(): Promise<void> {
    const { lead, name, identity } = this.#options;
    const ending = new AbortController();
    this.#leading = true;
    this.#log.info('leading', { lease: name, identity });
    const done = lead(ending.signal).catch((error: unknown) => {
      if (!ending.signal.aborted) this.#log.error('the work of the leader failed', { lease: name, error });
      ending.abort();
    });
    let renewedAt = performance.now();
    while (!this.#stop.signal.aborted && !ending.signal.aborted) {
      await this.#pause();
      if (this.#stop.signal.aborted || ending.signal.aborted) break;
      if (await this.#try(AbortSignal.timeout(this.#renewDeadlineMs))) renewedAt = performance.now();
      else if (this.#holder !== identity) break;
      if (performance.now() - renewedAt >= this.#renewDeadlineMs) break;
    }
    ending.abort();
    await done;
    this.#leading = false;
    this.#log.info('not leading any more', { lease: name, identity });
    if (this.#holder === identity) await this.#release();
  }

  /** Takes or renews the lease. False when somebody else holds it or the server does not answer. */
  async #try(signal: AbortSignal = this.#stop.signal): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    try {
      const lease = await client.find<Lease>(apiResources.leases, namespace, name, signal);
      if (lease === undefined) {
        await client.create<Lease>(apiResources.leases, namespace, this.#next(undefined), { signal });
      } else {
        if (!this.#mayTake(lease)) return false;
        await client.update<Lease>(apiResources.leases, this.#next(lease), { signal });
      }
      this.#holder = identity;
      return true;
    } catch (error) {
      // Somebody else was faster.
      if (hasStatus(error, 409)) return false;
      if (!this.#stop.signal.aborted) this.#log.warn('the lease cannot be taken', { lease: name, error });
      return false;
    }
  }

  #mayTake({ spec = {} }: Lease): boolean {
    const { holderIdentity = '', renewTime = '', leaseTransitions = 0 } = spec;
    const look = `${holderIdentity} ${renewTime} ${leaseTransitions}`;
    if (look !== this.#seen) {
      this.#seen = look;
      this.#seenAt = performance.now();
    }
    this.#holder = holderIdentity;
    if (holderIdentity === '' || holderIdentity === this.#options.identity) return true;
    const life = (spec.leaseDurationSeconds ?? 0) * 1000 || this.#leaseMs;
    return performance.now() - this.#seenAt > life;
  }

  #next(lease: Lease | undefined): Lease {
    const { namespace, name, identity } = this.#options;
    const now = microTime(Date.now());
    const mine = lease?.spec?.holderIdentity === identity;
    const spec = {
      holderIdentity: identity,
      leaseDurationSeconds: Math.max(1, Math.ceil(this.#leaseMs / 1000)),
      acquireTime: mine ? (lease.spec?.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (lease === undefined || mine ? 0 : 1),
    };
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: lease?.metadata ?? { name, namespace },
      spec,
    };
  }

  /** Best effort, and not for long: the process is about to end. */
  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    const signal = AbortSignal.timeout(2000);
    try {
      const lease = await client.find<Lease>(apiResources.leases, namespace, name, signal);
      if (lease?.spec?.holderIdentity !== identity) return;
      const spec = {
        ...lease.spec,
        holderIdentity: '',
        leaseDurationSeconds: 1,
        renewTime: microTime(Date.now()),
      };
      await client.update<Lease>(apiResources.leases, { ...lease, spec }, { signal });
      this.#holder = '';
    } catch (error) {
      this.#log.debug('the lease was not given back', { lease: name, error });
    }
  }
}
