/** Circuit breaker thresholds of one cluster and priority (envoy.config.cluster.v3.CircuitBreakers.Thresholds). */
import type { CircuitBreakers_Thresholds as Thresholds } from '#api/gen/envoy/config/cluster/v3/circuit_breaker_pb.ts';
import type { ResourceManager } from './upstream.ts';

/** Share of active requests that may be retries. */
interface RetryBudget {
  readonly percent: number;
  readonly minConcurrency: number;
}

/** Counts of this worker against the limits of one priority. */
export class ThresholdResources implements ResourceManager {
  maxConnections: number;
  maxPendingRequests: number;
  maxRequests: number;
  maxRetries: number;
  #budget: RetryBudget | undefined;
  connections = 0;
  pendingRequests = 0;
  requests = 0;
  retries = 0;

  /** Absent thresholds and fields give Envoy's defaults: 1024 connections, pending, requests; 3 retries. */
  constructor(thresholds: Thresholds | undefined) {
    this.maxConnections = thresholds?.maxConnections ?? 1024;
    this.maxPendingRequests = thresholds?.maxPendingRequests ?? 1024;
    this.maxRequests = thresholds?.maxRequests ?? 1024;
    this.maxRetries = thresholds?.maxRetries ?? 3;
    const budget = thresholds?.retryBudget;
    this.#budget =
      budget === undefined
        ? undefined
        : { percent: budget.budgetPercent?.value ?? 20, minConcurrency: budget.minRetryConcurrency ?? 3 };
  }

  tryRequest(): boolean {
    if (this.requests >= this.maxRequests) return false;
    this.requests++;
    return true;
  }
  releaseRequest(): void {
    this.requests--;
  }

  tryRetry(): boolean {
    const budget = this.#budget;
    const limit =
      budget === undefined
        ? this.maxRetries
        : Math.max(budget.minConcurrency, ((this.requests + this.pendingRequests) * budget.percent) / 100);
    if (this.retries >= limit) return false;
    this.retries++;
    return true;
  }
  releaseRetry(): void {
    this.retries--;
  }

  tryPendingRequest(): boolean {
    if (this.pendingRequests >= this.maxPendingRequests) return false;
    this.pendingRequests++;
    return true;
  }
  releasePendingRequest(): void {
    this.pendingRequests--;
  }

  tryConnection(): boolean {
    if (this.connections >= this.maxConnections) return false;
    this.connections++;
    return true;
  }
  /** Counts one past the limit: a host without any connection always gets one, as in Envoy. */
  forceConnection(): void {
    this.connections++;
  }
  releaseConnection(): void {
    this.connections--;
  }
}
