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
  readonly #activate: (name: string, staged: S) => void;
  readonly #onChange: () => void;

  /** @param onChange the number of those that wait has changed. */
  constructor(activate: (name: string, staged: S) => void, onChange: () => void) {
    this.#activate = activate;
    this.#onChange = onChange;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get names(): string[] {
    return [...this.#waiting.keys()];
  }

  /** Activates what is ready, now or later. False when it has to wait. */
  add(name: string, staged: S): boolean {
    this.drop(name);
    if (staged.ready) {
      this.#activate(name, staged);
      return true;
    }
    this.#waiting.set(name, staged);
    this.#onChange();
    staged.onReady(() => {
      if (this.#waiting.get(name) !== staged || !staged.ready) return;
      this.#waiting.delete(name);
      this.#activate(name, staged);
      this.#onChange();
    });
    return false;
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
    for (const name of this.names) this.drop(name);
  }
}
