/** Where a provider's keys come from: the configuration, or a server that is asked through a cluster (RemoteJwks). */
import type {
  JwtProvider,
  RemoteJwks,
} from '#api/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts';
import type { Counter } from '#telemetry/metrics.ts';
import { RequestHeaderMap } from '../../../http/header_map.ts';
import { durationMs } from '../../../network/duration.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import { readDataSource } from '../../../transport_sockets/tls/data_source.ts';
import { HttpCall } from '../../../upstream/async_client/http_call.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import { Jwks } from './jwks.ts';

/** Gives keys at once, or asks `onKeys` to wait. */
export interface KeySource {
  /** Keys that are there and fresh. */
  current(): Jwks | undefined;
  /** Calls back once, maybe at once, with keys or undefined when they cannot be had. */
  get(onKeys: (keys: Jwks | undefined) => void): void;
  close(): void;
}

export interface KeyStats {
  readonly fetchSuccess: Counter;
  readonly fetchFailed: Counter;
}

const defaultCacheMs = 10 * 60_000;
/** Default of `async_fetch.failed_refetch_duration`. */
const defaultRefetchMs = 1000;
/** Most requests that wait for one answer; more are told that there are no keys. */
const maxWaiting = 10_000;
/** A key set of more bytes is refused. */
const maxKeySetBytes = 1024 * 1024;

class LocalKeys implements KeySource {
  readonly #keys: Jwks;

  constructor(keys: Jwks) {
    this.#keys = keys;
  }

  current(): Jwks {
    return this.#keys;
  }

  get(onKeys: (keys: Jwks | undefined) => void): void {
    onKeys(this.#keys);
  }

  close(): void {}
}

function onRefetch(keys: RemoteKeys): void {
  keys.refetch();
}

/** One fetch at a time, whoever waits; the keys live as long as `cache_duration` says. */
class RemoteKeys implements KeySource {
  readonly #clusters: ClusterManager;
  readonly #cluster: string;
  readonly #url: URL;
  readonly #timeoutMs: number;
  readonly #cacheMs: number;
  readonly #ahead: boolean;
  readonly #refetchMs: number;
  readonly #stats: KeyStats;
  #keys: Jwks | undefined = undefined;
  #expires = 0;
  #call: HttpCall | undefined = undefined;
  #waiting: ((keys: Jwks | undefined) => void)[] = [];
  #timer: TimerHandle | undefined = undefined;
  #closed = false;

  /** @throws Error that names the field which cannot be used. */
  constructor(remote: RemoteJwks, clusters: ClusterManager, stats: KeyStats) {
    const uri = remote.httpUri;
    if (uri === undefined || uri.httpUpstreamType.value === undefined || uri.httpUpstreamType.value === '')
      throw new Error('remote_jwks.http_uri.cluster is missing');
    if (!URL.canParse(uri.uri))
      throw new Error(`remote_jwks.http_uri.uri: ${JSON.stringify(uri.uri)} is not a URL`);
    this.#clusters = clusters;
    this.#cluster = uri.httpUpstreamType.value;
    this.#url = new URL(uri.uri);
    this.#timeoutMs = durationMs(uri.timeout) ?? 0;
    this.#cacheMs = durationMs(remote.cacheDuration) ?? defaultCacheMs;
    this.#ahead = remote.asyncFetch !== undefined;
    this.#refetchMs = durationMs(remote.asyncFetch?.failedRefetchDuration) ?? defaultRefetchMs;
    this.#stats = stats;
    if (this.#ahead) this.#timer = workerTimers.schedule(1, onRefetch, this as RemoteKeys);
  }

  current(): Jwks | undefined {
    // Keys that are fetched ahead serve until there are newer ones.
    return this.#ahead || performance.now() < this.#expires ? this.#keys : undefined;
  }

  get(onKeys: (keys: Jwks | undefined) => void): void {
    const keys = this.current();
    if (keys !== undefined || this.#closed || this.#waiting.length >= maxWaiting) {
      onKeys(keys);
      return;
    }
    this.#waiting.push(onKeys);
    if (this.#call === undefined) this.#fetch();
  }

  refetch(): void {
    this.#timer = undefined;
    if (this.#call === undefined && !this.#closed) this.#fetch();
  }

  close(): void {
    this.#closed = true;
    workerTimers.cancel(this.#timer);
    this.#call?.cancel();
    this.#answer(undefined);
  }

  #fetch(): void {
    const headers = new RequestHeaderMap();
    headers.method = 'GET';
    headers.scheme = this.#url.protocol.slice(0, -1);
    headers.authority = this.#url.host;
    headers.path = this.#url.pathname + this.#url.search;
    const call = new HttpCall(
      { clusterName: this.#cluster, headers, timeoutMs: this.#timeoutMs, maxResponseBytes: maxKeySetBytes },
      {
        onResponse: ({ status }, body) => this.#onAnswer(status === 200 ? body : undefined),
        onFailure: () => this.#onAnswer(undefined),
      },
    );
    this.#call = call;
    call.start(this.#clusters);
  }

  #onAnswer(body: Buffer | undefined): void {
    this.#call = undefined;
    let keys: Jwks | undefined;
    try {
      if (body !== undefined) keys = new Jwks(body.toString('utf8'));
    } catch {
      // not a key set: as when there is no answer
    }
    if (keys === undefined) this.#stats.fetchFailed.inc();
    else {
      this.#stats.fetchSuccess.inc();
      this.#keys = keys;
      this.#expires = performance.now() + this.#cacheMs;
    }
    if (this.#ahead && !this.#closed)
      this.#timer = workerTimers.schedule(
        // As Envoy: new keys come before the old ones end.
        keys === undefined ? this.#refetchMs : Math.max(1000, this.#cacheMs - 5000),
        onRefetch,
        this as RemoteKeys,
      );
    this.#answer(keys);
  }

  #answer(keys: Jwks | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const onKeys of waiting) onKeys(keys);
  }
}

/** @throws Error that names the field which cannot be used. */
export function keySourceOf(provider: JwtProvider, clusters: ClusterManager, stats: KeyStats): KeySource {
  const { jwksSourceSpecifier: source } = provider;
  if (source.case === 'remoteJwks') {
    if (source.value.retryPolicy !== undefined)
      throw new Error('remote_jwks.retry_policy is not implemented');
    return new RemoteKeys(source.value, clusters, stats);
  }
  if (source.case !== 'localJwks') throw new Error('remote_jwks or local_jwks is missing');
  const bytes = readDataSource(source.value);
  if (bytes === undefined) throw new Error('local_jwks is empty');
  try {
    return new LocalKeys(new Jwks(bytes.toString('utf8')));
  } catch (error) {
    throw new Error(`local_jwks: ${(error as Error).message}`, { cause: error });
  }
}
