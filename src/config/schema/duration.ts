/** Durations as Istio and Kubernetes write them: Go's `1h30m`, `1.5s`, `100ms`. */
import { type Schema, string } from './schema.ts';

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Longest duration of a Go program, about 292 years, in milliseconds. */
const maxMs = 9_223_372_036_854;

/** Milliseconds, with a fraction where the text has one; undefined when the text is not a duration. */
export function parseDurationMs(text: string): number | undefined {
  if (text.length > 64) return undefined;
  const sign = text.startsWith('-') ? -1 : 1;
  const rest = /^[+-]/.test(text) ? text.slice(1) : text;
  if (rest === '0') return 0;
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(rest)) return undefined;
  let total = 0;
  for (const [, amount, unit] of rest.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(amount) * (unitMs[unit ?? ''] ?? Number.NaN);
  }
  return total > maxMs ? undefined : sign * total;
}

/** Options of a duration. */
export interface DurationOptions {
  /** Default 1 (what Istio asks of nearly all durations). */
  readonly minMs?: number;
  /** Default none. */
  readonly maxMs?: number;
}

/** A duration of at least 1ms, in whole milliseconds, unless the options say otherwise. */
export function duration(options: DurationOptions = {}): Schema<string> {
  const { minMs = 1, maxMs: most = Infinity } = options;
  const bound =
    most === Infinity ? (minMs > 0 ? ` of at least ${minMs}ms` : '') : ` from ${minMs}ms to ${most}ms`;
  return string({
    expected: `a duration${bound} such as "1.5s"`,
    code: 'invalid_duration',
    test(value) {
      const ms = parseDurationMs(value);
      return ms !== undefined && ms >= minMs && ms <= most && Number.isInteger(Math.round(ms * 1e6) / 1e6);
    },
  });
}
