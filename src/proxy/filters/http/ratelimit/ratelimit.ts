/** `envoy.filters.http.ratelimit`: asks a rate limit service (RLS v3) about the descriptors of each request. */
import { create, type JsonObject, type MessageInitShape } from '@bufbuild/protobuf';
import {
  RateLimitDescriptor_EntrySchema,
  RateLimitDescriptor_RateLimitOverrideSchema,
  RateLimitDescriptorSchema,
} from '#api/gen/envoy/extensions/common/ratelimit/v3/ratelimit_pb.ts';
import {
  type RateLimitRequestSchema,
  type RateLimitResponse,
  RateLimitResponse_Code as Code,
  RateLimitService,
} from '#api/gen/envoy/service/ratelimit/v3/rls_pb.ts';
import type { Counter } from '#telemetry/metrics.ts';
import { type FilterCallbacks, FilterStatus, type HttpFilter } from '../../../http/filter.ts';
import type { HeaderRules } from '../../../http/header_rules.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { rateLimitedGrpcStatus } from '../../../http/local_reply.ts';
import type { Share } from '../../../network/runtime_fraction.ts';
import type { Descriptor } from '../../../router/rate_limit_policy.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import { GrpcCall, type GrpcTarget } from '../../../upstream/async_client/grpc_call.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { type DescriptorSource, requestDescriptors } from '../../ratelimit/request_descriptors.ts';
import { xRateLimitHeaders } from './x_ratelimit_headers.ts';

/** Name of its dynamic metadata. */
export const rateLimitName = 'envoy.filters.http.ratelimit';

/** Counters under the cluster that the request was for. */
export interface ClusterRateLimitStats {
  readonly ok: Counter;
  readonly overLimit: Counter;
  readonly error: Counter;
  readonly failureModeAllowed: Counter;
}

/** `RateLimitPerRoute`, compiled. */
export interface RouteRateLimit {
  /** Empty leaves the filter's. */
  readonly domain: string;
  readonly descriptors: Pick<DescriptorSource, 'own' | 'hostPolicies'>;
}

/** What the filters of one chain share. */
export interface RateLimitShared {
  readonly filterName: string;
  readonly clusters: ClusterManager;
  readonly target: GrpcTarget;
  readonly domain: string;
  readonly descriptors: DescriptorSource;
  readonly requestType: 'internal' | 'external' | 'both';
  readonly enabled: Share;
  readonly enforced: Share;
  readonly failureModeDeny: Share;
  readonly status: number;
  readonly statusOnError: number;
  readonly grpcStatus: number | undefined;
  readonly responseRules: HeaderRules | undefined;
  readonly rateLimitedHeader: boolean;
  readonly xRateLimitHeaders: boolean;
  readonly retryAfter: boolean;
  readonly metadataNamespace: string;
  stats(cluster: string): ClusterRateLimitStats;
  random(): number;
}

const State = { begin: 0, asking: 1, done: 2 } as const;
type State = (typeof State)[keyof typeof State];

type Pair = readonly [name: string, value: string];
const noPairs: readonly Pair[] = [];

const fieldName = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Headers that a service adds; what could not be one is left out. */
function pairsOf(headers: RateLimitResponse['requestHeadersToAdd']): readonly Pair[] {
  if (headers.length === 0) return noPairs;
  return headers.flatMap(({ key, value, rawValue }): Pair[] => {
    const text = rawValue.length > 0 ? Buffer.from(rawValue).toString('latin1') : value;
    return fieldName.test(key) && fieldValue.test(text) ? [[key.toLowerCase(), text]] : [];
  });
}

function requestOf(
  domain: string,
  descriptors: readonly Descriptor[],
): MessageInitShape<typeof RateLimitRequestSchema> {
  return {
    domain,
    descriptors: descriptors.map(({ entries, limit, hits }) =>
      create(RateLimitDescriptorSchema, {
        entries: entries.map((entry) => create(RateLimitDescriptor_EntrySchema, entry)),
        ...(limit === undefined
          ? {}
          : { limit: create(RateLimitDescriptor_RateLimitOverrideSchema, { ...limit }) }),
        ...(hits === undefined ? {} : { hitsAddend: BigInt(hits) }),
      }),
    ),
  };
}

export class RateLimitFilter implements HttpFilter {
  readonly #callbacks: FilterCallbacks;
  readonly #shared: RateLimitShared;
  #state: State = State.begin;
  #call: { cancel(): void } | undefined = undefined;
  #inCall = false;
  #passed = false;
  /** Added to the response, whoever makes it. */
  #responseHeaders: readonly Pair[] = noPairs;
  /** Counted when the response is complete. */
  #late: readonly Descriptor[] | undefined = undefined;
  #domain = '';

  constructor(callbacks: FilterCallbacks, shared: RateLimitShared) {
    this.#callbacks = callbacks;
    this.#shared = shared;
  }

  decodeHeaders(headers: RequestHeaderMap): FilterStatus {
    const shared = this.#shared;
    const callbacks = this.#callbacks;
    const route = callbacks.route() as RouteEntry | undefined;
    const own = route?.perFilterConfig(shared.filterName) as RouteRateLimit | undefined;
    if (!this.#wants(headers) || !this.#draw(shared.enabled())) return this.#pass();
    const source =
      own === undefined
        ? shared.descriptors
        : {
            ...shared.descriptors,
            own: own.descriptors.own.length > 0 ? own.descriptors.own : shared.descriptors.own,
            hostPolicies: own.descriptors.hostPolicies,
          };
    const info = callbacks.streamInfo;
    this.#domain = own === undefined || own.domain === '' ? shared.domain : own.domain;
    const late = requestDescriptors(source, route, headers, info, true);
    if (late.length > 0) this.#late = late;
    const descriptors = requestDescriptors(source, route, headers, info);
    if (descriptors.length === 0) return this.#pass();
    this.#state = State.asking;
    this.#inCall = true;
    const call = new GrpcCall(
      shared.target,
      RateLimitService.method.shouldRateLimit,
      requestOf(this.#domain, descriptors),
      {
        onResponse: (response) => this.#onAnswer(response, descriptors),
        onFailure: () => this.#onFailure(),
      },
      info.connection,
    );
    this.#call = call;
    call.start(shared.clusters);
    this.#inCall = false;
    if (this.#asking()) return FilterStatus.stopAndPause;
    return this.#passed ? FilterStatus.continue : FilterStatus.stopIteration;
  }

  #wants(headers: RequestHeaderMap): boolean {
    const { requestType } = this.#shared;
    if (requestType === 'both') return true;
    return (headers.getFirst('x-envoy-internal') === 'true') === (requestType === 'internal');
  }

  #draw(share: number): boolean {
    return share >= 1 || (share > 0 && this.#shared.random() < share);
  }

  #pass(): FilterStatus {
    this.#state = State.done;
    return FilterStatus.continue;
  }

  #asking(): boolean {
    return this.#state === State.asking;
  }

  decodeData(): FilterStatus {
    return this.#state === State.asking ? FilterStatus.stopAndPause : FilterStatus.continue;
  }

  decodeTrailers(): FilterStatus {
    return this.#state === State.asking ? FilterStatus.stopIteration : FilterStatus.continue;
  }

  #stats(): ClusterRateLimitStats | undefined {
    const cluster = this.#callbacks.streamInfo.clusterStatName;
    return cluster === '' ? undefined : this.#shared.stats(cluster);
  }

  #end(): void {
    this.#call = undefined;
    this.#state = State.done;
  }

  #continue(): void {
    this.#passed = true;
    if (!this.#inCall) this.#callbacks.continueDecoding();
  }

  #onAnswer(response: RateLimitResponse, descriptors: readonly Descriptor[]): void {
    this.#end();
    const shared = this.#shared;
    const callbacks = this.#callbacks;
    if (response.dynamicMetadata !== undefined)
      callbacks.streamInfo.setDynamicMetadata(
        shared.metadataNamespace,
        response.dynamicMetadata satisfies JsonObject,
      );
    const shown = response.statuses.filter((_, i) => descriptors[i]?.xRateLimit ?? shared.xRateLimitHeaders);
    const limits = shown.length === 0 ? noPairs : xRateLimitHeaders(shown);
    const added = pairsOf(response.responseHeadersToAdd);
    this.#responseHeaders = limits.length === 0 ? added : [...limits, ...added];
    if (response.overallCode !== Code.OVER_LIMIT) {
      const stats = this.#stats();
      if (stats !== undefined) stats.ok.value++;
      this.#let(response);
      return;
    }
    const stats = this.#stats();
    if (stats !== undefined) stats.overLimit.value++;
    if (this.#draw(shared.enforced())) {
      this.#refuse(response);
      return;
    }
    if (shared.rateLimitedHeader)
      this.#responseHeaders = [['x-envoy-ratelimited', 'true'], ...this.#responseHeaders];
    this.#let(response);
  }

  #let(response: RateLimitResponse): void {
    const headers = this.#callbacks.requestHeaders();
    for (const [name, value] of pairsOf(response.requestHeadersToAdd)) headers?.add(name, value);
    this.#continue();
  }

  #refuse(response: RateLimitResponse): void {
    const { status, grpcStatus, rateLimitedHeader, responseRules, retryAfter } = this.#shared;
    const info = this.#callbacks.streamInfo;
    const request = this.#callbacks.requestHeaders();
    let wait = 0n;
    for (const { code, durationUntilReset } of response.statuses)
      if (code === Code.OVER_LIMIT && (durationUntilReset?.seconds ?? 0n) > wait)
        wait = durationUntilReset?.seconds ?? 0n;
    this.#callbacks.sendLocalReply({
      status,
      body: Buffer.from(response.rawBody).toString('utf8'),
      details: 'request_rate_limited',
      flags: ResponseFlag.rateLimited,
      ...(grpcStatus === undefined ? {} : { grpcStatus }),
      modifyHeaders: (headers) => {
        if (rateLimitedHeader) headers.add('x-envoy-ratelimited', 'true');
        if (retryAfter && status === 429 && wait > 0n) headers.set('retry-after', String(wait));
        responseRules?.apply(headers, { info, request, response: headers });
      },
    });
  }

  #onFailure(): void {
    this.#end();
    const shared = this.#shared;
    const stats = this.#stats();
    if (stats !== undefined) stats.error.value++;
    if (!this.#draw(shared.failureModeDeny())) {
      if (stats !== undefined) stats.failureModeAllowed.value++;
      this.#continue();
      return;
    }
    this.#callbacks.sendLocalReply({
      status: shared.statusOnError,
      body: '',
      details: 'rate_limiter_error',
      flags: ResponseFlag.rateLimitServiceError,
    });
  }

  encodeHeaders(headers: ResponseHeaderMap): FilterStatus {
    for (const [name, value] of this.#responseHeaders) headers.add(name, value);
    return FilterStatus.continue;
  }

  onDestroy(): void {
    this.#call?.cancel();
    this.#end();
    const late = this.#late;
    if (late === undefined) return;
    this.#late = undefined;
    const { target, clusters } = this.#shared;
    // Nobody waits for this answer.
    new GrpcCall(target, RateLimitService.method.shouldRateLimit, requestOf(this.#domain, late), {
      onResponse() {},
      onFailure() {},
    }).start(clusters);
  }
}

/** gRPC status of a refusal when it should read as exhausted. */
export const exhaustedStatus: number = rateLimitedGrpcStatus;
