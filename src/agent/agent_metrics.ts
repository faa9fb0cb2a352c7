/** `istio_agent_*` metrics of the process and of the identity. */
import type { MetricsRegistry } from '#telemetry/metrics.ts';

export interface AgentMetrics {
  readonly started: boolean;
  /** The proxy is ready for the first time. */
  markStarted(): void;
  /** Brings gauges up to date. */
  refresh(): void;
}

/** @param expiryMs end of the certificate in use, milliseconds since the epoch */
export function agentMetrics(registry: MetricsRegistry, expiryMs: () => number | undefined): AgentMetrics {
  let started = false;
  const gauge = (name: string, help: string, labels: Record<string, string> = {}) =>
    registry.gauge(`istio_agent_${name}`, labels, help);
  const cpu = registry.counter(
    'istio_agent_process_cpu_seconds_total',
    {},
    'CPU time of the process in seconds.',
  );
  const memory = gauge('process_resident_memory_bytes', 'Resident memory of the process in bytes.');
  const start = gauge('process_start_time_seconds', 'Start of the process in seconds since the epoch.');
  start.set(performance.timeOrigin / 1000);
  return {
    get started() {
      return started;
    },
    markStarted() {
      started = true;
      gauge('startup_duration_seconds', 'Time from the start of the process until the proxy was ready.').set(
        performance.now() / 1000,
      );
    },
    refresh() {
      const { user, system } = process.cpuUsage();
      cpu.value = (user + system) / 1e6;
      memory.set(process.memoryUsage.rss());
      const end = expiryMs();
      if (end === undefined) return;
      gauge('cert_expiry_seconds', 'Time until the certificate ends, in seconds.', {
        resource_name: 'default',
      }).set((end - Date.now()) / 1000);
    },
  };
}
