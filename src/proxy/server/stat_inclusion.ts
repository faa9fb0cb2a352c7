/** `stats_config.stats_matcher`: which of Envoy's metrics are kept. Istio's own and those of extensions always are. */
import type { StatsMatcher } from '#api/gen/envoy/config/metrics/v3/stats_pb.ts';
import type { Labels, MetricsSnapshot } from '#telemetry/metrics.ts';
import { dottedName } from '../admin/stat_names.ts';
import { type StringPredicate, compileStringMatcher } from '../http/string_matcher.ts';

export class StatInclusion {
  readonly #keeps: StringPredicate | undefined;

  /** @throws Error for a bad pattern. */
  constructor(matcher: StatsMatcher | undefined) {
    const { case: kind, value } = matcher?.statsMatcher ?? { case: undefined };
    if (kind === 'rejectAll') this.#keeps = value ? () => false : undefined;
    else if (kind === 'inclusionList' || kind === 'exclusionList') {
      const patterns = value.patterns.map(compileStringMatcher);
      const wanted = kind === 'inclusionList';
      this.#keeps = (name) => patterns.some((matches) => matches(name)) === wanted;
    }
  }

  includes(name: string, labels: Labels): boolean {
    if (this.#keeps === undefined || !name.startsWith('envoy_')) return true;
    return this.#keeps(dottedName(name, labels));
  }

  /** The part of a snapshot that is kept. */
  filter(snapshot: MetricsSnapshot): MetricsSnapshot {
    if (this.#keeps === undefined) return snapshot;
    return snapshot.flatMap((family) => {
      if (!family.name.startsWith('envoy_')) return [family];
      const series = family.series.filter(({ labels }) => this.includes(family.name, labels));
      return series.length === 0 ? [] : [{ ...family, series }];
    });
  }
}
