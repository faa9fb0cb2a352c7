/** Counters of a connection manager (envoy http.<stat_prefix>.*), bound once. */
import type { Counter, Gauge, Histogram, MetricsRegistry } from '#telemetry/metrics.ts';

export class HcmStats {
  readonly cxTotal: Counter;
  readonly cxActive: Gauge;
  readonly cxHttp1Total: Counter;
  readonly cxHttp2Total: Counter;
  readonly cxProtocolError: Counter;
  readonly cxIdleTimeout: Counter;
  readonly cxDestroyRemoteActiveRq: Counter;
  readonly cxDrainClose: Counter;
  readonly cxOverloadDisableKeepalive: Counter;
  readonly rqTotal: Counter;
  readonly rqActive: Gauge;
  readonly rqTime: Histogram;
  readonly rqIdleTimeout: Counter;
  readonly rqCompleted: Counter;
  readonly rqTimeout: Counter;
  readonly rqMaxDurationReached: Counter;
  readonly rqOverloadClose: Counter;
  readonly rqHeaderTimeout: Counter;
  /** By the first digit of the status; index 0 is unused. */
  readonly rqByClass: readonly Counter[];

  constructor(metrics: MetricsRegistry, prefix: string) {
    const labels = { envoy_http_conn_manager_prefix: prefix };
    const counter = (name: string): Counter => metrics.counter(`envoy_http_${name}`, labels);
    this.cxTotal = counter('downstream_cx_total');
    this.cxActive = metrics.gauge('envoy_http_downstream_cx_active', labels);
    this.cxHttp1Total = counter('downstream_cx_http1_total');
    this.cxHttp2Total = counter('downstream_cx_http2_total');
    this.cxProtocolError = counter('downstream_cx_protocol_error');
    this.cxIdleTimeout = counter('downstream_cx_idle_timeout');
    this.cxDestroyRemoteActiveRq = counter('downstream_cx_destroy_remote_active_rq');
    this.cxDrainClose = counter('downstream_cx_drain_close');
    this.cxOverloadDisableKeepalive = counter('downstream_cx_overload_disable_keepalive');
    this.rqTotal = counter('downstream_rq_total');
    this.rqActive = metrics.gauge('envoy_http_downstream_rq_active', labels);
    this.rqTime = metrics.histogram('envoy_http_downstream_rq_time', labels);
    this.rqIdleTimeout = counter('downstream_rq_idle_timeout');
    this.rqCompleted = counter('downstream_rq_completed');
    this.rqTimeout = counter('downstream_rq_timeout');
    this.rqHeaderTimeout = counter('downstream_rq_header_timeout');
    this.rqOverloadClose = counter('downstream_rq_overload_close');
    this.rqMaxDurationReached = counter('downstream_rq_max_duration_reached');
    this.rqByClass = ['0', '1', '2', '3', '4', '5'].map((digit) =>
      metrics.counter('envoy_http_downstream_rq_xx', { ...labels, envoy_response_code_class: digit }),
    );
  }
}
