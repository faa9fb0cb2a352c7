/** Fault injection: delays and aborts of a share of the requests (envoy.extensions.filters.http.fault.v3.HTTPFault). */
import type { HTTPFault } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import type { FractionalPercent } from '#api/gen/envoy/type/v3/percent_pb.ts';
import type { Counter, Gauge } from '#telemetry/metrics.ts';
import { FilterStatus, type FilterCallbacks, type HttpFilter } from '../../../http/filter.ts';
import { compileHeaderMatcher, type HeaderPredicate } from '../../../http/header_matcher.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { durationMs } from '../../../network/duration.ts';
import type { RuntimeValues } from '../../../network/runtime.ts';
import { fractionOf } from '../../../network/runtime_fraction.ts';
import { workerTimers, type TimerHandle } from '../../../network/timer_wheel.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';

/** How often a fault happens. */
interface Share {
  /** 0 to 1, before key and header are asked. */
  readonly share: number;
  readonly runtimeKey: string;
  /** What a percentage of a header is out of; 0 where headers have no say. */
  readonly outOf: number;
}

interface Delay extends Share {
  /** Undefined: a header says how long. */
  readonly ms: number | undefined;
  readonly durationKey: string;
}

interface Abort extends Share {
  readonly kind: 'http' | 'grpc' | 'header';
  /** HTTP or gRPC status. */
  readonly status: number;
  readonly httpKey: string;
  readonly grpcKey: string;
  readonly body: string;
}

/** Faults of one place (filter, virtual host or route), ready to be applied. */
export interface FaultSettings {
  readonly delay: Delay | undefined;
  readonly abort: Abort | undefined;
  readonly headers: readonly HeaderPredicate[];
  /** Only requests for this cluster; empty: all. */
  readonly upstreamCluster: string;
  /** Only requests from these nodes (x-envoy-downstream-service-node); empty: all. */
  readonly downstreamNodes: readonly string[];
  readonly maxActiveFaults: number;
  readonly maxActiveKey: string;
}

/** What the filters of one chain share. */
export interface FaultShared {
  readonly filterName: string;
  /** Faults of requests whose route has none of its own. */
  readonly own: FaultSettings;
  readonly runtime: RuntimeValues;
  /** Faults under way. */
  readonly active: Gauge;
  readonly aborts: Counter;
  readonly delays: Counter;
  readonly overflow: Counter;
  random(): number;
}

const abortBody = 'fault filter abort';

function shareOf(percentage: FractionalPercent | undefined, runtimeKey: string, byHeader: boolean): Share {
  const outOf = [100, 10_000, 1_000_000][percentage?.denominator ?? 0] ?? 100;
  return { share: fractionOf(percentage), runtimeKey, outOf: byHeader ? outOf : 0 };
}

function orElse(key: string, fallback: string): string {
  return key === '' ? fallback : key;
}

/** @throws Error that names the part which is not supported. */
export function compileFault(config: HTTPFault): FaultSettings {
  const { delay, abort } = config;
  if (config.responseRateLimit !== undefined) throw new Error('fault: response_rate_limit is not supported');
  const delayed = delay?.faultDelaySecifier;
  const error = abort?.errorType;
  return {
    delay:
      delay === undefined || delayed?.case === undefined
        ? undefined
        : {
            ...shareOf(
              delay.percentage,
              orElse(config.delayPercentRuntime, 'fault.http.delay.fixed_delay_percent'),
              delayed.case === 'headerDelay',
            ),
            ms: delayed.case === 'fixedDelay' ? durationMs(delayed.value) : undefined,
            durationKey: orElse(config.delayDurationRuntime, 'fault.http.delay.fixed_duration_ms'),
          },
    abort:
      abort === undefined || error?.case === undefined
        ? undefined
        : {
            ...shareOf(
              abort.percentage,
              orElse(config.abortPercentRuntime, 'fault.http.abort.abort_percent'),
              error.case === 'headerAbort',
            ),
            kind: error.case === 'httpStatus' ? 'http' : error.case === 'grpcStatus' ? 'grpc' : 'header',
            status: typeof error.value === 'number' ? error.value : 0,
            httpKey: orElse(config.abortHttpStatusRuntime, 'fault.http.abort.http_status'),
            grpcKey: orElse(config.abortGrpcStatusRuntime, 'fault.http.abort.grpc_status'),
            body: abort.responseBody === '' ? abortBody : abort.responseBody,
          },
    headers: config.headers.map(compileHeaderMatcher),
    upstreamCluster: config.upstreamCluster,
    downstreamNodes: config.downstreamNodes,
    maxActiveFaults: config.maxActiveFaults ?? Number.POSITIVE_INFINITY,
    maxActiveKey: orElse(config.maxActiveFaultsRuntime, 'fault.http.max_active_faults'),
  };
}

/** A whole number in a header; undefined when it is absent or something else. */
function numberIn(headers: RequestHeaderMap, name: string): number | undefined {
  const text = headers.getFirst(name);
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** What an abort answers with. */
interface AbortStatus {
  readonly http: number;
  readonly grpc: number | undefined;
}

export class FaultFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: FaultShared;
  #timer: TimerHandle | undefined;
  #counted = false;

  constructor(callbacks: FilterCallbacks, shared: FaultShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const { filterName, own } = this.#shared;
    const route = this.#callbacks.route();
    const settings = (route?.perFilterConfig(filterName) as FaultSettings | undefined) ?? own;
    // Most requests meet no faults at all: they pass at the cost of one look.
    if (settings.delay === undefined && settings.abort === undefined) return FilterStatus.continue;
    if (settings.upstreamCluster !== '' && route?.clusterName !== settings.upstreamCluster)
      return FilterStatus.continue;
    if (
      settings.downstreamNodes.length > 0 &&
      !settings.downstreamNodes.includes(headers.getFirst('x-envoy-downstream-service-node') ?? '')
    )
      return FilterStatus.continue;
    for (const matches of settings.headers) if (!matches(headers)) return FilterStatus.continue;
    const delayMs = this.#delayMs(settings.delay, headers);
    if (delayMs > 0 && this.#take(settings)) {
      this.#shared.delays.inc();
      this.#callbacks.streamInfo.responseFlags |= ResponseFlag.delayInjected;
      this.#timer = workerTimers.schedule(delayMs, () => {
        this.#timer = undefined;
        if (!this.#mayAbort(settings, headers)) this.#callbacks.continueDecoding();
      });
      return FilterStatus.stopIteration;
    }
    return this.#mayAbort(settings, headers) ? FilterStatus.stopIteration : FilterStatus.continue;
  }

  /** A place among the faults under way; a request takes one, however many faults it meets. */
  #take(settings: FaultSettings): boolean {
    if (this.#counted) return true;
    const { active, overflow, runtime } = this.#shared;
    if (active.value >= runtime.number(settings.maxActiveKey, settings.maxActiveFaults)) {
      overflow.inc();
      return false;
    }
    active.add(1);
    this.#counted = true;
    return true;
  }

  #draw({ share, runtimeKey, outOf }: Share, headers: RequestHeaderMap, percentageHeader: string): boolean {
    const { runtime, random } = this.#shared;
    let wanted = share;
    const asked = outOf > 0 ? numberIn(headers, percentageHeader) : undefined;
    // A header asks for less than is allowed, never for more.
    if (asked !== undefined) wanted = Math.min(asked / outOf, share);
    wanted = runtime.share(runtimeKey) ?? wanted;
    return wanted >= 1 || (wanted > 0 && random() < wanted);
  }

  /** 0 for no delay. */
  #delayMs(delay: Delay | undefined, headers: RequestHeaderMap): number {
    if (delay === undefined) return 0;
    if (!this.#draw(delay, headers, 'x-envoy-fault-delay-request-percentage')) return 0;
    const ms = delay.ms ?? numberIn(headers, 'x-envoy-fault-delay-request');
    return ms === undefined ? 0 : this.#shared.runtime.number(delay.durationKey, ms);
  }

  /** True when the request was answered. */
  #mayAbort(settings: FaultSettings, headers: RequestHeaderMap): boolean {
    const { abort } = settings;
    if (abort === undefined) return false;
    if (!this.#draw(abort, headers, 'x-envoy-fault-abort-request-percentage')) return false;
    const status = this.#abortStatus(abort, headers);
    if (status === undefined || !this.#take(settings)) return false;
    this.#shared.aborts.inc();
    this.#callbacks.sendLocalReply({
      status: status.http,
      body: abort.body,
      details: 'fault_filter_abort',
      flags: ResponseFlag.faultInjected,
      ...(status.grpc === undefined ? {} : { grpcStatus: status.grpc }),
    });
    return true;
  }

  #abortStatus(abort: Abort, headers: RequestHeaderMap): AbortStatus | undefined {
    const { runtime } = this.#shared;
    const http = abort.kind === 'http' ? abort.status : httpStatusIn(abort, headers);
    if (http !== undefined) return { http: runtime.number(abort.httpKey, http), grpc: undefined };
    const grpc = abort.kind === 'grpc' ? abort.status : numberIn(headers, 'x-envoy-fault-abort-grpc-request');
    return grpc === undefined ? undefined : { http: 200, grpc: runtime.number(abort.grpcKey, grpc) };
  }

  onDestroy(): void {
    if (this.#timer !== undefined) workerTimers.cancel(this.#timer);
    if (this.#counted) this.#shared.active.add(-1);
  }
}

function httpStatusIn(abort: Abort, headers: RequestHeaderMap): number | undefined {
  if (abort.kind !== 'header') return undefined;
  const status = numberIn(headers, 'x-envoy-fault-abort-request');
  return status !== undefined && status >= 200 && status < 600 ? status : undefined;
}
