/** A copy of a request sent to another cluster, its response thrown away (request_mirror_policies). */
import {
  type ClientConnection,
  type RequestEncoder,
  ResetReason,
  type ResponseDecoder,
} from '../../../http/codec.ts';
import { type HeaderMap, RequestHeaderMap, type ResponseHeaderMap } from '../../../http/header_map.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import type { MirrorPolicy } from '../../../router/route_entry.ts';
import { countCode } from '../../../upstream/response_codes.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import type {
  Cancellable,
  Cluster,
  Host,
  HttpPoolCallbacks,
  LoadBalancerContext,
} from '../../../upstream/upstream.ts';

/** A shadow without a time limit of its route is given up after this, milliseconds. */
const defaultTimeoutMs = 15_000;

/** `host` or `host:port` with `-shadow` after the host. */
export function shadowHost(authority: string): string {
  const colon = authority.lastIndexOf(':');
  if (colon < 0 || authority.endsWith(']')) return `${authority}-shadow`;
  return `${authority.slice(0, colon)}-shadow${authority.slice(colon)}`;
}

function copyHeaders(headers: RequestHeaderMap, policy: MirrorPolicy, info: StreamInfo): RequestHeaderMap {
  const copy = new RequestHeaderMap(headers.names.slice(), headers.values.slice());
  copy.seen = headers.seen;
  copy.method = headers.method;
  copy.path = headers.path;
  copy.scheme = headers.scheme;
  copy.authority = headers.authority;
  if (policy.hostRewrite !== '') copy.authority = policy.hostRewrite;
  else if (policy.appendSuffix) copy.authority = shadowHost(headers.authority);
  for (const rules of policy.rules) rules.apply(copy, { info, request: headers, response: undefined });
  return copy;
}

function giveUp(shadow: ShadowRequest): void {
  shadow.abandon();
}

/** Lives on its own: the request it copies neither waits for it nor hears of it. */
export class ShadowRequest implements ResponseDecoder, HttpPoolCallbacks, LoadBalancerContext {
  readonly hash = undefined;
  readonly metadataMatch = undefined;
  readonly downstream = undefined;
  readonly requestHeaders: RequestHeaderMap;
  readonly hostSelectionRetryCount = 1;
  readonly #cluster: Cluster;
  #encoder: RequestEncoder | undefined = undefined;
  #waiting: Cancellable | undefined = undefined;
  #body: Buffer[] = [];
  #bodyBytes = 0;
  readonly #limit: number;
  #ended: boolean;
  #done = false;
  readonly #timer: TimerHandle;

  /** @param limit bytes of body kept while there is no connection; a longer body ends the shadow. */
  constructor(
    cluster: Cluster,
    policy: MirrorPolicy,
    headers: RequestHeaderMap,
    endStream: boolean,
    limit: number,
    timeoutMs: number,
    info: StreamInfo,
  ) {
    this.#cluster = cluster;
    this.requestHeaders = copyHeaders(headers, policy, info);
    this.#ended = endStream;
    this.#limit = limit;
    this.#timer = workerTimers.schedule(timeoutMs > 0 ? timeoutMs : defaultTimeoutMs, giveUp, this);
    const host = cluster.chooseHost(this);
    if (host === undefined) this.#finish();
    else this.#waiting = cluster.httpPool(host, 'default', info.protocol, this).newStream(this, this);
  }

  shouldSelectAnotherHost(): boolean {
    return false;
  }

  onPoolReady(encoder: RequestEncoder, _host: Host, _connection: ClientConnection): void {
    this.#waiting = undefined;
    if (this.#done) {
      encoder.reset(ResetReason.localReset);
      return;
    }
    this.#encoder = encoder;
    encoder.encodeHeaders(this.requestHeaders, this.#ended && this.#body.length === 0);
    this.#body.forEach((data, i) => encoder.encodeData(data, this.#ended && i === this.#body.length - 1));
    this.#body = [];
  }

  onPoolFailure(): void {
    this.#waiting = undefined;
    this.#finish();
  }

  sendData(data: Buffer, endStream: boolean): void {
    if (this.#done) return;
    if (endStream) this.#ended = true;
    if (this.#encoder !== undefined && !this.#encoder.aboveHighWatermark) {
      this.#encoder.encodeData(data, endStream);
      return;
    }
    this.#bodyBytes += data.length;
    // A shadow never slows down its original: one that cannot keep up is given up.
    if (this.#encoder !== undefined || this.#bodyBytes > this.#limit) this.abandon();
    else this.#body.push(data);
  }

  sendTrailers(trailers: HeaderMap): void {
    if (this.#done) return;
    if (this.#encoder === undefined) this.sendData(Buffer.alloc(0), true);
    else this.#encoder.encodeTrailers(trailers);
  }

  abandon(): void {
    if (this.#done) return;
    this.#waiting?.cancel();
    const encoder = this.#encoder;
    this.#finish();
    encoder?.reset(ResetReason.localReset);
  }

  #finish(): void {
    this.#done = true;
    this.#encoder = undefined;
    this.#waiting = undefined;
    this.#body = [];
    workerTimers.cancel(this.#timer);
  }

  decode1xxHeaders(): void {}

  decodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    countCode(this.#cluster.stats.codes.internal, headers.status);
    if (endStream) this.#finish();
  }

  decodeData(_data: Buffer, endStream: boolean): void {
    if (endStream) this.#finish();
  }

  decodeTrailers(): void {
    this.#finish();
  }

  onResetStream(): void {
    this.#finish();
  }

  onAboveWriteBufferHighWatermark(): void {}
  onBelowWriteBufferLowWatermark(): void {}
}
