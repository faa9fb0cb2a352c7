/** Keeps the workload's identity fresh and gives it out as the secrets `default` and `ROOTCA`. */
import { Backoff } from '#base/backoff.ts';
import type { Logger } from '#base/log.ts';
import type { IdentityProvider } from './identity_provider.ts';
import {
  defaultSecretName,
  rootSecretName,
  type SecretSnapshot,
  type SecretSource,
} from './secret_source.ts';
import type { WorkloadIdentity } from './workload_identity.ts';

/** When to renew. */
export interface RotationOptions {
  /** Renewal when this part of the life is left. Default 0.5. */
  readonly gracePeriodRatio?: number;
  /** Added to the ratio, evenly spread over plus and minus this. Default 0.01. */
  readonly gracePeriodJitter?: number;
}

export interface SecretManagerOptions extends RotationOptions {
  readonly provider: IdentityProvider;
  readonly log: Logger;
  /** Roots beside those that come with the identity, PEM (`caCertificates`). */
  readonly extraRoots?: () => string;
  readonly backoff?: Backoff;
  readonly random?: () => number;
  readonly now?: () => number;
}

/** setTimeout takes at most this many milliseconds. */
const maxTimerMs = 2 ** 31 - 1;

/** Milliseconds from now until an identity is renewed; 0 when it is due. */
export function renewalDelay(
  identity: Pick<WorkloadIdentity, 'obtainedMs' | 'notAfterMs'>,
  nowMs: number,
  options: RotationOptions & { readonly random?: () => number },
): number {
  const jitter = ((options.random ?? Math.random)() * 2 - 1) * (options.gracePeriodJitter ?? 0.01);
  const ratio = Math.min(1, Math.max(0, (options.gracePeriodRatio ?? 0.5) + jitter));
  const graceMs = ratio * (identity.notAfterMs - identity.obtainedMs);
  return Math.max(0, identity.notAfterMs - graceMs - nowMs);
}

/** Owns the timer of the next renewal. */
export class SecretManager implements SecretSource {
  readonly #options: SecretManagerOptions;
  readonly #now: () => number;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #listeners = new Set<(names: readonly string[]) => void>();
  readonly #waiters = new Set<() => void>();
  #identity: WorkloadIdentity | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  /** Failed attempts, and the text of the last failure while there is no success after it. */
  failures = 0;
  lastFailure: string | undefined;

  constructor(options: SecretManagerOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#log = options.log.scope('cache');
    this.#backoff = options.backoff ?? new Backoff({ baseMs: 100, maxMs: 10_000 });
  }

  /** The identity in use; the one before stays in use while a renewal fails. */
  get identity(): WorkloadIdentity | undefined {
    return this.#identity;
  }

  /** Begins to obtain and renew. */
  start(): void {
    void this.#obtain();
  }

  /** Resolves when there is an identity; rejects after `timeoutMs` with the last failure. */
  whenReady(timeoutMs: number): Promise<void> {
    if (this.#identity !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const ready = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(ready);
        reject(new Error(`no identity after ${timeoutMs} ms: ${this.lastFailure ?? 'no answer'}`));
      }, timeoutMs);
      this.#waiters.add(ready);
    });
  }

  get(name: string): SecretSnapshot | undefined {
    const identity = this.#identity;
    if (identity === undefined) return undefined;
    if (name === defaultSecretName) {
      return { kind: 'key_cert', certChain: identity.certChain, privateKey: identity.privateKey };
    }
    if (name === rootSecretName) {
      return { kind: 'roots', roots: identity.roots + (this.#options.extraRoots?.() ?? '') };
    }
    return undefined;
  }

  subscribe(listener: (names: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }

  async #obtain(): Promise<void> {
    try {
      const identity = await this.#options.provider.obtain();
      if (this.#closed) return;
      this.#backoff.reset();
      this.lastFailure = undefined;
      this.#take(identity);
      this.#schedule(this.#nextDelay(identity));
    } catch (error) {
      if (this.#closed) return;
      this.failures++;
      this.lastFailure = error instanceof Error ? error.message : String(error);
      const waitMs = Math.round(this.#backoff.next());
      this.#log.warn('no certificate', { from: this.#options.provider.name, retryInMs: waitMs, error });
      this.#schedule(waitMs);
    }
  }

  #nextDelay(identity: WorkloadIdentity): number {
    const delay = renewalDelay(identity, this.#now(), this.#options);
    // A life of seconds must not turn into a busy loop.
    return Math.max(this.#options.provider.pollMs ?? delay, 100);
  }

  #schedule(delayMs: number): void {
    this.#timer = setTimeout(
      () => {
        if (delayMs > maxTimerMs) this.#schedule(delayMs - maxTimerMs);
        else void this.#obtain();
      },
      Math.min(delayMs, maxTimerMs),
    );
  }

  #take(identity: WorkloadIdentity): void {
    const before = this.#identity;
    const changed: string[] = [];
    if (before?.certChain !== identity.certChain || before.privateKey !== identity.privateKey) {
      changed.push(defaultSecretName);
    }
    if (before?.roots !== identity.roots) changed.push(rootSecretName);
    if (changed.length === 0) return;
    this.#identity = identity;
    this.#log.info('certificate in use', {
      from: this.#options.provider.name,
      identity: identity.uris[0],
      serial: identity.serialNumber,
      ends: new Date(identity.notAfterMs).toISOString(),
      rootChanged: changed.includes(rootSecretName),
    });
    for (const waiter of this.#waiters) waiter();
    this.#waiters.clear();
    for (const listener of this.#listeners) listener(changed);
  }
}
