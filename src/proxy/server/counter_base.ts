/** `/reset_counters`: workers count on, what they had counted at the reset is taken off what is shown. */
import type { Labels, MetricsSnapshot } from '#telemetry/metrics.ts';

function keyOf(name: string, labels: Labels): string {
  return `${name}\0${JSON.stringify(labels)}`;
}

export class CounterBase {
  #base: Map<string, number> | undefined;

  /** @param snapshot as the workers give it. */
  reset(snapshot: MetricsSnapshot): void {
    this.#base = new Map();
    for (const { name, type, series } of snapshot)
      if (type === 'counter')
        for (const { labels, value } of series) if (value !== 0) this.#base.set(keyOf(name, labels), value);
  }

  /** Counters since the last reset. A counter that fell behind, with a replaced worker, counts from zero. */
  apply(snapshot: MetricsSnapshot): MetricsSnapshot {
    const base = this.#base;
    if (base === undefined) return snapshot;
    return snapshot.map((family) => {
      if (family.type !== 'counter') return family;
      const series = family.series.map((one) => {
        const key = keyOf(family.name, one.labels);
        const before = base.get(key) ?? 0;
        if (one.value >= before) return { ...one, value: one.value - before };
        base.delete(key);
        return one;
      });
      return { ...family, series };
    });
  }
}
