/**
 * One request on a connection (envoy ConnectionManagerImpl::ActiveStream): hears the codec, runs the filters, writes the
 * response. On the hot path: bench/micro/http1_proxy.ts.
 */
import { type RequestDecoder, ResetReason, type ResponseEncoder } from '../../../http/codec.ts';
import { FilterManager } from '../../../http/filter_manager.ts';
import type { LocalReply } from '../../../http/filter.ts';
import type { FilterChain } from '../../../http/filter_chain.ts';
import { type HeaderMap, type RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import { batchNow } from '../../../http/socket_io.ts';
import { codecErrorReply, localReplies } from '../../../http/local_reply.ts';
import { isExtendedConnect, switchedToHttp2, upgradeFromHttp2 } from '../../../http/upgrade.ts';
import type { DownstreamConnection } from '../../../network/connection.ts';
import { happens } from '../../../network/overload_state.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import { streamGrpcTimeoutMs } from '../../../router/grpc_timeout.ts';
import type { RouteTable } from '../../../router/route_config.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';
import { ResponseFlag } from '../../../stream_info/response_flags.ts';
import { StreamInfo } from '../../../stream_info/stream_info.ts';
import type { HcmConfig } from './config.ts';
import type { HttpSession } from './http_session.ts';
import { checkRequest, mutateRequestHeaders } from './request_headers.ts';
import { mutateResponseHeaders } from './response_headers.ts';
import { decorateResponse, finishSpan, type RequestSpan, startSpan } from './tracing.ts';

const continueHeaders = new ResponseHeaderMap();
continueHeaders.status = 100;

function onRequestTimeout(stream: ActiveStream): void {
  stream.onRequestTimeout();
}
function onMaxDuration(stream: ActiveStream): void {
  stream.onMaxDuration();
}

export class ActiveStream extends FilterManager implements RequestDecoder {
  readonly connection: DownstreamConnection;
  readonly config: HcmConfig;
  readonly #session: HttpSession;
  readonly #encoder: ResponseEncoder;
  readonly #routes: RouteTable | undefined;
  #route: RouteEntry | undefined = undefined;
  #routeKnown = false;
  #requestTimer: TimerHandle | undefined = undefined;
  #durationTimer: TimerHandle | undefined = undefined;
  #upgradeType = '';
  #extendedConnect = false;
  #span: RequestSpan | undefined = undefined;
  /** Milliseconds without a byte after which the stream is given up; 0 for never. */
  idleMs: number;
  /** `performance.now()` of the last byte in either direction. */
  lastActivity: number;
  // Links of the session's list.
  previous: ActiveStream | undefined = undefined;
  next: ActiveStream | undefined = undefined;

  constructor(session: HttpSession, config: HcmConfig, encoder: ResponseEncoder, protocol: string) {
    const info = new StreamInfo(session.connection.info, protocol, batchNow());
    super(info);
    this.connection = session.connection;
    this.#session = session;
    this.config = config;
    this.#encoder = encoder;
    this.#routes = config.routes.current;
    this.idleMs = config.streamIdleTimeoutMs;
    this.lastActivity = info.start;
  }

  get bufferLimit(): number {
    return this.config.bufferLimit;
  }

  get downstreamAboveHighWatermark(): boolean {
    return !this.finished && this.#encoder.aboveHighWatermark;
  }

  // === from the codec ===

  decodeHeaders(headers: RequestHeaderMap, endStream: boolean): void {
    const { config, streamInfo: info } = this;
    if (isExtendedConnect(headers)) {
      this.#extendedConnect = true;
      upgradeFromHttp2(headers);
    }
    this.setRequestHeaders(headers);
    if (endStream) {
      info.lastDownstreamByteReceived = info.start;
      this.setRequestEnd();
    } else if (config.requestTimeoutMs > 0)
      this.#requestTimer = workerTimers.schedule(
        config.requestTimeoutMs,
        onRequestTimeout,
        this as ActiveStream,
      );
    if ((headers.seen & HeaderFlag.expect) !== 0 && !config.proxy100Continue) this.#answerExpect(headers);
    const { stopAcceptingRequests } = config.overload;
    if (stopAcceptingRequests > 0 && happens(stopAcceptingRequests, config.random)) {
      config.stats.rqOverloadClose.inc();
      this.sendLocalReply(localReplies.overload);
      return;
    }
    const refusal = checkRequest(headers, config, info.connection);
    if (refusal !== undefined) {
      if (refusal.status === 400) this.#session.closeAfterResponse();
      this.sendLocalReply(refusal);
      return;
    }
    this.#upgradeType = headers.method === 'CONNECT' ? 'connect' : headers.protocol;
    const routes = this.#routes;
    mutateRequestHeaders(
      headers,
      config,
      info.connection,
      info,
      this.#session.clientCertElement(config),
      routes === undefined ? [] : routes.internalOnlyHeaders,
    );
    const chain = this.#upgradeType === '' ? config.chain : this.#upgradeChain();
    if (chain === undefined) {
      this.sendLocalReply(
        this.route() === undefined && this.#upgradeType === 'connect'
          ? localReplies.routeNotFound
          : localReplies.upgradeFailed,
      );
      return;
    }
    const route = this.route();
    if (route?.action.kind === 'forward') this.#applyRouteLimits(route);
    else if (config.maxStreamDurationMs > 0) this.#startDuration(config.maxStreamDurationMs);
    if (config.spans !== undefined)
      this.#span = startSpan(
        config.spans,
        headers,
        info,
        route?.operation ?? '',
        route?.propagatesOperation ?? true,
      );
    if (chain.hasDisabled || routes?.changesFilters === true)
      this.startDecoding(chain, this.#disabledBy(chain));
    else this.startDecoding(chain, undefined);
  }

  recreateStream(body: readonly Buffer[] | undefined): void {
    const { chain } = this.config;
    this.forgetFilters();
    workerTimers.cancel(this.#durationTimer);
    this.#durationTimer = undefined;
    const route = this.route();
    if (route !== undefined) this.#applyRouteLimits(route);
    const choosy = chain.hasDisabled || this.#routes?.changesFilters === true;
    this.restartDecoding(chain, choosy ? this.#disabledBy(chain) : undefined, body);
  }

  #answerExpect(headers: RequestHeaderMap): void {
    if (headers.getFirst('expect')?.toLowerCase() !== '100-continue') return;
    headers.remove('expect');
    this.#encoder.encode1xxHeaders(continueHeaders);
  }

  /** Filters for an upgrade; undefined when it is not allowed. */
  #upgradeChain(): FilterChain | undefined {
    const action = this.route()?.action;
    const upgrade = this.config.upgrades.get(this.#upgradeType);
    const own = action?.kind === 'forward' ? action.upgrades?.get(this.#upgradeType) : undefined;
    const allowed = own ?? upgrade?.enabled ?? false;
    return allowed ? (upgrade?.chain ?? this.config.chain) : undefined;
  }

  #disabledBy(chain: FilterChain): (name: string) => boolean {
    const route = this.route();
    return (name) =>
      route?.filterDisabled(name) ?? chain.entries.find((entry) => entry.name === name)?.disabled ?? false;
  }

  #applyRouteLimits(route: RouteEntry): void {
    const { action } = route;
    if (action.kind !== 'forward') return;
    if (action.idleTimeoutMs !== undefined) {
      this.idleMs = action.idleTimeoutMs;
      this.#session.watchIdle(this);
    }
    const headers = this.requestHeaders();
    const asked =
      action.grpcLimitsStream && headers !== undefined ? streamGrpcTimeoutMs(action, headers) : undefined;
    const duration = asked ?? action.maxStreamDurationMs ?? this.config.maxStreamDurationMs;
    if (asked !== undefined || duration > 0) this.#startDuration(duration);
  }

  #startDuration(ms: number): void {
    this.#durationTimer = workerTimers.schedule(ms, onMaxDuration, this as ActiveStream);
  }

  decodeData(data: Buffer, endStream: boolean): void {
    const info = this.streamInfo;
    const now = batchNow();
    this.lastActivity = now;
    info.bytesReceived += data.length;
    if (endStream) this.#endRequest(now);
    this.decodeBody(data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    const now = batchNow();
    this.lastActivity = now;
    this.#endRequest(now);
    this.decodeRequestTrailers(trailers);
  }

  #endRequest(now: number): void {
    this.streamInfo.lastDownstreamByteReceived = now;
    if (this.#requestTimer !== undefined) {
      workerTimers.cancel(this.#requestTimer);
      this.#requestTimer = undefined;
    }
  }

  onResetStream(reason: ResetReason, details: string): void {
    if (this.finished) return;
    const info = this.streamInfo;
    if (reason === ResetReason.protocolError) {
      this.config.stats.cxProtocolError.inc();
      // Over HTTP/2 the stream is reset already: nobody would hear an answer.
      if (this.responseStarted || info.protocol === 'HTTP/2') {
        info.responseFlags |= ResponseFlag.downstreamProtocolError;
        info.responseCodeDetails = details;
        this.finish();
      } else this.sendLocalReply(codecErrorReply(400, details));
      return;
    }
    if (reason === ResetReason.connectionTermination) {
      info.responseFlags |= ResponseFlag.downstreamConnectionTermination;
      info.responseCodeDetails = this.#session.closeDetails;
      this.config.stats.cxDestroyRemoteActiveRq.inc();
    } else {
      info.responseFlags |= ResponseFlag.downstreamRemoteReset;
      info.responseCodeDetails = details === '' ? 'http2.remote_reset' : details;
    }
    this.finish();
  }

  onAboveWriteBufferHighWatermark(): void {
    this.terminalFilter?.onAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.terminalFilter?.onBelowWriteBufferLowWatermark();
  }

  // === for the filters ===

  route(): RouteEntry | undefined {
    if (!this.#routeKnown) {
      this.#routeKnown = true;
      const headers = this.requestHeaders();
      if (headers !== undefined) this.#route = this.#routes?.match(headers, this.#session);
      if (this.#route !== undefined) this.#noteRoute(this.#route);
    }
    return this.#route;
  }

  /** Route and cluster stand in the log also when a filter answers before the router is asked (Envoy). */
  #noteRoute(route: RouteEntry): void {
    const info = this.streamInfo;
    info.routeName = route.name;
    info.virtualHostName = route.virtualHost.name;
    const cluster = route.clusterName === '' ? undefined : this.config.clusters.get(route.clusterName);
    if (cluster === undefined) return;
    info.clusterName = cluster.name;
    info.clusterStatName = cluster.statName;
    info.clusterMetadata = cluster.metadata;
  }

  clearRouteCache(): void {
    this.#routeKnown = false;
    this.#route = undefined;
  }

  readDisable(disable: boolean): void {
    if (!this.finished) this.#encoder.readDisable(disable);
  }

  encode1xxHeaders(headers: ResponseHeaderMap): void {
    if (this.finished || this.responseStarted) return;
    this.#countResponse(headers.status);
    this.#encoder.encode1xxHeaders(headers);
  }

  #countResponse(status: number): void {
    const { stats } = this.config;
    stats.rqCompleted.value++;
    const byClass = stats.rqByClass[(status / 100) | 0];
    if (byClass !== undefined) byClass.value++;
  }

  protected writeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    const info = this.streamInfo;
    const now = batchNow();
    this.lastActivity = now;
    const upgraded = this.#upgradeType !== '' && headers.status === 101;
    if (this.#upgradeType !== '' && !upgraded && this.#upgradeType !== 'connect')
      info.responseCodeDetails = `${this.#upgradeType}_handshake_unsuccessful`;
    mutateResponseHeaders(
      headers,
      this.requestHeaders(),
      this.config,
      info.requestId,
      upgraded,
      info.startTimeMs + (now - info.start),
    );
    if (this.config.spans !== undefined) decorateResponse(this.config.spans, this.#span, headers);
    this.#session.beforeResponse();
    this.#countResponse(headers.status);
    info.firstDownstreamByteSent = now;
    if (endStream) info.lastDownstreamByteSent = now;
    if (upgraded && this.#extendedConnect) switchedToHttp2(headers);
    this.#encoder.encodeHeaders(headers, endStream);
  }

  protected writeData(data: Buffer, endStream: boolean): void {
    const info = this.streamInfo;
    info.bytesSent += data.length;
    const now = batchNow();
    this.lastActivity = now;
    if (endStream) info.lastDownstreamByteSent = now;
    this.#encoder.encodeData(data, endStream);
  }

  protected writeTrailers(trailers: HeaderMap): void {
    this.streamInfo.lastDownstreamByteSent = batchNow();
    this.#encoder.encodeTrailers(trailers);
  }

  protected resetDownstream(reason: ResetReason): void {
    this.#encoder.reset(reason);
  }

  protected mapLocalReply(reply: LocalReply): LocalReply {
    const map = this.config.localReplies;
    return map === undefined ? reply : map(reply, this.streamInfo, this.requestHeaders());
  }

  protected onFinished(): void {
    const { config, streamInfo: info } = this;
    workerTimers.cancel(this.#requestTimer);
    workerTimers.cancel(this.#durationTimer);
    this.#session.takeWireBytes(info, this.#encoder);
    const { stats, accessLoggers } = config;
    stats.rqActive.value--;
    stats.rqTime.observe(info.end - info.start);
    if (config.spans !== undefined && this.#span !== undefined)
      finishSpan(
        config.spans,
        this.#span,
        info,
        this.requestHeaders(),
        this.responseHeaders(),
        this.responseTrailers(),
      );
    for (let i = 0; i < accessLoggers.length; i++)
      accessLoggers[i]?.log(info, this.requestHeaders(), this.responseHeaders(), this.responseTrailers());
    this.#session.onStreamFinished(this);
  }

  // === timeouts ===

  onRequestTimeout(): void {
    this.#requestTimer = undefined;
    this.config.stats.rqTimeout.inc();
    this.sendLocalReply(localReplies.requestTimeout);
  }

  onMaxDuration(): void {
    this.#durationTimer = undefined;
    this.config.stats.rqMaxDurationReached.inc();
    this.sendLocalReply(this.requestComplete ? localReplies.maxDuration : localReplies.maxDurationRequest);
  }

  onIdleTimeout(): void {
    this.config.stats.rqIdleTimeout.inc();
    this.sendLocalReply(
      this.requestComplete ? localReplies.responseIdleTimeout : localReplies.streamIdleTimeout,
    );
  }
}
