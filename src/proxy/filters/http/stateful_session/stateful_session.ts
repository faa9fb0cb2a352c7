/** `envoy.filters.http.stateful_session`: requests of one client go to one host, whose address the client brings along. */
import type { Counter } from '#telemetry/metrics.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { formatAddress } from '../../../network/address.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import type { SessionState } from './session_state.ts';

/** Counted where the configuration has a `stat_prefix`. */
export interface SessionStats {
  /** Went to the host of the session. */
  readonly routed: Counter;
  /** Went to another host, or began a session. */
  readonly failedOpen: Counter;
  /** Refused: no other host would do. */
  readonly failedClosed: Counter;
  /** The session state does not apply to the request. */
  readonly noSession: Counter;
}

/** A configuration of the filter, or of a route. */
export interface SessionPolicy {
  /** Undefined where sessions are switched off. */
  readonly state: SessionState | undefined;
  readonly strict: boolean;
  readonly missingStatus: number;
  readonly stats: SessionStats | undefined;
}

export class StatefulSessionFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #filterName: string;
  #policy: SessionPolicy;
  #active = false;
  #address: string | undefined = undefined;

  constructor(callbacks: FilterCallbacks, filterName: string, policy: SessionPolicy) {
    this.#callbacks = callbacks;
    this.#filterName = filterName;
    this.#policy = policy;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const info = this.#callbacks.streamInfo;
    // What the request asked for before an internal redirect.
    info.overrideHost = undefined;
    const route = this.#callbacks.route();
    const policy = (route?.perFilterConfig(this.#filterName) as SessionPolicy | undefined) ?? this.#policy;
    this.#policy = policy;
    const { state, strict, missingStatus, stats } = policy;
    if (state?.appliesTo(headers) !== true) {
      if (stats !== undefined) stats.noSession.value++;
      return FilterStatus.continue;
    }
    this.#active = true;
    const address = state.addressOf(headers);
    this.#address = address;
    if (address !== undefined) info.overrideHost = { address, strict, missingStatus };
    return FilterStatus.continue;
  }

  encodeHeaders(headers: ResponseHeaderMap): FilterStatus {
    if (!this.#active) return FilterStatus.continue;
    const { state, strict, stats } = this.#policy;
    const info = this.#callbacks.streamInfo;
    const host = info.upstream?.hostAddress;
    if (host === undefined) {
      const refused = strict && (info.responseFlags & ResponseFlag.noHealthyUpstream) !== 0;
      if (refused && stats !== undefined) stats.failedClosed.value++;
      return FilterStatus.continue;
    }
    const address = formatAddress(host);
    if (address === this.#address) {
      if (stats !== undefined) stats.routed.value++;
      return FilterStatus.continue;
    }
    if (stats !== undefined && !strict) stats.failedOpen.value++;
    state?.write(address, headers);
    return FilterStatus.continue;
  }
}
