/** Fault injection: delays and aborts of a share of the requests (envoy.extensions.filters.http.fault.v3.HTTPFault). */
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { HTTPFault } from '#api/gen/envoy/extensions/filters/http/fault/v3/fault_pb.ts';
import type { FractionalPercent } from '#api/gen/envoy/type/v3/percent_pb.ts';
import { FractionalPercent_DenominatorType as Denominator } from '#api/gen/envoy/type/v3/percent_pb.ts';
import { FilterStatus, type FilterCallbacks, type HttpFilter } from '../../../http/filter.ts';
import { compileHeaderMatcher, type HeaderPredicate } from '../../../http/header_matcher.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { workerTimers, type TimerHandle } from '../../../network/timer_wheel.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';

/** Faults of one place (filter, virtual host or route), ready to be applied. Probabilities are 0 to 1. */
export interface FaultSettings {
  readonly delayMs: number;
  readonly delayProbability: number;
  /** 0: no abort. */
  readonly abortStatus: number;
  readonly abortGrpcStatus: number | undefined;
  readonly abortProbability: number;
  readonly abortBody: string;
  readonly headers: readonly HeaderPredicate[];
  /** Only requests for this cluster; empty: all. */
  readonly upstreamCluster: string;
  readonly maxActiveFaults: number;
}

/** Faults under way, shared by the filters of one chain. */
export interface FaultCount {
  active: number;
}

const abortBody = 'fault filter abort';

/** Share as a probability; absent is never. */
export function probabilityOf(percentage: FractionalPercent | undefined): number {
  if (percentage === undefined) return 0;
  const parts: Readonly<Record<number, number>> = {
    [Denominator.HUNDRED]: 100,
    [Denominator.TEN_THOUSAND]: 10_000,
    [Denominator.MILLION]: 1_000_000,
  };
  return percentage.numerator / (parts[percentage.denominator] ?? 100);
}

/** @throws Error that names the part which is not supported. */
export function compileFault(config: HTTPFault): FaultSettings {
  const { delay, abort } = config;
  if (delay?.faultDelaySecifier.case === 'headerDelay')
    throw new Error('fault: header_delay is not supported');
  if (abort?.errorType.case === 'headerAbort') throw new Error('fault: header_abort is not supported');
  if (config.responseRateLimit !== undefined) throw new Error('fault: response_rate_limit is not supported');
  if (config.downstreamNodes.length > 0) throw new Error('fault: downstream_nodes is not supported');
  const fixed = delay?.faultDelaySecifier.value;
  const error = abort?.errorType;
  return {
    delayMs: fixed === undefined ? 0 : durationMs(fixed),
    delayProbability: probabilityOf(delay?.percentage),
    abortStatus: error?.case === 'httpStatus' ? error.value : error?.case === 'grpcStatus' ? 200 : 0,
    abortGrpcStatus: error?.case === 'grpcStatus' ? error.value : undefined,
    abortProbability: probabilityOf(abort?.percentage),
    abortBody: abort === undefined || abort.responseBody === '' ? abortBody : abort.responseBody,
    headers: config.headers.map(compileHeaderMatcher),
    upstreamCluster: config.upstreamCluster,
    maxActiveFaults: config.maxActiveFaults ?? Number.POSITIVE_INFINITY,
  };
}

/** True when a route, or else the filter itself, has anything to inject: other requests pass at the cost of one look. */
function isIdle(settings: FaultSettings): boolean {
  return settings.delayProbability === 0 && settings.abortProbability === 0;
}

export class FaultFilter implements HttpFilter {
  readonly #own: FaultSettings;
  readonly #filterName: string;
  readonly #callbacks: FilterCallbacks;
  readonly #random: () => number;
  readonly #count: FaultCount;
  #timer: TimerHandle | undefined;
  #counted = false;

  constructor(
    own: FaultSettings,
    filterName: string,
    callbacks: FilterCallbacks,
    random: () => number,
    count: FaultCount,
  ) {
    this.#own = own;
    this.#filterName = filterName;
    this.#callbacks = callbacks;
    this.#random = random;
    this.#count = count;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const route = this.#callbacks.route();
    const settings = (route?.perFilterConfig(this.#filterName) as FaultSettings | undefined) ?? this.#own;
    if (isIdle(settings)) return FilterStatus.continue;
    if (settings.upstreamCluster !== '' && route?.clusterName !== settings.upstreamCluster)
      return FilterStatus.continue;
    for (const matches of settings.headers) if (!matches(headers)) return FilterStatus.continue;
    if (this.#count.active >= settings.maxActiveFaults) return FilterStatus.continue;
    const delays = settings.delayMs > 0 && this.#random() < settings.delayProbability;
    const aborts = settings.abortStatus > 0 && this.#random() < settings.abortProbability;
    if (!delays && !aborts) return FilterStatus.continue;
    this.#count.active++;
    this.#counted = true;
    if (!delays) {
      this.#abort(settings);
      return FilterStatus.stopIteration;
    }
    this.#callbacks.streamInfo.responseFlags |= ResponseFlag.delayInjected;
    this.#timer = workerTimers.schedule(settings.delayMs, () => {
      this.#timer = undefined;
      if (aborts) this.#abort(settings);
      else this.#callbacks.continueDecoding();
    });
    return FilterStatus.stopIteration;
  }

  #abort(settings: FaultSettings): void {
    this.#callbacks.sendLocalReply({
      status: settings.abortStatus,
      body: settings.abortBody,
      details: 'fault_filter_abort',
      flags: ResponseFlag.faultInjected,
      ...(settings.abortGrpcStatus === undefined ? {} : { grpcStatus: settings.abortGrpcStatus }),
    });
  }

  onDestroy(): void {
    if (this.#timer !== undefined) workerTimers.cancel(this.#timer);
    if (this.#counted) this.#count.active--;
  }
}
