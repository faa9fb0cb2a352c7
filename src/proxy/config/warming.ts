/** Objects that are built and wait for something before they go live; a newer version takes the place of a waiting one. */

/** What waits. Exactly one of `activate` and `discard` is called. */
export interface Staged {
  readonly ready: boolean;
  /** Calls back when `ready` may have turned true. */
  onReady(callback: () => void): void;
  discard(): void;
}

export class WarmingSet<S extends Staged> {
  readonly #waiting = new Map<string, S>();
  /** Those that are on their way to live, by name, with how many versions. */
  readonly #activating = new Map<string, number>();
  readonly #activate: (name: string, staged: S) => void | Promise<void>;
  readonly #onChange: () => void;

  /**
   * @param activate makes a version live; it counts as waiting until the promise is fulfilled (it must not be rejected).
   * @param onChange the number of those that wait has changed.
   */
  constructor(activate: (name: string, staged: S) => void | Promise<void>, onChange: () => void) {
    this.#activate = activate;
    this.#onChange = onChange;
  }

  get names(): string[] {
    return [...new Set([...this.#waiting.keys(), ...this.#activating.keys()])];
  }

  /** Activates what is ready, now or later. False when it has to wait. */
  add(name: string, staged: S): boolean {
    this.drop(name);
    if (staged.ready) {
      this.#start(name, staged);
      return true;
    }
    this.#waiting.set(name, staged);
    this.#onChange();
    staged.onReady(() => {
      if (this.#waiting.get(name) !== staged || !staged.ready) return;
      this.#waiting.delete(name);
      this.#start(name, staged);
      this.#onChange();
    });
    return false;
  }

  #start(name: string, staged: S): void {
    const activation = this.#activate(name, staged);
    if (activation === undefined) return;
    this.#activating.set(name, (this.#activating.get(name) ?? 0) + 1);
    this.#onChange();
    void activation.then(() => {
      const open = (this.#activating.get(name) ?? 1) - 1;
      if (open === 0) this.#activating.delete(name);
      else this.#activating.set(name, open);
      this.#onChange();
    });
  }

  /** Gives up a waiting version; true when there was one. */
  drop(name: string): boolean {
    const staged = this.#waiting.get(name);
    if (staged === undefined) return false;
    this.#waiting.delete(name);
    staged.discard();
    this.#onChange();
    return true;
  }

  clear(): void {
    for (const name of this.#waiting.keys()) this.drop(name);
  }
}
