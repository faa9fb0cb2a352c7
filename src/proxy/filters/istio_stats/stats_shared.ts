/** What one chain's statistics filter has for all its requests or connections. */
import type { FactoryContext, TypedConfig } from '../../factory_context.ts';
import type { Counter, Histogram, MetricsRegistry } from '#telemetry/metrics.ts';
import { type Ends, EndsTable } from './ends.ts';
import type { MetricName } from './labels.ts';
import { planLabels, readStatsConfig, type StatsConfig } from './plugin_config.ts';
import { ServiceDirectory } from './service_directory.ts';

/** Stands in for metrics that are switched off. */
const noCounter: Counter = { value: 0, inc() {} };
const noHistogram: Histogram = { observe() {} };

export class StatsShared {
  readonly config: StatsConfig;
  readonly ends: EndsTable;
  readonly services: ServiceDirectory;
  readonly #metrics: MetricsRegistry;

  /** Throws Error for a configuration of the wrong shape; logs what it passes over. */
  constructor({ struct = {} }: TypedConfig, { node, metrics, direction, log }: FactoryContext) {
    this.config = readStatsConfig(struct, node);
    this.ends = new EndsTable(direction === 'inbound' ? 'destination' : 'source', node);
    this.services = new ServiceDirectory(!this.config.disableHostHeaderFallback);
    this.#metrics = metrics;
    for (const ignored of this.config.ignored)
      log.warn('istio.stats: part of the configuration has no effect', { part: ignored });
  }

  counter(name: MetricName, ends: Ends, names: readonly string[], values: readonly string[]): Counter {
    const plan = this.config.plans[name];
    if (plan.dropped) return noCounter;
    const labels = planLabels(plan, names, [...ends.values, ...values]);
    return this.#metrics.counter(`istio_${name}`, labels);
  }

  histogram(name: MetricName, ends: Ends, names: readonly string[], values: readonly string[]): Histogram {
    const plan = this.config.plans[name];
    if (plan.dropped) return noHistogram;
    const labels = planLabels(plan, names, [...ends.values, ...values]);
    return this.#metrics.histogram(`istio_${name}`, labels);
  }
}
