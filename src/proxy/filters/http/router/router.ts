/**
 * The router (envoy Router::Filter): takes a request to a host of its route's cluster and the response back; retries,
 * timeouts, mirrors. On the hot path: a request without retries allocates this object and one UpstreamRequest. Bench:
 * bench/micro/http1_proxy.ts. Longer than usual, because the steps of a request share its state; what is known of retries
 * is in retry_state.ts.
 */
import { type RequestEncoder, ResetReason } from '../../../http/codec.ts';
import {
  FilterStatus,
  type LocalReply,
  type TerminalFilterCallbacks,
  type TerminalHttpFilter,
} from '../../../http/filter.ts';
import type { HeaderMap, RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import { batchNow } from '../../../http/socket_io.ts';
import { localReplies, resetAfterResponseStarted, upstreamResetReply } from '../../../http/local_reply.ts';
import { upgradeToHttp2 } from '../../../http/upgrade.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import { transportOptionsKey, type UpstreamTransportOptions } from '../../../network/transport_socket.ts';
import type { ForwardAction, RouteEntry } from '../../../router/route_entry.ts';
import {
  emptyRetryPolicy,
  rateLimitedDelayMs,
  retriesOnHeaders,
  retriesOnReset,
} from '../../../router/retry_policy.ts';
import { newUpstreamInfo, type OverrideHost, type StreamInfo } from '../../../stream_info/stream_info.ts';
import { countCode } from '../../../upstream/response_codes.ts';
import type { Cluster, ClusterManager, Host, LoadBalancerContext } from '../../../upstream/upstream.ts';
import { directAnswer, passesStrictCheck } from './direct_answer.ts';
import { flagOf, resetResult, resultOf, saysDegraded, timeoutResult } from './outcome.ts';
import { takesRedirect } from './internal_redirect.ts';
import { finalizeRequestHeaders, setHost } from './request_headers.ts';
import { flagRetry, RetryAnswer, RetryState } from './retry_state.ts';
import { ShadowRequest } from './shadow.ts';
import type { RouterStats } from './stats.ts';
import { finalTimeouts, type Timeouts } from './timeouts.ts';
import { UpstreamRequest } from './upstream_request.ts';

/** What all requests of a chain share. */
export interface RouterShared {
  readonly clusterManager: ClusterManager;
  readonly suppressEnvoyHeaders: boolean;
  readonly respectExpectedTimeout: boolean;
  readonly strictCheckHeaders: readonly string[];
  /** Count responses by status. */
  readonly countsCodes: boolean;
  readonly stats: RouterStats;
  /** In [0, 1). */
  random(): number;
}

/** Reused by all requests: read at once. */
const timeouts: Timeouts = { globalMs: 0, perTryMs: 0 };

function onGlobalTimeout(router: RouterFilter): void {
  router.onGlobalTimeout();
}
function onPerTryTimeout(router: RouterFilter): void {
  router.onPerTryTimeout(false);
}
function onPerTryIdleTimeout(router: RouterFilter): void {
  router.onPerTryTimeout(true);
}
function onBackOff(router: RouterFilter): void {
  router.onBackOff();
}

export class RouterFilter extends RetryState implements TerminalHttpFilter, LoadBalancerContext {
  readonly #callbacks: TerminalFilterCallbacks;
  readonly #shared: RouterShared;
  readonly #info: StreamInfo;
  #route: RouteEntry | undefined = undefined;
  #headers: RequestHeaderMap | undefined = undefined;
  #attempt: UpstreamRequest | undefined = undefined;

  // Request body: kept while there is no connection, and as long as a retry may need it.
  #body: Buffer[] | undefined = undefined;
  #bodyBytes = 0;
  #keepBody = false;
  #bodyPaused = false;
  #trailers: HeaderMap | undefined = undefined;
  #requestEnded = false;
  #requestEndedAt = NaN;

  #backOffTimer: TimerHandle | undefined = undefined;

  #globalMs = 0;
  #perTryMs = 0;
  #globalTimer: TimerHandle | undefined = undefined;
  #responseStarted = false;
  #responseEnded = false;
  /** The stream became a tunnel. */
  #upgraded = false;
  #shadows: ShadowRequest[] | undefined = undefined;
  #setCookie: string | undefined = undefined;

  // Load balancer context.
  hash: bigint | undefined = undefined;
  metadataMatch: Readonly<Record<string, unknown>> | undefined = undefined;
  transportOptions: UpstreamTransportOptions | undefined = undefined;
  readonly downstream: ConnectionInfo;

  constructor(callbacks: TerminalFilterCallbacks, shared: RouterShared) {
    super();
    this.#callbacks = callbacks;
    this.#shared = shared;
    this.#info = callbacks.streamInfo;
    this.downstream = callbacks.connection.info;
  }

  get requestHeaders(): RequestHeaderMap | undefined {
    return this.#headers;
  }

  get overrideHost(): OverrideHost | undefined {
    return this.retries > 0 ? undefined : this.#info.overrideHost;
  }

  // === request ===

  decodeHeaders(headers: RequestHeaderMap, endStream: boolean): FilterStatus {
    this.#headers = headers;
    const info = this.#info;
    // The connection manager gives routes of our own route table.
    const route = this.#callbacks.route() as RouteEntry | undefined;
    const shared = this.#shared;
    shared.stats.rqTotal.value++;
    if (route === undefined) {
      shared.stats.noRoute.value++;
      return this.#refuse(localReplies.routeNotFound);
    }
    this.#route = route;
    info.routeName = route.name;
    info.virtualHostName = route.virtualHost.name;
    const { action } = route;
    if (action.kind !== 'forward') {
      (action.kind === 'direct' ? shared.stats.rqDirectResponse : shared.stats.rqRedirect).value++;
      return this.#refuse(directAnswer(route, headers, info));
    }
    this.action = action;
    const cluster = shared.clusterManager.get(route.clusterName);
    if (cluster === undefined) {
      shared.stats.noCluster.value++;
      return this.#refuse({ ...localReplies.clusterNotFound, status: action.clusterNotFoundStatus });
    }
    this.cluster = cluster;
    info.clusterName = cluster.name;
    info.clusterStatName = cluster.statName;
    info.clusterMetadata = cluster.metadata;
    if (shared.strictCheckHeaders.length > 0 && !passesStrictCheck(headers, shared.strictCheckHeaders))
      return this.#refuse(localReplies.invalidEnvoyHeaders);
    if (cluster.maintenanceMode) {
      this.#countCode(localReplies.maintenanceMode.status, undefined);
      return this.#refuse(localReplies.maintenanceMode);
    }
    if (cluster.dropOverload > 0 && shared.random() < cluster.dropOverload) return this.#dropRequest(cluster);
    const insert = !shared.suppressEnvoyHeaders;
    info.attemptCount = 1;
    if (route.virtualHost.includeAttemptCount) headers.set('x-envoy-attempt-count', '1');
    if (route.hasRequestRules || action.hostRewrite.kind !== 'none' || action.pathRewrite.kind !== 'none')
      finalizeRequestHeaders(route, action, headers, info, insert);
    finalTimeouts(action, headers, insert, shared.respectExpectedTimeout, timeouts);
    this.#globalMs = timeouts.globalMs;
    this.#perTryMs = timeouts.perTryMs;
    if (action.retryPolicy !== undefined || (headers.seen & HeaderFlag.envoy) !== 0)
      this.setUpRetries(action.retryPolicy ?? emptyRetryPolicy, headers);
    if (action.hashPolicy !== undefined) {
      const { hash, setCookie } = action.hashPolicy(headers, info);
      this.hash = hash;
      this.#setCookie = setCookie;
    }
    this.metadataMatch = action.metadataMatch;
    if (info.filterState !== undefined)
      this.transportOptions = info.filterState.get(transportOptionsKey) as
        | UpstreamTransportOptions
        | undefined;
    this.#keepBody = (this.retryOn !== 0 && this.retriesLeft > 0) || action.redirects !== undefined;
    if (action.mirrors.length > 0) this.#startShadows(action, headers, endStream);
    if (endStream) this.#onRequestEnd(info.start);
    // An upgrade's request has no end before its answer.
    else if (headers.protocol !== '') this.#startGlobalTimer();
    this.#startAttempt();
    return FilterStatus.continue;
  }

  #refuse(reply: LocalReply): FilterStatus {
    this.#callbacks.sendLocalReply(reply);
    return FilterStatus.stopIteration;
  }

  #dropRequest(cluster: Cluster): FilterStatus {
    const reply =
      cluster.dropOverload === 1 ? localReplies.unconditionalDropOverload : localReplies.dropOverload;
    this.#countCode(reply.status, undefined);
    return this.#refuse(reply);
  }

  #startShadows(action: ForwardAction, headers: RequestHeaderMap, endStream: boolean): void {
    for (const mirror of action.mirrors) {
      const share = mirror.fraction();
      if (share < 1 && this.#shared.random() >= share) continue;
      const name = mirror.clusterHeader === '' ? mirror.cluster : (headers.get(mirror.clusterHeader) ?? '');
      const cluster = this.#shared.clusterManager.get(name);
      if (cluster === undefined) continue;
      this.#shadows ??= [];
      this.#shadows.push(
        new ShadowRequest(
          cluster,
          mirror,
          headers,
          endStream,
          this.#callbacks.bufferLimit,
          this.#globalMs,
          this.#info,
        ),
      );
    }
  }

  decodeData(data: Buffer, endStream: boolean): FilterStatus {
    if (this.action === undefined || this.#responseEnded) return FilterStatus.continue;
    const shadows = this.#shadows;
    if (shadows !== undefined) for (const shadow of shadows) shadow.sendData(data, endStream);
    const encoder = this.#attempt?.encoder;
    const ready = encoder !== undefined && this.#attempt?.requestStarted === true;
    if (this.#keepBody || !ready) this.#storeBody(data, ready);
    if (endStream) this.#onRequestEnd(batchNow());
    if (ready) {
      if (endStream) (this.#attempt as UpstreamRequest).info.lastByteSentMs = this.#requestEndedAt;
      encoder.encodeData(data, endStream);
    }
    return FilterStatus.continue;
  }

  #storeBody(data: Buffer, sent: boolean): void {
    this.#body ??= [];
    this.#body.push(data);
    this.#bodyBytes += data.length;
    const limit = this.#route?.retryBufferLimit ?? this.#callbacks.bufferLimit;
    if (this.#bodyBytes <= limit) return;
    // Too long to be sent twice.
    this.#keepBody = false;
    this.retryOn = 0;
    if (sent) this.#body = undefined;
    else if (!this.#bodyPaused) {
      this.#bodyPaused = true;
      this.#callbacks.readDisable(true);
    }
  }

  decodeTrailers(trailers: HeaderMap): FilterStatus {
    if (this.action === undefined || this.#responseEnded) return FilterStatus.continue;
    if (this.#shadows !== undefined) for (const shadow of this.#shadows) shadow.sendTrailers(trailers);
    this.#trailers = trailers;
    this.#onRequestEnd(batchNow());
    const attempt = this.#attempt;
    if (attempt?.requestStarted === true) {
      attempt.info.lastByteSentMs = this.#requestEndedAt;
      attempt.encoder?.encodeTrailers(trailers);
    }
    return FilterStatus.continue;
  }

  /** The whole request has come: from now on the response is late when it takes too long. */
  #onRequestEnd(now: number): void {
    this.#requestEnded = true;
    this.#requestEndedAt = now;
    this.#startGlobalTimer();
    const attempt = this.#attempt;
    if (attempt?.requestStarted === true) this.#startPerTryTimers(attempt);
  }

  #startGlobalTimer(): void {
    if (this.#globalMs > 0 && this.#globalTimer === undefined && !this.#upgraded)
      this.#globalTimer = workerTimers.schedule(this.#globalMs, onGlobalTimeout, this as RouterFilter);
  }

  #startPerTryTimers(attempt: UpstreamRequest): void {
    if (this.#perTryMs > 0)
      attempt.perTryTimer = workerTimers.schedule(this.#perTryMs, onPerTryTimeout, this as RouterFilter);
    const idleMs = this.policy.perTryIdleTimeoutMs;
    if (idleMs > 0) {
      attempt.perTryIdleMs = idleMs;
      attempt.perTryIdleTimer = workerTimers.schedule(idleMs, onPerTryIdleTimeout, this as RouterFilter);
    }
  }

  // === attempts ===

  #startAttempt(): void {
    const cluster = this.cluster as Cluster;
    const info = this.#info;
    const host = cluster.chooseHost(this);
    if (host === undefined) {
      const status = this.overrideHost?.missingStatus ?? 503;
      const reply = localReplies.noHealthyUpstream;
      this.#failWith(status === 503 ? reply : { ...reply, status });
      return;
    }
    const upstream = newUpstreamInfo();
    upstream.hostAddress = host.address;
    upstream.hostMetadata = host.metadata;
    info.upstream = upstream;
    const attempt = new UpstreamRequest(this, host, upstream);
    this.#attempt = attempt;
    if (this.#tunnelsTcp()) {
      attempt.waiting = cluster.tcpConnect(host, this, attempt.tcpCallbacks());
      return;
    }
    const pool = cluster.httpPool(host, (this.action as ForwardAction).priority, info.protocol, this);
    const waiting = pool.newStream(attempt, attempt);
    if (this.#attempt === attempt) attempt.waiting = waiting;
  }

  /** CONNECT ends here: its bytes go on as plain TCP. */
  #tunnelsTcp(): boolean {
    const { connect } = this.action as ForwardAction;
    if (connect === undefined) return false;
    const method = this.#headers?.method;
    return method === 'CONNECT' || (connect.allowPost && method === 'POST');
  }

  get bufferLimit(): number {
    return this.#callbacks.bufferLimit;
  }

  onUpstreamReady(attempt: UpstreamRequest, encoder: RequestEncoder): void {
    const headers = this.#headers as RequestHeaderMap;
    const action = this.action as ForwardAction;
    if (action.hostRewrite.kind === 'auto' && attempt.host.hostname !== '')
      setHost(action, headers, attempt.host.hostname);
    attempt.requestStarted = true;
    const body = this.#body;
    const ended = this.#requestEnded;
    const trailers = this.#trailers;
    const now = batchNow();
    attempt.info.firstByteSentMs = now;
    let wire = headers;
    if (headers.protocol !== '' && attempt.info.protocol === 'HTTP/2') {
      attempt.upgrade = headers.protocol;
      wire = upgradeToHttp2(headers);
    }
    if (ended) attempt.info.lastByteSentMs = now;
    encoder.encodeHeaders(wire, ended && body === undefined && trailers === undefined);
    if (body !== undefined) {
      for (let i = 0; i < body.length; i++)
        encoder.encodeData(body[i] as Buffer, ended && trailers === undefined && i === body.length - 1);
      if (!this.#keepBody) this.#body = undefined;
    }
    if (trailers !== undefined) encoder.encodeTrailers(trailers);
    if (this.#bodyPaused) {
      this.#bodyPaused = false;
      this.#callbacks.readDisable(false);
    }
    if (this.#attempt !== attempt) return;
    if (ended && (this.#perTryMs > 0 || this.policy.perTryIdleTimeoutMs > 0))
      this.#startPerTryTimers(attempt);
    if (this.#callbacks.downstreamAboveHighWatermark) encoder.readDisable(true);
  }

  pauseDownstream(pause: boolean): void {
    this.#callbacks.readDisable(pause);
  }

  // === retries ===

  /** Gives up the attempt and waits before the next. */
  #backOff(attempt: UpstreamRequest, delayMs: number): void {
    this.noteAttempted(attempt.host);
    this.#attempt = undefined;
    attempt.abandon();
    this.#backOffTimer = workerTimers.schedule(delayMs, onBackOff, this as RouterFilter);
  }

  onBackOff(): void {
    this.#backOffTimer = undefined;
    this.#info.attemptCount++;
    if (this.#route?.virtualHost.includeAttemptCount === true)
      this.#headers?.set('x-envoy-attempt-count', String(this.#info.attemptCount));
    this.#startAttempt();
  }

  // === response ===

  onUpstream1xx(headers: ResponseHeaderMap): void {
    this.#callbacks.encode1xxHeaders(headers);
  }

  onUpstreamHeaders(attempt: UpstreamRequest, headers: ResponseHeaderMap, endStream: boolean): void {
    const { status } = headers;
    const { host } = attempt;
    const result = resultOf(headers, endStream);
    host.report(result);
    if (host.onDegraded !== undefined && saysDegraded(headers, result)) host.onDegraded();
    if (
      (this.action as ForwardAction).redirects?.codes.has(status) === true &&
      this.#redirects(attempt, headers)
    )
      return;
    if (this.retryOn !== 0) {
      if (retriesOnHeaders(this.retryOn, headers, this.statusCodes, this.retriableHeaders)) {
        const answer = this.mayRetry();
        if (answer === RetryAnswer.yes) {
          if (this.#shared.countsCodes) countCode((this.cluster as Cluster).stats.codes.retry, status);
          const limited = this.policy.rateLimited;
          const delay =
            limited === undefined
              ? undefined
              : rateLimitedDelayMs(limited, headers, Date.now(), this.#shared.random());
          this.#backOff(attempt, delay ?? this.backOffMs(this.#shared.random()));
          return;
        }
        flagRetry(this.#info, answer);
      } else if (this.retries > 0) (this.cluster as Cluster).stats.upstreamRqRetrySuccess++;
      this.releaseRetry();
      // The response goes out: the body is not needed again.
      this.#keepBody = false;
      if (attempt.requestStarted) this.#body = undefined;
    }
    this.#responseStarted = true;
    this.#countCode(status, attempt.host);
    const route = this.#route as RouteEntry;
    if (!this.#shared.suppressEnvoyHeaders) {
      const since = this.#requestEnded ? this.#requestEndedAt : this.#info.start;
      const took = Math.max(0, Math.floor(attempt.info.firstByteReceivedMs - since));
      const text = took < smallNumbers.length ? (smallNumbers[took] as string) : String(took);
      if ((headers.seen & HeaderFlag.envoy) === 0)
        headers.addFlagged('x-envoy-upstream-service-time', text, HeaderFlag.envoy);
      else headers.set('x-envoy-upstream-service-time', text);
    }
    if (route.virtualHost.includeAttemptCountInResponse)
      headers.set('x-envoy-attempt-count', String(this.#info.attemptCount));
    if (this.#setCookie !== undefined) headers.add('set-cookie', this.#setCookie);
    this.#info.responseCode = status;
    this.#info.responseCodeDetails = 'via_upstream';
    if (route.hasResponseRules)
      route.applyResponseRules(headers, this.#headers as RequestHeaderMap, this.#info);
    // A tunnel has no end to wait for.
    if (status === 101 || (status < 300 && this.#headers?.method === 'CONNECT')) {
      this.#upgraded = true;
      this.#stopGlobalTimer();
    }
    if (endStream) this.#onUpstreamEnd();
    this.#callbacks.encodeHeaders(headers, endStream);
  }

  /** True when the request goes on elsewhere: this router is done. */
  #redirects(attempt: UpstreamRequest, response: ResponseHeaderMap): boolean {
    const { stats } = this.cluster as Cluster;
    const { redirects } = this.action as ForwardAction;
    const method = this.#headers?.method;
    const follows =
      redirects !== undefined &&
      this.#requestEnded &&
      this.#keepBody &&
      this.#headers?.protocol === '' &&
      takesRedirect(redirects, this.#route as RouteEntry, this.#headers, response, this.#callbacks);
    if (!follows) {
      stats.upstreamInternalRedirectFailed++;
      return false;
    }
    stats.upstreamInternalRedirectSucceeded++;
    const body = this.#headers?.method === method ? this.#body : undefined;
    this.#attempt = undefined;
    attempt.abandon();
    this.#responseEnded = true;
    this.#callbacks.recreateStream(body);
    return true;
  }

  onUpstreamData(_attempt: UpstreamRequest, data: Buffer, endStream: boolean): void {
    if (endStream) this.#onUpstreamEnd();
    this.#callbacks.encodeData(data, endStream);
  }

  onUpstreamTrailers(_attempt: UpstreamRequest, trailers: HeaderMap): void {
    this.#onUpstreamEnd();
    this.#callbacks.encodeTrailers(trailers);
  }

  /** The status that the client sees, under the name of the cluster. */
  #countCode(status: number, host: Host | undefined): void {
    if (!this.#shared.countsCodes) return;
    const { codes } = (this.cluster as Cluster).stats;
    const headers = this.#headers as RequestHeaderMap;
    const internal =
      (headers.seen & HeaderFlag.envoy) !== 0 && headers.getFirst('x-envoy-internal') === 'true';
    countCode(internal ? codes.internal : codes.external, status);
    if (host?.metadata?.['envoy.lb']?.['canary'] === true) countCode(codes.canary, status);
  }

  #stopGlobalTimer(): void {
    if (this.#globalTimer === undefined) return;
    workerTimers.cancel(this.#globalTimer);
    this.#globalTimer = undefined;
  }

  #onUpstreamEnd(): void {
    this.#responseEnded = true;
    this.#stopGlobalTimer();
    // Pauses that the ended attempt asked for have no one left to end them.
    const attempt = this.#attempt;
    this.#attempt = undefined;
    if (attempt?.pausedDownstream === true) {
      attempt.pausedDownstream = false;
      this.#callbacks.readDisable(false);
    }
  }

  onUpstreamReset(attempt: UpstreamRequest, reason: ResetReason, transportFailure: string): void {
    const flags = flagOf(reason);
    const stats = (this.cluster as Cluster).stats;
    if (attempt.requestStarted) {
      stats.upstreamRqRxReset++;
      attempt.host.report(resetResult);
    }
    if (this.#responseStarted) {
      this.#attempt = undefined;
      attempt.abandon();
      this.#info.responseFlags |= flags;
      this.#info.responseCodeDetails = resetAfterResponseStarted(reason);
      this.#callbacks.resetStream(reason);
      return;
    }
    if (this.retryOn !== 0 && retriesOnReset(this.retryOn, reason, attempt.requestStarted)) {
      const answer = this.mayRetry();
      if (answer === RetryAnswer.yes) {
        this.#backOff(attempt, this.backOffMs(this.#shared.random()));
        return;
      }
      flagRetry(this.#info, answer);
    }
    this.#attempt = undefined;
    attempt.abandon();
    this.#stopGlobalTimer();
    this.#failWith(upstreamResetReply(reason, transportFailure, this.retries > 0, flags), attempt.host);
  }

  // === timeouts ===

  onGlobalTimeout(): void {
    this.#globalTimer = undefined;
    const attempt = this.#attempt;
    (this.cluster as Cluster).stats.upstreamRqTimeout++;
    if (attempt !== undefined) {
      if (!attempt.headersReceived && attempt.requestStarted) attempt.host.report(timeoutResult);
      this.#attempt = undefined;
      (this.cluster as Cluster).stats.upstreamRqTxReset++;
      attempt.abandon();
    }
    this.#failWith(localReplies.upstreamRequestTimeout, attempt?.host);
  }

  /** @param idle the attempt made no progress; else it took too long as a whole. */
  onPerTryTimeout(idle: boolean): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    const stats = (this.cluster as Cluster).stats;
    stats.upstreamRqPerTryTimeout++;
    if (!attempt.headersReceived) attempt.host.report(timeoutResult);
    if (!this.#responseStarted && retriesOnReset(this.retryOn, ResetReason.localReset, true)) {
      const answer = this.mayRetry();
      if (answer === RetryAnswer.yes) {
        this.#backOff(attempt, this.backOffMs(this.#shared.random()));
        return;
      }
      flagRetry(this.#info, answer);
    }
    this.#attempt = undefined;
    stats.upstreamRqTxReset++;
    attempt.abandon();
    this.#stopGlobalTimer();
    this.#failWith(
      idle ? localReplies.upstreamPerTryIdleTimeout : localReplies.upstreamPerTryTimeout,
      attempt.host,
    );
  }

  /** After headers the reply cannot be sent: the stream is reset, flags and details are the same. */
  #failWith(reply: LocalReply, host?: Host): void {
    if (!this.#responseStarted) this.#countCode(reply.status, host);
    if (this.#route?.virtualHost.includeAttemptCountInResponse === true) {
      const count = String(this.#info.attemptCount);
      const headers = [...(reply.headers ?? []), ['x-envoy-attempt-count', count] as const];
      this.#callbacks.sendLocalReply({ ...reply, headers });
    } else this.#callbacks.sendLocalReply(reply);
  }

  // === watermarks and end ===

  onAboveWriteBufferHighWatermark(): void {
    this.#attempt?.encoder?.readDisable(true);
  }

  onBelowWriteBufferLowWatermark(): void {
    this.#attempt?.encoder?.readDisable(false);
  }

  onDestroy(): void {
    this.#stopGlobalTimer();
    if (this.#backOffTimer !== undefined) {
      workerTimers.cancel(this.#backOffTimer);
      this.#backOffTimer = undefined;
    }
    this.releaseRetry();
    const attempt = this.#attempt;
    if (attempt !== undefined) {
      this.#attempt = undefined;
      if (attempt.encoder !== undefined) (this.cluster as Cluster).stats.upstreamRqTxReset++;
      attempt.abandon();
    }
    this.#body = undefined;
    if (!this.#requestEnded && this.#shadows !== undefined)
      for (const shadow of this.#shadows) shadow.abandon();
  }
}

const smallNumbers: readonly string[] = Array.from({ length: 256 }, (_, i) => String(i));
