/**
 * A request of the proxy's own: what filters ask services with (envoy Http::AsyncClient). It takes the same way as requests
 * of clients: cluster, balancer, pool, circuit breakers, statistics. Requests and responses are whole and bounded; there is
 * no promise, and nothing waits for a call that was cancelled.
 */
import {
  type ClientConnection,
  type RequestEncoder,
  ResetReason,
  type ResponseDecoder,
} from '../../http/codec.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../http/header_map.ts';
import type { ConnectionInfo } from '../../network/connection.ts';
import { type TimerHandle, workerTimers } from '../../network/timer_wheel.ts';
import { countCode } from '../response_codes.ts';
import type {
  Cancellable,
  Cluster,
  ClusterManager,
  Host,
  HttpPoolCallbacks,
  LoadBalancerContext,
  PoolFailure,
} from '../upstream.ts';

/** Why there is no response. */
export type CallFailure =
  | 'no_cluster'
  | 'no_healthy_host'
  | 'overflow'
  | 'connection_failure'
  | 'timeout'
  | 'reset'
  | 'response_too_large';

/** Bytes of a response body that are kept unless the caller says otherwise. */
export const defaultMaxResponseBytes: number = 1024 * 1024;

export interface HttpCallOptions {
  readonly clusterName: string;
  readonly headers: RequestHeaderMap;
  /** Default: none. Over HTTP/1.1 `content-length` is set from it. */
  readonly body?: Buffer | undefined;
  readonly trailers?: HeaderMap | undefined;
  /** Milliseconds from the start to the end of the response; 0 means no limit. */
  readonly timeoutMs: number;
  /** Default 1 MiB. A longer body is a failure. */
  readonly maxResponseBytes?: number | undefined;
  /** HTTP version for clusters that follow the client's. Default HTTP/1.1. */
  readonly protocol?: 'HTTP/1.1' | 'HTTP/2' | undefined;
  /** The connection for which the call is made: balancers may look at it. */
  readonly downstream?: ConnectionInfo | undefined;
  /** Hash for balancers that use one. */
  readonly hash?: bigint | undefined;
}

/** Exactly one of the two is called, once, maybe inside `start`; none after `cancel`. */
export interface HttpCallCallbacks {
  onResponse(headers: ResponseHeaderMap, body: Buffer, trailers: HeaderMap | undefined): void;
  /** @param details of a connection that failed; empty when there is nothing to tell. */
  onFailure(failure: CallFailure, details: string): void;
}

const failures: Readonly<Record<PoolFailure, CallFailure>> = {
  overflow: 'overflow',
  local_connection_failure: 'connection_failure',
  remote_connection_failure: 'connection_failure',
  timeout: 'connection_failure',
};

const noBytes = Buffer.alloc(0);

function onTimeout(call: HttpCall): void {
  call.onTimeout();
}

/** One call. Made, started once, maybe cancelled. */
export class HttpCall implements ResponseDecoder, HttpPoolCallbacks, LoadBalancerContext, Cancellable {
  readonly hash: bigint | undefined;
  readonly metadataMatch = undefined;
  readonly downstream: ConnectionInfo | undefined;
  readonly hostSelectionRetryCount = 1;
  readonly requestHeaders: RequestHeaderMap;
  readonly #options: HttpCallOptions;
  readonly #maxBytes: number;
  #callbacks: HttpCallCallbacks | undefined;
  #cluster: Cluster | undefined = undefined;
  #host: Host | undefined = undefined;
  #waiting: Cancellable | undefined = undefined;
  #encoder: RequestEncoder | undefined = undefined;
  #timer: TimerHandle | undefined = undefined;
  #response: ResponseHeaderMap | undefined = undefined;
  #body: Buffer[] = [];
  #bodyBytes = 0;

  constructor(options: HttpCallOptions, callbacks: HttpCallCallbacks) {
    this.#options = options;
    this.#callbacks = callbacks;
    this.requestHeaders = options.headers;
    this.downstream = options.downstream;
    this.hash = options.hash;
    this.#maxBytes = options.maxResponseBytes ?? defaultMaxResponseBytes;
  }

  start(clusters: ClusterManager): void {
    const { clusterName, body, timeoutMs, protocol = 'HTTP/1.1' } = this.#options;
    const cluster = clusters.get(clusterName);
    if (cluster === undefined) {
      this.#fail('no_cluster', clusterName);
      return;
    }
    this.#cluster = cluster;
    const host = cluster.chooseHost(this);
    if (host === undefined) {
      this.#fail('no_healthy_host', '');
      return;
    }
    this.#host = host;
    if (body !== undefined && protocol === 'HTTP/1.1')
      this.requestHeaders.set('content-length', String(body.length));
    if (timeoutMs > 0) this.#timer = workerTimers.schedule(timeoutMs, onTimeout, this as HttpCall);
    const waiting = cluster.httpPool(host, 'default', protocol, this).newStream(this, this);
    if (this.#encoder === undefined && this.#callbacks !== undefined) this.#waiting = waiting;
  }

  /** Gives the call up; the callbacks hear nothing more. */
  cancel(): void {
    if (this.#callbacks !== undefined) this.#abandon();
  }

  #end(): HttpCallCallbacks | undefined {
    const callbacks = this.#callbacks;
    this.#callbacks = undefined;
    workerTimers.cancel(this.#timer);
    this.#timer = undefined;
    this.#waiting = undefined;
    return callbacks;
  }

  #abandon(): HttpCallCallbacks | undefined {
    const waiting = this.#waiting;
    const encoder = this.#encoder;
    const callbacks = this.#end();
    this.#encoder = undefined;
    this.#body = [];
    waiting?.cancel();
    if (encoder !== undefined) {
      if (this.#cluster !== undefined) this.#cluster.stats.upstreamRqTxReset++;
      encoder.reset(ResetReason.localReset);
    }
    return callbacks;
  }

  #fail(failure: CallFailure, details: string): void {
    this.#abandon()?.onFailure(failure, details);
  }

  shouldSelectAnotherHost(): boolean {
    return false;
  }

  // === pool ===

  onPoolReady(encoder: RequestEncoder, _host: Host, _connection: ClientConnection): void {
    this.#waiting = undefined;
    if (this.#callbacks === undefined) {
      encoder.reset(ResetReason.localReset);
      return;
    }
    this.#encoder = encoder;
    const { body, trailers } = this.#options;
    const hasBody = body !== undefined && body.length > 0;
    encoder.encodeHeaders(this.requestHeaders, !hasBody && trailers === undefined);
    if (hasBody) encoder.encodeData(body, trailers === undefined);
    if (trailers !== undefined) encoder.encodeTrailers(trailers);
  }

  onPoolFailure(reason: PoolFailure, transportFailureReason: string): void {
    this.#waiting = undefined;
    this.#fail(failures[reason], transportFailureReason);
  }

  onTimeout(): void {
    this.#timer = undefined;
    if (this.#cluster !== undefined) this.#cluster.stats.upstreamRqTimeout++;
    this.#host?.report({ kind: 'timeout' });
    this.#fail('timeout', '');
  }

  // === response ===

  decode1xxHeaders(): void {}

  decodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    this.#response = headers;
    if (this.#cluster !== undefined) countCode(this.#cluster.stats.codes.internal, headers.status);
    this.#host?.report({ kind: 'http', status: headers.status, localOrigin: false });
    if (endStream) this.#finish(undefined);
  }

  decodeData(data: Buffer, endStream: boolean): void {
    if (this.#callbacks === undefined) return;
    this.#bodyBytes += data.length;
    if (this.#bodyBytes > this.#maxBytes) {
      if (endStream) this.#encoder = undefined;
      this.#fail('response_too_large', '');
      return;
    }
    if (data.length > 0) this.#body.push(data);
    if (endStream) this.#finish(undefined);
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.#finish(trailers);
  }

  #finish(trailers: HeaderMap | undefined): void {
    this.#encoder = undefined;
    const body =
      this.#body.length === 0
        ? noBytes
        : this.#body.length === 1
          ? (this.#body[0] as Buffer)
          : Buffer.concat(this.#body);
    this.#body = [];
    this.#end()?.onResponse(this.#response as ResponseHeaderMap, body, trailers);
  }

  onResetStream(reason: ResetReason): void {
    this.#encoder = undefined;
    if (this.#cluster !== undefined) this.#cluster.stats.upstreamRqRxReset++;
    this.#host?.report({ kind: 'http', status: 503, localOrigin: true });
    this.#fail('reset', reason);
  }

  onAboveWriteBufferHighWatermark(): void {}
  onBelowWriteBufferLowWatermark(): void {}
}
