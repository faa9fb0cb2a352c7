/** Runtime values as a worker reads them (envoy runtime): final values by key, as text. Written by `server/`. */
export class RuntimeValues {
  #values: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string> = new Map()) {
    this.#values = values;
  }

  /** Called when the admin changes a value. */
  replace(values: ReadonlyMap<string, string>): void {
    this.#values = values;
  }

  get(key: string): string | undefined {
    return this.#values.get(key);
  }

  /** `fallback` when the key is not set or no number. */
  number(key: string, fallback: number): number {
    const text = this.#values.get(key);
    if (text === undefined || text.trim() === '') return fallback;
    const value = Number(text);
    return Number.isFinite(value) ? value : fallback;
  }
}
