/** `envoy.filters.http.local_ratelimit`: answers 429 to requests for which a token bucket holds no token. */
import type { Counter } from '#telemetry/metrics.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { HeaderRules } from '../../../http/header_rules.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import type { Share } from '../../../network/runtime_fraction.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import { type DescriptorSource, requestDescriptors } from '../../ratelimit/request_descriptors.ts';
import type { TokenBucket } from '../../ratelimit/token_bucket.ts';
import { Limiter, type LimiterSettings } from './limiter.ts';

/** A configuration of the filter, or of a route in its place. */
export interface LocalRateLimitPlace {
  readonly enabled: Share;
  readonly enforced: Share;
  readonly status: number;
  readonly grpcStatus: number | undefined;
  readonly responseRules: HeaderRules | undefined;
  readonly notEnforcedRules: HeaderRules | undefined;
  readonly descriptors: DescriptorSource;
  readonly settings: LimiterSettings;
  /** Serves all connections; undefined when each has its own. */
  readonly limiter: Limiter | undefined;
  readonly xRateLimitHeaders: boolean;
  readonly retryAfter: boolean;
  readonly stats: LocalRateLimitStats;
}

export interface LocalRateLimitStats {
  readonly enabled: Counter;
  readonly ok: Counter;
  readonly rateLimited: Counter;
  readonly enforced: Counter;
  readonly shadowMode: Counter;
}

/** What the filters of one chain share. */
export interface LocalRateLimitShared {
  /** Key of `typed_per_filter_config`. */
  readonly filterName: string;
  /** Undefined for a filter that only routes switch on. */
  readonly place: LocalRateLimitPlace | undefined;
  random(): number;
}

/** Limiters of connections, gone when the connection is. */
const ofConnection = new WeakMap<object, Map<LocalRateLimitPlace, Limiter>>();
/** Places that one connection may meet: one per route. */
const maxPlacesOfConnection = 64;

function connectionLimiter(connection: object, place: LocalRateLimitPlace): Limiter {
  let limiters = ofConnection.get(connection);
  if (limiters === undefined) ofConnection.set(connection, (limiters = new Map()));
  let limiter = limiters.get(place);
  if (limiter === undefined) {
    if (limiters.size >= maxPlacesOfConnection) limiters.clear();
    limiters.set(place, (limiter = new Limiter(place.settings, undefined, '')));
  }
  return limiter;
}

export class LocalRateLimitFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: LocalRateLimitShared;
  /** The bucket that response headers tell of. */
  #bucket: TokenBucket | undefined = undefined;

  constructor(callbacks: FilterCallbacks, shared: LocalRateLimitShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const callbacks = this.#callbacks;
    const route = callbacks.route() as RouteEntry | undefined;
    const { filterName, place: own } = this.#shared;
    const place = (route?.perFilterConfig(filterName) as LocalRateLimitPlace | undefined) ?? own;
    if (place === undefined || !this.#draw(place.enabled())) return FilterStatus.continue;
    const { stats } = place;
    stats.enabled.value++;
    const info = callbacks.streamInfo;
    const limiter = place.limiter ?? connectionLimiter(info.connection, place);
    const descriptors =
      place.settings.rules.length === 0
        ? undefined
        : requestDescriptors(place.descriptors, route, headers, info);
    const { allowed, shadow, bucket, xRateLimit } = limiter.ask(descriptors);
    if (xRateLimit ?? place.xRateLimitHeaders) this.#bucket = bucket;
    if (allowed) {
      stats.ok.value++;
      return FilterStatus.continue;
    }
    stats.rateLimited.value++;
    if (shadow) {
      stats.shadowMode.value++;
      return FilterStatus.continue;
    }
    if (!this.#draw(place.enforced())) {
      place.notEnforcedRules?.apply(headers, { info, request: headers, response: undefined });
      return FilterStatus.continue;
    }
    stats.enforced.value++;
    const { responseRules, grpcStatus, retryAfter } = place;
    callbacks.sendLocalReply({
      status: place.status,
      body: 'local_rate_limited',
      details: 'local_rate_limited',
      flags: ResponseFlag.rateLimited,
      ...(grpcStatus === undefined ? {} : { grpcStatus }),
      modifyHeaders: (response) => {
        if (retryAfter && place.status === 429 && bucket !== undefined)
          response.set('retry-after', String(Math.ceil(bucket.secondsToNextToken())));
        responseRules?.apply(response, { info, request: headers, response });
      },
    });
    return FilterStatus.stopIteration;
  }

  #draw(share: number): boolean {
    return share >= 1 || (share > 0 && this.#shared.random() < share);
  }

  encodeHeaders(headers: ResponseHeaderMap): FilterStatus {
    const bucket = this.#bucket;
    if (bucket === undefined) return FilterStatus.continue;
    headers.set('x-ratelimit-limit', String(bucket.settings.maxTokens));
    headers.set('x-ratelimit-remaining', String(Math.floor(bucket.remaining())));
    headers.set('x-ratelimit-reset', String(Math.ceil(bucket.secondsToNextToken())));
    return FilterStatus.continue;
  }
}
