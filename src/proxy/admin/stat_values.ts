/** Values of histograms as Envoy's `/stats` shows them, from the counts of our buckets. */

/** Envoy's quantiles, percent. */
export const quantiles: readonly number[] = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100];

/** Observations by bucket; the last count is of what is larger than all bounds. */
export interface Distribution {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
}

function total({ counts }: Distribution): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/**
 * The value below which a share of the observations lies; undefined without observations. Buckets are wider than Envoy's:
 * the value is found on the straight line between the bounds of its bucket.
 */
export function quantile(distribution: Distribution, percent: number): number | undefined {
  const all = total(distribution);
  if (all === 0) return undefined;
  const { bounds, counts } = distribution;
  const rank = (percent / 100) * all;
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] ?? 0;
    if (count > 0 && below + count >= rank) {
      const lower = i === 0 ? 0 : (bounds[i - 1] ?? 0);
      const upper = bounds[i] ?? lower;
      return lower + (upper - lower) * Math.max(0, (rank - below) / count);
    }
    below += count;
  }
  return bounds.at(-1);
}

function format(value: number): string {
  return value >= 1e6 ? value.toExponential().replace('e+', 'e+0') : String(value);
}

/** `P0(nan,1) P25(nan,2) ...`; the first number of each pair, that of the last interval, is not kept. */
export function summaryText(distribution: Distribution): string {
  if (total(distribution) === 0) return 'No recorded values';
  return quantiles
    .map((percent) => `P${percent}(nan,${format(quantile(distribution, percent) ?? 0)})`)
    .join(' ');
}

/** Counts by upper bound, added up or each for itself. What is larger than all bounds is in none. */
function byBound({ bounds, counts }: Distribution, cumulative: boolean): [number, number][] {
  let sum = 0;
  return bounds.map((bound, i) => {
    sum = cumulative ? sum + (counts[i] ?? 0) : (counts[i] ?? 0);
    return [bound, sum];
  });
}

/** `B0.5(0,1) B1(0,3) ...` */
export function bucketText(distribution: Distribution, cumulative: boolean): string {
  if (total(distribution) === 0) return 'No recorded values';
  return byBound(distribution, cumulative)
    .map(([bound, count]) => `B${format(bound)}(0,${count})`)
    .join(' ');
}

export function bucketJson(name: string, distribution: Distribution, cumulative: boolean): object {
  return {
    name,
    buckets: byBound(distribution, cumulative).map(([bound, count]) => ({
      upper_bound: bound,
      interval: 0,
      cumulative: count,
    })),
  };
}

export function quantileJson(name: string, distribution: Distribution): object {
  return {
    name,
    values: quantiles.map((percent) => ({
      cumulative: quantile(distribution, percent) ?? null,
      interval: null,
    })),
  };
}

/** Lower bound, width and count of each bucket that has something. */
function filled({ bounds, counts }: Distribution): { lower: number; width: number; count: number }[] {
  return counts.flatMap((count, i) => {
    const lower = i === 0 ? 0 : (bounds[i - 1] ?? 0);
    return count === 0 ? [] : [{ lower, width: (bounds[i] ?? lower) - lower, count }];
  });
}

export function detailText(distribution: Distribution): string {
  const totals = filled(distribution).map(({ lower, width, count }) => ` ${lower},${width}:${count}`);
  return `\n  totals=${totals.join(',').trimStart()}\n  intervals=\n  summary=${summaryText(distribution)}`;
}

export function detailJson(name: string, distribution: Distribution): object {
  return {
    name,
    totals: filled(distribution).map(({ lower, width, count }) => ({ lower_bound: lower, width, count })),
    intervals: [],
    percentiles: quantiles.map((percent) => ({
      cumulative: quantile(distribution, percent) ?? null,
      interval: null,
    })),
  };
}
