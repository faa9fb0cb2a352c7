/**
 * What a request knows of its attempts: how many are left, on what, which hosts were asked (envoy Router::RetryStateImpl).
 * The router extends it: a request without retries pays for no object.
 */
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import type { HeaderPredicate } from '../../../http/header_matcher.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import {
  emptyRetryPolicy,
  parseRetryOn,
  retryDelayMs,
  type RetryPolicy,
} from '../../../router/retry_policy.ts';
import type { ForwardAction } from '../../../router/route_entry.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { Cluster, Host } from '../../../upstream/upstream.ts';

/** Whether another attempt follows. */
export const RetryAnswer = { no: 0, yes: 1, limitExceeded: 2, overflow: 3 } as const;
export type RetryAnswer = (typeof RetryAnswer)[keyof typeof RetryAnswer];

/** For the router only; taken out of the request. */
const retryHeaders: readonly string[] = [
  'x-envoy-retry-on',
  'x-envoy-retry-grpc-on',
  'x-envoy-max-retries',
  'x-envoy-retriable-status-codes',
  'x-envoy-retriable-header-names',
  'x-envoy-hedge-on-per-try-timeout',
];

export abstract class RetryState {
  protected cluster: Cluster | undefined = undefined;
  protected action: ForwardAction | undefined = undefined;
  /** Bits of `RetryOn`; 0 for no retries. */
  protected retryOn = 0;
  protected retriesLeft = 0;
  protected retries = 0;
  protected policy: RetryPolicy = emptyRetryPolicy;
  protected statusCodes: readonly number[] = emptyRetryPolicy.retriableStatusCodes;
  protected retriableHeaders: readonly HeaderPredicate[] = emptyRetryPolicy.retriableHeaders;
  #retryTaken = false;
  #attempted: Host[] | undefined = undefined;
  /** Attempts that were forgotten when every priority had had its turn. */
  #forgotten = 0;
  triedPriorities = 0;

  get hostSelectionRetryCount(): number {
    return this.policy.hostSelectionMaxAttempts;
  }

  shouldSelectAnotherHost(host: Host): boolean {
    const attempted = this.#attempted;
    if (attempted === undefined) return false;
    for (const predicate of this.policy.hostPredicates) if (predicate(host, attempted)) return true;
    return false;
  }

  /** Reads the policy and the headers that change it. */
  protected setUpRetries(policy: RetryPolicy, headers: RequestHeaderMap): void {
    this.policy = policy;
    this.retryOn = policy.retryOn;
    this.retriesLeft = policy.numRetries;
    this.statusCodes = policy.retriableStatusCodes;
    this.retriableHeaders = policy.retriableHeaders;
    if (policy.retriableRequestHeaders !== undefined && !policy.retriableRequestHeaders(headers))
      this.retryOn = 0;
    if ((headers.seen & HeaderFlag.envoy) === 0) return;
    const on = headers.getFirst('x-envoy-retry-on');
    const grpcOn = headers.getFirst('x-envoy-retry-grpc-on');
    if (on !== undefined) this.retryOn |= parseRetryOn(on);
    if (grpcOn !== undefined) this.retryOn |= parseRetryOn(grpcOn);
    const max = headers.getFirst('x-envoy-max-retries');
    if (max !== undefined && /^\d{1,9}$/.test(max) && this.retryOn !== 0) this.retriesLeft = Number(max);
    const codes = headers.getFirst('x-envoy-retriable-status-codes');
    if (codes !== undefined)
      this.statusCodes = [...this.statusCodes, ...codes.split(',').map(Number).filter(Number.isInteger)];
    const names = headers.getFirst('x-envoy-retriable-header-names');
    if (names !== undefined)
      this.retriableHeaders = [
        ...this.retriableHeaders,
        ...names.split(',').map((text): HeaderPredicate => {
          const name = text.trim().toLowerCase();
          return (response) => response.has(name);
        }),
      ];
    for (const name of retryHeaders) headers.remove(name);
  }

  /** Takes one of the attempts that are left, and a place among the cluster's retries. */
  protected mayRetry(): RetryAnswer {
    const cluster = this.cluster as Cluster;
    if (this.retriesLeft <= 0) {
      cluster.stats.upstreamRqRetryLimitExceeded++;
      return RetryAnswer.limitExceeded;
    }
    this.releaseRetry();
    this.retriesLeft--;
    if (!cluster.resources((this.action as ForwardAction).priority).tryRetry()) {
      cluster.stats.upstreamRqRetryOverflow++;
      return RetryAnswer.overflow;
    }
    this.#retryTaken = true;
    cluster.stats.upstreamRqRetry++;
    return RetryAnswer.yes;
  }

  /** Gives the place among the cluster's retries back. */
  protected releaseRetry(): void {
    if (!this.#retryTaken) return;
    this.#retryTaken = false;
    (this.cluster as Cluster).resources((this.action as ForwardAction).priority).releaseRetry();
  }

  /** Another attempt follows one at this host. */
  protected noteAttempted(host: Host): void {
    this.#attempted ??= [];
    this.#attempted.push(host);
    this.retries++;
    const frequency = this.policy.priorityUpdateFrequency;
    if (frequency > 0) this.#notePriorities(frequency);
  }

  /** Every `frequency` attempts the priorities asked so far are left out (retry_priorities.previous_priorities). */
  #notePriorities(frequency: number): void {
    const attempted = this.#attempted ?? [];
    if ((attempted.length - this.#forgotten) % frequency !== 0) return;
    for (let i = this.#forgotten; i < attempted.length; i++)
      // Bits end at 31; more priorities than that stay in the choice.
      if ((attempted[i] as Host).priority < 31) this.triedPriorities |= 1 << (attempted[i] as Host).priority;
  }

  forgetTriedPriorities(): void {
    this.triedPriorities = 0;
    this.#forgotten = this.#attempted?.length ?? 0;
  }

  /** @param random in [0, 1) */
  protected backOffMs(random: number): number {
    return retryDelayMs(this.policy, this.retries + 1, random);
  }
}

/** What the log says of a retry that was not made. */
export function flagRetry(info: StreamInfo, answer: RetryAnswer): void {
  if (answer === RetryAnswer.limitExceeded) info.responseFlags |= ResponseFlag.upstreamRetryLimitExceeded;
  else if (answer === RetryAnswer.overflow) info.responseFlags |= ResponseFlag.upstreamOverflow;
}
