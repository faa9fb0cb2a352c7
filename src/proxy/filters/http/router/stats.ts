/** Counters of a router (envoy `http.<stat_prefix>.`), bound once. */
import type { Counter, MetricsRegistry } from '#telemetry/metrics.ts';

export class RouterStats {
  readonly rqTotal: Counter;
  readonly noRoute: Counter;
  readonly noCluster: Counter;
  readonly rqRedirect: Counter;
  readonly rqDirectResponse: Counter;

  constructor(metrics: MetricsRegistry, prefix: string) {
    const counter = (name: string): Counter =>
      metrics.counter(`envoy_http_${name}`, { envoy_http_conn_manager_prefix: prefix });
    this.rqTotal = counter('rq_total');
    this.noRoute = counter('no_route');
    this.noCluster = counter('no_cluster');
    this.rqRedirect = counter('rq_redirect');
    this.rqDirectResponse = counter('rq_direct_response');
  }
}
