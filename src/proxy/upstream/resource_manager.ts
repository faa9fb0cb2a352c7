/** Circuit breaker thresholds of one cluster and priority (envoy.config.cluster.v3.CircuitBreakers.Thresholds). */
import type { CircuitBreakers_Thresholds as Thresholds } from '#api/gen/envoy/config/cluster/v3/circuit_breaker_pb.ts';
import { durationMs } from '../network/duration.ts';
import type { CountBlock, CountIndex } from '../network/shared_counts.ts';
import { RequestWindow } from './request_window.ts';
import type { ResourceManager } from './upstream.ts';

/** Share of active requests that may be retries. */
interface RetryBudget {
  readonly percent: number;
  readonly minConcurrency: number;
  /** Requests of the last interval count too; undefined: only those there are now. */
  readonly window: RequestWindow | undefined;
}

// Places in a block of counts.
const connections: CountIndex = 0;
const pending: CountIndex = 1;
const requests: CountIndex = 2;
const retries: CountIndex = 3;

/**
 * Counts against the limits of one priority. One worker alone counts in plain numbers; several workers count in one block,
 * so that limits hold for the process.
 */
export class ThresholdResources implements ResourceManager {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly #maxRetries: number;
  readonly #budget: RetryBudget | undefined;
  readonly #window: RequestWindow | undefined;
  /** The gauges `circuit_breakers.<priority>.remaining_*` are kept. */
  readonly trackRemaining: boolean;
  #connections = 0;
  #pending = 0;
  #requests = 0;
  #retries = 0;
  readonly #open: ((name?: string) => CountBlock) | undefined;
  #block: CountBlock | undefined = undefined;
  /** What this worker holds in the block. */
  #held = 0;
  #closing = false;
  #windowOpen = true;

  /**
   * Absent thresholds and fields give Envoy's defaults: 1024 connections, pending, requests; 3 retries.
   * @param open opens the block of all workers, and one more by a name; undefined for one worker alone.
   */
  constructor(thresholds: Thresholds | undefined, open?: (name?: string) => CountBlock) {
    this.maxConnections = thresholds?.maxConnections ?? 1024;
    this.maxPendingRequests = thresholds?.maxPendingRequests ?? 1024;
    this.maxRequests = thresholds?.maxRequests ?? 1024;
    this.#maxRetries = thresholds?.maxRetries ?? 3;
    this.trackRemaining = thresholds?.trackRemaining ?? false;
    const budget = thresholds?.retryBudget;
    const intervalMs = durationMs(budget?.budgetInterval) ?? 0;
    this.#budget =
      budget === undefined
        ? undefined
        : {
            percent: budget.budgetPercent?.value ?? 20,
            minConcurrency: budget.minRetryConcurrency ?? 3,
            window: intervalMs <= 0 ? undefined : new RequestWindow(intervalMs, open?.('window')),
          };
    this.#window = this.#budget?.window;
    this.#open = open;
  }

  get connections(): number {
    return this.#open === undefined ? this.#connections : this.#shared(this.#open).value(connections);
  }
  get pendingRequests(): number {
    return this.#open === undefined ? this.#pending : this.#shared(this.#open).value(pending);
  }
  get requests(): number {
    return this.#open === undefined ? this.#requests : this.#shared(this.#open).value(requests);
  }
  get retries(): number {
    return this.#open === undefined ? this.#retries : this.#shared(this.#open).value(retries);
  }

  /** `max_retries`, or what the retry budget makes of the requests there are now. */
  get maxRetries(): number {
    const budget = this.#budget;
    if (budget === undefined) return this.#maxRetries;
    const active = this.requests + this.pendingRequests;
    const base = budget.window === undefined ? active : Math.max(active, budget.window.count);
    return Math.max(budget.minConcurrency, Math.floor((base * budget.percent) / 100));
  }

  /** True when this priority was used: what was never counted is not shown. */
  get used(): boolean {
    return this.#open === undefined || this.#block !== undefined;
  }

  #shared(open: () => CountBlock): CountBlock {
    return (this.#block ??= open());
  }

  #take(open: () => CountBlock, index: CountIndex, limit: number): boolean {
    if (!this.#shared(open).tryAcquire(index, limit)) return false;
    this.#held++;
    return true;
  }

  #give(index: CountIndex): void {
    this.#block?.release(index);
    this.#held--;
    if (this.#closing && this.#held === 0) this.close();
  }

  tryRequest(): boolean {
    if (this.#window !== undefined) this.#window.add();
    if (this.#open !== undefined) return this.#take(this.#open, requests, this.maxRequests);
    if (this.#requests >= this.maxRequests) return false;
    this.#requests++;
    return true;
  }
  releaseRequest(): void {
    if (this.#open === undefined) this.#requests--;
    else this.#give(requests);
  }

  tryRetry(): boolean {
    if (this.#open !== undefined) return this.#take(this.#open, retries, this.maxRetries);
    if (this.#retries >= this.maxRetries) return false;
    this.#retries++;
    return true;
  }
  releaseRetry(): void {
    if (this.#open === undefined) this.#retries--;
    else this.#give(retries);
  }

  tryPendingRequest(): boolean {
    if (this.#open !== undefined) return this.#take(this.#open, pending, this.maxPendingRequests);
    if (this.#pending >= this.maxPendingRequests) return false;
    this.#pending++;
    return true;
  }
  releasePendingRequest(): void {
    if (this.#open === undefined) this.#pending--;
    else this.#give(pending);
  }

  tryConnection(): boolean {
    if (this.#open !== undefined) return this.#take(this.#open, connections, this.maxConnections);
    if (this.#connections >= this.maxConnections) return false;
    this.#connections++;
    return true;
  }
  /** Counts one past the limit: a host without any connection always gets one, as in Envoy. */
  forceConnection(): void {
    if (this.#open === undefined) this.#connections++;
    else {
      this.#shared(this.#open).acquire(connections);
      this.#held++;
    }
  }
  releaseConnection(): void {
    if (this.#open === undefined) this.#connections--;
    else this.#give(connections);
  }

  /** The cluster's version drains: the block is given up when nothing of it is held any more. */
  close(): void {
    this.#closing = true;
    if (this.#held > 0) return;
    this.#block?.close();
    this.#block = undefined;
    if (this.#windowOpen) this.#window?.close();
    this.#windowOpen = false;
  }
}
