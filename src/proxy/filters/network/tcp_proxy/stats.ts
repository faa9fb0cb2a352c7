/** Counters of a tcp_proxy (envoy tcp.<stat_prefix>.*), bound once per filter chain. */
import type { Counter, MetricsRegistry } from '#telemetry/metrics.ts';

export class TcpProxyStats {
  readonly cxTotal: Counter;
  readonly cxNoRoute: Counter;
  readonly rxBytes: Counter;
  readonly txBytes: Counter;
  readonly idleTimeout: Counter;
  readonly maxDuration: Counter;

  constructor(metrics: MetricsRegistry, prefix: string) {
    const labels = { tcp_prefix: prefix };
    const counter = (name: string): Counter => metrics.counter(`envoy_tcp_${name}`, labels);
    this.cxTotal = counter('downstream_cx_total');
    this.cxNoRoute = counter('downstream_cx_no_route');
    this.rxBytes = counter('downstream_cx_rx_bytes_total');
    this.txBytes = counter('downstream_cx_tx_bytes_total');
    this.idleTimeout = counter('idle_timeout');
    this.maxDuration = counter('max_downstream_connection_duration');
  }
}
