/** Durations as Istio's objects write them: Go's form, `1h30m`, `1.5s`, `250ms`. */

const unitMs: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  ns: 0.000001,
};

/** Milliseconds, or undefined when the text is absent or no duration. */
export function durationMs(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (text === '0') return 0;
  let rest = text;
  let total = 0;
  while (rest !== '') {
    const part = /^(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)/.exec(rest);
    if (part === null) return undefined;
    total += Number(part[1]) * (unitMs[part[2] ?? ''] ?? 0);
    rest = rest.slice(part[0].length);
  }
  return total;
}
