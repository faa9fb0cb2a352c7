/**
 * What a request knows of its attempts: how many are left, on what, which hosts were asked (envoy Router::RetryStateImpl).
 * The router extends it: a request without retries pays for no object.
 */
import type { RequestHeaderMap } from '../../../http/header_map.ts';
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
  #retryTaken = false;
  #attempted: Host[] | undefined = undefined;

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
