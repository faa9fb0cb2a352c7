/**
 * What the overload manager asks of this worker (envoy.config.overload.v3.OverloadManager actions), and the global limit of
 * connections. Written by `server/`, read by listeners and connection managers. Probabilities go from 0 (off) to 1.
 */
import { LocalCounts, type CountBlock } from './shared_counts.ts';

export class OverloadState {
  /** New requests are answered 503, with this probability. */
  stopAcceptingRequests = 0;
  /** Responses end HTTP/1 connections and drain HTTP/2 ones, with this probability. */
  disableHttpKeepalive = 0;
  /** New connections are closed as soon as they are accepted, with this probability. */
  rejectIncomingConnections = 0;
  /** Most downstream connections of all workers; Infinity for no limit. */
  maxConnections = Infinity;
  /** Open downstream connections of all workers; index 0 counts while there is a limit. */
  readonly connections: CountBlock;
  #stopAcceptingConnections = false;
  readonly #onResume = new Set<() => void>();

  /** @param connections default: counts of this worker alone. */
  constructor(connections: CountBlock = new LocalCounts().open('downstream_connections')) {
    this.connections = connections;
  }

  /** Connections that come are not taken up: they wait until this is over. */
  get stopAcceptingConnections(): boolean {
    return this.#stopAcceptingConnections;
  }

  set stopAcceptingConnections(stop: boolean) {
    this.#stopAcceptingConnections = stop;
    if (!stop) for (const callback of this.#onResume) callback();
  }

  /** Called back whenever connections are taken up again; the function it gives ends that. */
  onResume(callback: () => void): () => void {
    this.#onResume.add(callback);
    return () => void this.#onResume.delete(callback);
  }
}

/** Nothing is asked. */
export function newOverloadState(): OverloadState {
  return new OverloadState();
}

/** True with a probability of 0 to 1. */
export function happens(probability: number, random: () => number): boolean {
  return probability > 0 && (probability >= 1 || random() < probability);
}
