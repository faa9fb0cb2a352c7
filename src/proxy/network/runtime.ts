/** Runtime values as a worker reads them (envoy runtime): final values by key, as text. Written by `server/`. */
export class RuntimeValues {
  #values: ReadonlyMap<string, string>;
  /** Shares that were asked for, until the values change. */
  readonly #shares = new Map<string, number | undefined>();

  constructor(values: ReadonlyMap<string, string> = new Map()) {
    this.#values = values;
  }

  /** Called when the admin changes a value. */
  replace(values: ReadonlyMap<string, string>): void {
    this.#values = values;
    this.#shares.clear();
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

  /** `fallback` when the key is not set or neither `true` nor `false`. */
  boolean(key: string, fallback: boolean): boolean {
    const text = this.#values.get(key)?.toLowerCase();
    return text === 'true' ? true : text === 'false' ? false : fallback;
  }

  /** A share of requests, 0 to 1: a whole number is percent, an object a FractionalPercent; undefined for all else. */
  share(key: string): number | undefined {
    if (this.#shares.has(key)) return this.#shares.get(key);
    const text = this.#values.get(key);
    const share = text === undefined ? undefined : parseShare(text);
    // Keys come from the configuration: their number is bounded.
    this.#shares.set(key, share);
    return share;
  }
}

const wholes: Readonly<Record<string, number>> = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 };

function parseShare(text: string): number | undefined {
  if (/^\d{1,15}$/.test(text)) return Math.min(Number(text) / 100, 1);
  if (!text.startsWith('{')) return undefined;
  const { numerator, denominator } = JSON.parse(text) as { numerator?: unknown; denominator?: unknown };
  const whole =
    typeof denominator === 'number'
      ? Object.values(wholes)[denominator]
      : wholes[String(denominator ?? 'HUNDRED')];
  const part = Number(numerator ?? 0);
  return whole === undefined || !(part >= 0) ? undefined : Math.min(part / whole, 1);
}
