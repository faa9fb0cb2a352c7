/** Draining: tells the codecs of open connections to let go, then closes what is left. */
import type { DrainSignal } from '../network/connection.ts';

/** A drain signal with its switch. */
export class Drain implements DrainSignal {
  draining = false;
  readonly #callbacks = new Set<() => void>();

  onDrain(callback: () => void): () => void {
    if (this.draining) {
      callback();
      return () => {};
    }
    this.#callbacks.add(callback);
    return () => void this.#callbacks.delete(callback);
  }

  /** Fires all callbacks once; later calls do nothing. */
  start(): void {
    if (this.draining) return;
    this.draining = true;
    const callbacks = [...this.#callbacks];
    this.#callbacks.clear();
    for (const callback of callbacks) callback();
  }
}
