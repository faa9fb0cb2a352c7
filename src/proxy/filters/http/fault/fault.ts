/** One request in the fault filter: perhaps wait, perhaps fail (envoy Fault::FaultFilter). */
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import { grpcToHttpStatus } from '../../../http/grpc.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import type { FaultConfig } from './config.ts';

/** What all requests of a chain share. */
export interface FaultShared {
  readonly config: FaultConfig;
  /** Key of the route's own configuration. */
  readonly filterName: string;
  /** In [0, 1). */
  random(): number;
  /** Faults going on. */
  active: number;
}

function onDelayOver(filter: FaultFilter): void {
  filter.onDelayOver();
}

function numberHeader(headers: RequestHeaderMap, name: string): number | undefined {
  const value = headers.getFirst(name);
  return value !== undefined && /^\d{1,9}$/.test(value) ? Number(value) : undefined;
}

export class FaultFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: FaultShared;
  #config: FaultConfig;
  #headers: RequestHeaderMap | undefined = undefined;
  #timer: TimerHandle | undefined = undefined;
  #counted = false;

  constructor(callbacks: FilterCallbacks, shared: FaultShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
    this.#config = shared.config;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const route = this.#callbacks.route();
    const own = route?.perFilterConfig(this.#shared.filterName) as FaultConfig | undefined;
    if (own !== undefined) this.#config = own;
    const config = this.#config;
    if (config.delay === undefined && config.abort === undefined) return FilterStatus.continue;
    if (config.upstreamCluster !== '' && config.upstreamCluster !== route?.clusterName)
      return FilterStatus.continue;
    if (config.headers !== undefined && !config.headers(headers)) return FilterStatus.continue;
    const node = headers.getFirst('x-envoy-downstream-service-node') ?? '';
    if (config.downstreamNodes.length > 0 && !config.downstreamNodes.includes(node))
      return FilterStatus.continue;
    this.#headers = headers;
    const delayMs = this.#delayMs(headers);
    if (delayMs > 0 && this.#begin()) {
      this.#callbacks.streamInfo.responseFlags |= ResponseFlag.delayInjected;
      this.#timer = workerTimers.schedule(delayMs, onDelayOver, this as FaultFilter);
      return FilterStatus.stopIteration;
    }
    return this.#abort(headers) ? FilterStatus.stopIteration : FilterStatus.continue;
  }

  /** Counts a fault when one more fits. */
  #begin(): boolean {
    if (this.#counted) return true;
    const { maxActive } = this.#config;
    if (maxActive !== undefined && this.#shared.active >= maxActive) return false;
    this.#shared.active++;
    this.#counted = true;
    return true;
  }

  /** True with the configured share; a header may only make it smaller. */
  #strikes(fraction: number, headers: RequestHeaderMap, percentageHeader: string | undefined): boolean {
    const asked = percentageHeader === undefined ? undefined : numberHeader(headers, percentageHeader);
    const share = asked === undefined ? fraction : Math.min(fraction, asked / 100);
    return share > 0 && this.#shared.random() < share;
  }

  #delayMs(headers: RequestHeaderMap): number {
    const { delay } = this.#config;
    if (delay === undefined) return 0;
    if (delay.kind === 'fixed') return this.#strikes(delay.fraction, headers, undefined) ? delay.ms : 0;
    const ms = numberHeader(headers, 'x-envoy-fault-delay-request');
    if (ms === undefined) return 0;
    return this.#strikes(delay.fraction, headers, 'x-envoy-fault-delay-request-percentage') ? ms : 0;
  }

  /** Answers in place of the upstream when the abort strikes. */
  #abort(headers: RequestHeaderMap): boolean {
    const { abort, abortBody } = this.#config;
    if (abort === undefined) return false;
    let httpStatus: number | undefined;
    let grpcStatus: number | undefined;
    if (abort.kind === 'http') httpStatus = abort.status;
    else if (abort.kind === 'grpc') grpcStatus = abort.status;
    else {
      const asked = numberHeader(headers, 'x-envoy-fault-abort-request');
      if (asked !== undefined && asked >= 200 && asked < 600) httpStatus = asked;
      else grpcStatus = numberHeader(headers, 'x-envoy-fault-abort-grpc-request');
    }
    if (httpStatus === undefined && grpcStatus === undefined) return false;
    const percentageHeader = abort.kind === 'header' ? 'x-envoy-fault-abort-request-percentage' : undefined;
    if (!this.#strikes(abort.fraction, headers, percentageHeader) || !this.#begin()) return false;
    this.#callbacks.sendLocalReply({
      status: httpStatus ?? grpcToHttpStatus(grpcStatus ?? 2),
      body: abortBody === '' ? 'fault filter abort' : abortBody,
      details: 'fault_filter_abort',
      flags: ResponseFlag.faultInjected,
      ...(grpcStatus === undefined ? {} : { grpcStatus }),
    });
    return true;
  }

  onDelayOver(): void {
    this.#timer = undefined;
    if (!this.#abort(this.#headers as RequestHeaderMap)) this.#callbacks.continueDecoding();
  }

  onDestroy(): void {
    workerTimers.cancel(this.#timer);
    if (this.#counted) this.#shared.active--;
  }
}
