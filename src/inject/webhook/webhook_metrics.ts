/** What the webhook counts, under Istio's names. */
import type { Counter, Histogram, MetricsRegistry } from '#telemetry/metrics.ts';

/** Counters of all requests, and of what became of each: exactly one of the other three. */
export interface WebhookMetrics {
  readonly requests: Counter;
  readonly success: Counter;
  readonly failure: Counter;
  readonly skip: Counter;
  /** Seconds from the whole body to the answer. */
  readonly time: Histogram;
}

/** Upper bounds in seconds: fine where we want to be, coarse where an API server gives up. */
const timeBounds: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 3, 5];

/** Binds the metrics; the same registry gives the same ones. */
export function webhookMetrics(registry: MetricsRegistry): WebhookMetrics {
  const counter = (name: string, help: string): Counter => registry.counter(name, {}, help);
  return {
    requests: counter('sidecar_injection_requests_total', 'Requests to the injection webhook.'),
    success: counter('sidecar_injection_success_total', 'Pods that got a sidecar.'),
    failure: counter('sidecar_injection_failure_total', 'Requests that were refused or failed.'),
    skip: counter('sidecar_injection_skip_total', 'Pods that stayed without a sidecar, as they should.'),
    time: registry.histogram(
      'sidecar_injection_time_seconds',
      {},
      'Time from the request to the answer, in seconds.',
      timeBounds,
    ),
  };
}
