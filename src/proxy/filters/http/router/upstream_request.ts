/** One attempt at a request: a stream of a connection pool and what became of it. */
import {
  type ClientConnection,
  type RequestEncoder,
  ResetReason,
  type ResponseDecoder,
} from '../../../http/codec.ts';
import type { HeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { batchNow } from '../../../http/socket_io.ts';
import { switchedFromHttp2 } from '../../../http/upgrade.ts';
import type { TlsInfo } from '../../../network/connection.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import type { UpstreamInfo } from '../../../stream_info/stream_info.ts';
import type {
  Cancellable,
  Host,
  HttpPoolCallbacks,
  PoolFailure,
  TcpPoolCallbacks,
} from '../../../upstream/upstream.ts';
import type { RouterFilter } from './router.ts';
import { TcpUpstream } from './tcp_upstream.ts';

const resetReasons: Readonly<Record<PoolFailure, ResetReason>> = {
  overflow: ResetReason.overflow,
  local_connection_failure: ResetReason.localConnectionFailure,
  remote_connection_failure: ResetReason.remoteConnectionFailure,
  timeout: ResetReason.connectionTimeout,
};

/** Hears pool and codec for the router; after `abandon` it hears nothing more. */
export class UpstreamRequest implements ResponseDecoder, HttpPoolCallbacks {
  readonly host: Host;
  readonly info: UpstreamInfo;
  #router: RouterFilter | undefined;
  encoder: RequestEncoder | undefined = undefined;
  waiting: Cancellable | undefined = undefined;
  /** The first bytes of the request were written. */
  requestStarted = false;
  /** Protocol of an upgrade that goes upstream as extended CONNECT. */
  upgrade = '';
  /** The connection served requests before: its end may have crossed with this one. */
  reused = false;
  headersReceived = false;
  /** Armed by the router, ended here with the attempt. */
  perTryTimer: TimerHandle | undefined = undefined;
  perTryIdleTimer: TimerHandle | undefined = undefined;
  perTryIdleMs = 0;
  /** The connection's write queue is full and the client was told to pause. */
  pausedDownstream = false;

  constructor(router: RouterFilter, host: Host, info: UpstreamInfo) {
    this.#router = router;
    this.host = host;
    this.info = info;
  }

  onPoolReady(
    encoder: RequestEncoder,
    _host: Host,
    connection: ClientConnection,
    tls: TlsInfo | undefined,
    connectionId: number,
    reused: boolean,
  ): void {
    this.waiting = undefined;
    const router = this.#router;
    if (router === undefined) {
      encoder.reset(ResetReason.localReset);
      return;
    }
    this.encoder = encoder;
    this.reused = reused;
    const { info } = this;
    info.localAddress = connection.localAddress;
    info.tls = tls;
    info.protocol = connection.protocol;
    info.connectionId = connectionId;
    router.onUpstreamReady(this, encoder);
  }

  /** For CONNECT that ends here: the connection becomes the stream. */
  tcpCallbacks(): TcpPoolCallbacks {
    return {
      onPoolReady: (socket, _host, localAddress, tls) => {
        this.waiting = undefined;
        const router = this.#router;
        if (router === undefined) {
          socket.destroy();
          return;
        }
        const encoder = new TcpUpstream(socket, this, router.bufferLimit);
        this.encoder = encoder;
        this.info.localAddress = localAddress;
        this.info.tls = tls;
        router.onUpstreamReady(this, encoder);
      },
      onPoolFailure: (reason, transportFailure) => this.onPoolFailure(reason, transportFailure),
    };
  }

  onPoolFailure(reason: PoolFailure, transportFailureReason: string): void {
    this.waiting = undefined;
    this.info.transportFailureReason = transportFailureReason;
    this.#router?.onUpstreamReset(this, resetReasons[reason], transportFailureReason);
  }

  decode1xxHeaders(headers: ResponseHeaderMap): void {
    this.#router?.onUpstream1xx(headers);
  }

  decodeHeaders(headers: ResponseHeaderMap, endStream: boolean): void {
    const { info } = this;
    info.firstByteReceivedMs = batchNow();
    this.headersReceived = true;
    if (this.upgrade !== '' && headers.status === 200) switchedFromHttp2(headers, this.upgrade);
    if (endStream) this.#end(info.firstByteReceivedMs);
    else this.#touch();
    this.#router?.onUpstreamHeaders(this, headers, endStream);
  }

  decodeData(data: Buffer, endStream: boolean): void {
    if (endStream) this.#end(batchNow());
    else this.#touch();
    this.#router?.onUpstreamData(this, data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    this.#end(batchNow());
    this.#router?.onUpstreamTrailers(this, trailers);
  }

  onResetStream(reason: ResetReason, details: string): void {
    this.encoder = undefined;
    this.#router?.onUpstreamReset(this, reason, reason === ResetReason.protocolError ? details : '');
  }

  onAboveWriteBufferHighWatermark(): void {
    if (this.pausedDownstream) return;
    this.pausedDownstream = true;
    this.#router?.pauseDownstream(true);
  }

  onBelowWriteBufferLowWatermark(): void {
    if (!this.pausedDownstream) return;
    this.pausedDownstream = false;
    this.#router?.pauseDownstream(false);
  }

  /** The response is complete. */
  #end(now: number): void {
    this.info.lastByteReceivedMs = now;
    // Where the request is not complete the codec ends the stream by itself.
    this.encoder = undefined;
    this.stopTimers();
  }

  #touch(): void {
    if (this.perTryIdleTimer !== undefined) workerTimers.refresh(this.perTryIdleTimer, this.perTryIdleMs);
  }

  stopTimers(): void {
    workerTimers.cancel(this.perTryTimer);
    workerTimers.cancel(this.perTryIdleTimer);
    this.perTryTimer = undefined;
    this.perTryIdleTimer = undefined;
  }

  /** Gives the attempt up: the stream is reset when it is open. */
  abandon(): void {
    const router = this.#router;
    if (router === undefined) return;
    this.#router = undefined;
    this.stopTimers();
    if (this.pausedDownstream) {
      this.pausedDownstream = false;
      router.pauseDownstream(false);
    }
    this.waiting?.cancel();
    this.waiting = undefined;
    const { encoder } = this;
    this.encoder = undefined;
    encoder?.reset(ResetReason.localReset);
  }
}
