/**
 * The one metrics registry of all processes. A series is bound once (name + labels) and then updated through its handle;
 * an update is a plain number addition. Snapshots of several registries (one per worker thread) merge into one page.
 * Bench: bench/micro/metrics.ts.
 */

/** Label names and values of one series, in the order in which they are printed. */
export type Labels = Readonly<Record<string, string>>;

/** A number that only grows. */
export interface Counter {
  value: number;
  inc(by?: number): void;
}

/** A number that goes up and down. */
export interface Gauge {
  value: number;
  set(value: number): void;
  add(by: number): void;
}

/** Counts of observations by upper bound, with their sum. */
export interface Histogram {
  observe(value: number): void;
}

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** One series as plain data: what crosses threads. `buckets` holds cumulative-free counts, the last one is +Inf. */
export interface SeriesSnapshot {
  readonly labels: Labels;
  readonly value: number;
  readonly buckets?: readonly number[];
}

/** One metric family as plain data. */
export interface FamilySnapshot {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly bounds?: readonly number[];
  readonly series: readonly SeriesSnapshot[];
}

export type MetricsSnapshot = readonly FamilySnapshot[];

/** Envoy's default histogram bounds, in the unit of the metric (milliseconds, bytes). */
export const defaultBuckets: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000,
  3600000,
];

class CounterCell implements Counter {
  value = 0;
  readonly labels: Labels;
  constructor(labels: Labels) {
    this.labels = labels;
  }
  inc(by = 1): void {
    this.value += by;
  }
}

class GaugeCell implements Gauge {
  value = 0;
  readonly labels: Labels;
  constructor(labels: Labels) {
    this.labels = labels;
  }
  set(value: number): void {
    this.value = value;
  }
  add(by: number): void {
    this.value += by;
  }
}

class HistogramCell implements Histogram {
  readonly labels: Labels;
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }
  observe(value: number): void {
    const { bounds, counts } = this;
    let i = 0;
    while (i < bounds.length && value > (bounds[i] as number)) i++;
    counts[i] = (counts[i] as number) + 1;
    this.sum += value;
  }
}

type Cell = CounterCell | GaugeCell | HistogramCell;

interface Family {
  readonly type: MetricType;
  readonly help: string;
  readonly bounds: readonly number[] | undefined;
  readonly cells: Map<string, Cell>;
}

function keyOf(labels: Labels): string {
  let key = '';
  for (const name in labels) key += `${name}\u0001${labels[name]}\u0002`;
  return key;
}

/** Holds the families of one thread. The number of series is bounded; past the bound updates go to a series that is dropped. */
export class MetricsRegistry {
  readonly #families = new Map<string, Family>();
  readonly #maxSeries: number;
  #series = 0;
  /** Series refused because the bound was reached. */
  droppedSeries = 0;

  /** @param maxSeries upper bound of series over all families, default 100 000. */
  constructor(maxSeries = 100_000) {
    this.#maxSeries = maxSeries;
  }

  /** Binds a counter; the same name and labels give the same handle. */
  counter(name: string, labels: Labels = {}, help = ''): Counter {
    return this.#cell(name, 'counter', labels, help, undefined, () => new CounterCell(labels)) as CounterCell;
  }

  /** Binds a gauge; the same name and labels give the same handle. */
  gauge(name: string, labels: Labels = {}, help = ''): Gauge {
    return this.#cell(name, 'gauge', labels, help, undefined, () => new GaugeCell(labels)) as GaugeCell;
  }

  /** Binds a histogram; bounds are those of the first call for the name. */
  histogram(
    name: string,
    labels: Labels = {},
    help = '',
    bounds: readonly number[] = defaultBuckets,
  ): Histogram {
    const own = this.#families.get(name)?.bounds ?? bounds;
    return this.#cell(
      name,
      'histogram',
      labels,
      help,
      own,
      () => new HistogramCell(labels, own),
    ) as HistogramCell;
  }

  /** Removes one series, so that what is gone is no longer printed. */
  remove(name: string, labels: Labels): void {
    if (this.#families.get(name)?.cells.delete(keyOf(labels)) === true) this.#series--;
  }

  snapshot(): MetricsSnapshot {
    const families: FamilySnapshot[] = [];
    for (const [name, family] of this.#families) {
      const series: SeriesSnapshot[] = [];
      for (const cell of family.cells.values()) {
        if (cell instanceof HistogramCell) {
          series.push({ labels: cell.labels, value: cell.sum, buckets: cell.counts.slice() });
        } else series.push({ labels: cell.labels, value: cell.value });
      }
      const base = { name, type: family.type, help: family.help, series };
      families.push(family.bounds === undefined ? base : { ...base, bounds: family.bounds });
    }
    return families;
  }

  #cell(
    name: string,
    type: MetricType,
    labels: Labels,
    help: string,
    bounds: readonly number[] | undefined,
    make: () => Cell,
  ): Cell {
    let family = this.#families.get(name);
    if (family === undefined) {
      family = { type, help, bounds, cells: new Map() };
      this.#families.set(name, family);
    } else if (family.type !== type) {
      throw new Error(`metric ${name} is a ${family.type}, not a ${type}`);
    }
    const key = keyOf(labels);
    let cell = family.cells.get(key);
    if (cell === undefined) {
      cell = make();
      if (this.#series >= this.#maxSeries) {
        this.droppedSeries++;
        return cell;
      }
      this.#series++;
      family.cells.set(key, cell);
    }
    return cell;
  }
}

/** Adds up snapshots of several registries: counters, gauges and buckets are summed by name and labels. */
export function mergeSnapshots(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  const byName = new Map<string, FamilySnapshot[]>();
  for (const family of snapshots.flat()) {
    const known = byName.get(family.name);
    if (known === undefined) byName.set(family.name, [family]);
    else known.push(family);
  }
  // Most families come from one registry only: they stay as they are.
  return [...byName.values()].map((families) =>
    families.length === 1 ? (families[0] as FamilySnapshot) : mergeFamilies(families),
  );
}

function mergeFamilies(families: readonly FamilySnapshot[]): FamilySnapshot {
  const series = new Map<string, SeriesSnapshot>();
  for (const family of families) {
    for (const one of family.series) {
      const key = keyOf(one.labels);
      const old = series.get(key);
      series.set(key, old === undefined ? one : addSeries(old, one));
    }
  }
  return { ...(families[0] as FamilySnapshot), series: [...series.values()] };
}

function addSeries(a: SeriesSnapshot, b: SeriesSnapshot): SeriesSnapshot {
  const value = a.value + b.value;
  if (a.buckets === undefined || b.buckets === undefined) return { labels: a.labels, value };
  const other = b.buckets;
  return { labels: a.labels, value, buckets: a.buckets.map((count, i) => count + (other[i] ?? 0)) };
}
