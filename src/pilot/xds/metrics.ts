/** Metrics of the control plane, with Istio's names, labels and bounds. */
import type { Counter, Gauge, Histogram, MetricsRegistry } from '#telemetry/metrics.ts';
import { shortTypeName } from '#xds/type_url.ts';
import type { PushReason } from './push_request.ts';

const convergenceBounds = [0.1, 0.5, 1, 3, 5, 10, 20, 30];
const shortBounds = [0.01, 0.1, 1, 3, 5, 10, 20, 30];
const sizeBounds = [1, 10_000, 1_000_000, 4_000_000, 10_000_000, 40_000_000];

/** Series of one type, in lower case as Istio labels them. */
function label(typeUrl: string): string {
  return shortTypeName(typeUrl).toLowerCase();
}

/** All series; those with labels are bound at their first use. */
export interface PilotMetrics {
  readonly connected: Gauge;
  readonly services: Gauge;
  readonly virtualServices: Gauge;
  readonly uptime: Gauge;
  readonly convergence: Histogram;
  readonly queueTime: Histogram;
  readonly debounceTime: Histogram;
  readonly contextTime: Histogram;
  readonly internalErrors: Counter;
  pushes(typeUrl: string): Counter;
  pushTime(typeUrl: string): Histogram;
  configSize(typeUrl: string): Histogram;
  reject(typeUrl: string): Counter;
  trigger(reason: PushReason): Counter;
  inboundUpdates(type: 'config' | 'eds' | 'svc'): Counter;
}

/** @param version of the control plane, as label. */
export function pilotMetrics(registry: MetricsRegistry, version: string): PilotMetrics {
  registry.gauge('pilot_info', { version }, 'Pilot version and build information.').set(1);
  return {
    connected: registry.gauge(
      'pilot_xds',
      { version },
      'Number of endpoints connected to this pilot using XDS.',
    ),
    services: registry.gauge('pilot_services', {}, 'Total services known to pilot.'),
    virtualServices: registry.gauge('pilot_virt_services', {}, 'Total virtual services known to pilot.'),
    uptime: registry.gauge('istiod_uptime_seconds', {}, 'Seconds since the control plane started.'),
    convergence: registry.histogram(
      'pilot_proxy_convergence_time',
      {},
      'Delay in seconds between config change and a proxy receiving all required configuration.',
      convergenceBounds,
    ),
    queueTime: registry.histogram(
      'pilot_proxy_queue_time',
      {},
      'Time in seconds, a proxy is in the push queue before being dequeued.',
      convergenceBounds,
    ),
    debounceTime: registry.histogram(
      'pilot_debounce_time',
      {},
      'Delay in seconds between the first config enters debouncing and the merged push request is pushed.',
      shortBounds,
    ),
    contextTime: registry.histogram(
      'pilot_pushcontext_init_seconds',
      {},
      'Total time in seconds Pilot takes to init pushContext.',
      shortBounds,
    ),
    internalErrors: registry.counter(
      'pilot_total_xds_internal_errors',
      {},
      'Total number of internal XDS errors in pilot.',
    ),
    pushes: (typeUrl) =>
      registry.counter('pilot_xds_pushes', { type: label(typeUrl) }, 'Pilot build and send per type.'),
    pushTime: (typeUrl) =>
      registry.histogram(
        'pilot_xds_push_time',
        { type: label(typeUrl) },
        'Total time in seconds Pilot takes to push a type.',
        shortBounds,
      ),
    configSize: (typeUrl) =>
      registry.histogram(
        'pilot_xds_config_size_bytes',
        { type: typeUrl },
        'Distribution of configuration sizes pushed to clients.',
        sizeBounds,
      ),
    reject: (typeUrl) =>
      registry.counter(
        'pilot_total_xds_rejects',
        { type: label(typeUrl) },
        'Responses that proxies refused.',
      ),
    trigger: (reason) =>
      registry.counter('pilot_push_triggers', { type: reason }, 'Times a push was triggered, by reason.'),
    inboundUpdates: (type) =>
      registry.counter('pilot_inbound_updates', { type }, 'Updates received by pilot.'),
  };
}
