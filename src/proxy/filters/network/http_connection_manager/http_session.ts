/** The connection manager of a filter chain and its sessions: codec, streams and idle clock of one connection. */
import type {
  RequestDecoder,
  ResponseEncoder,
  ServerConnection,
  ServerConnectionCallbacks,
} from '../../../http/codec.ts';
import { codecErrorReply, localReplies } from '../../../http/local_reply.ts';
import { type IoListener, SocketIo } from '../../../http/socket_io.ts';
import type { DownstreamConnection, TerminalNetworkFilter, TlsInfo } from '../../../network/connection.ts';
import { happens } from '../../../network/overload_state.ts';
import { type TimerHandle, workerTimers } from '../../../network/timer_wheel.ts';
import type { MatchContext } from '../../../router/route_config.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { ActiveStream } from './active_stream.ts';
import { type HttpVersion, serverCodecFactories, versionByBytes, versionByConfig } from './codec_factory.ts';
import type { HcmConfig } from './config.ts';
import { clientCertElement } from './forwarded_client_cert.ts';

function onIdleCheck(session: HttpSession): void {
  session.checkIdle();
}
function onMaxConnectionDuration(session: HttpSession): void {
  session.onMaxDuration();
}
function onHeadersTimeout(session: HttpSession): void {
  session.onHeadersTimeout();
}

/** Lives as long as the socket. Also the context of route matches of its requests. */
export class HttpSession implements ServerConnectionCallbacks, IoListener, MatchContext {
  readonly connection: DownstreamConnection;
  readonly random: () => number;
  #manager: HttpConnectionManager;
  readonly #config: HcmConfig;
  readonly #io: SocketIo;
  #codec: ServerConnection | undefined = undefined;
  /** First bytes while the version is not known. */
  #undecided: Buffer | undefined = undefined;
  #first: ActiveStream | undefined = undefined;
  #requests = 0;
  /** The connection has had its last request (max_requests_per_connection). */
  #last = false;
  #bytesRead = 0;
  #bytesWritten = 0;
  #lastActivity: number;
  #idleTimer: TimerHandle | undefined = undefined;
  #durationTimer: TimerHandle | undefined = undefined;
  #headersTimer: TimerHandle | undefined = undefined;
  #closing = false;
  #clientCert: string | undefined = undefined;
  #clientCertFor: HcmConfig | undefined = undefined;
  readonly #stopDrain: () => void;
  /** `%RESPONSE_CODE_DETAILS%` of requests that end with the connection. */
  closeDetails = 'downstream_remote_disconnect';

  constructor(manager: HttpConnectionManager, connection: DownstreamConnection) {
    const { config } = manager;
    this.#manager = manager;
    this.#config = config;
    this.connection = connection;
    this.random = config.random;
    this.#lastActivity = performance.now();
    config.stats.cxTotal.inc();
    config.stats.cxActive.add(1);
    // HTTP/1 says it with the next response: an idle connection may carry a request that is on its way.
    this.#stopDrain = connection.drain.onDrain(() => {
      if (this.#codec?.protocol === 'HTTP/2') this.#codec.shutdownNotice();
    });
    this.#armIdle(config.idleTimeoutMs);
    if (config.maxConnectionDurationMs > 0)
      this.#durationTimer = workerTimers.schedule(
        config.maxConnectionDurationMs,
        onMaxConnectionDuration,
        this as HttpSession,
      );
    this.#io = new SocketIo(connection.socket, this);
    // Listeners accept sockets paused.
    connection.socket.resume();
    const version = versionByConfig(config.codec, connection.info.negotiatedProtocol);
    if (version !== undefined) this.#startCodec(version);
  }

  /** Downstream TLS, for route matches. */
  get tls(): TlsInfo | undefined {
    return this.connection.info.tls;
  }

  #startCodec(version: HttpVersion): void {
    workerTimers.cancel(this.#headersTimer);
    this.#headersTimer = undefined;
    this.#codec = serverCodecFactories[version](this.#io, this, this.#config);
    if (version === 'http1') this.#config.stats.cxHttp1Total.inc();
    else this.#config.stats.cxHttp2Total.inc();
  }

  // === until the version is known ===

  onData(chunk: Buffer): void {
    const data = this.#undecided === undefined ? chunk : Buffer.concat([this.#undecided, chunk]);
    const version = versionByBytes(data);
    if (version === undefined) {
      this.#undecided = data;
      const { requestHeadersTimeoutMs } = this.#config;
      if (requestHeadersTimeoutMs > 0)
        this.#headersTimer ??= workerTimers.schedule(
          requestHeadersTimeoutMs,
          onHeadersTimeout,
          this as HttpSession,
        );
      return;
    }
    this.#undecided = undefined;
    this.#startCodec(version);
    this.#codec?.onData(data);
  }

  onEnd(): void {
    this.#io.destroy();
  }

  onDrain(): void {}

  // === from the codec ===

  newStream(encoder: ResponseEncoder): RequestDecoder {
    const stream = this.#addStream(encoder);
    const limit = this.#config.maxRequestsPerConnection;
    if (++this.#requests === limit) {
      // Over HTTP/1 the answer to the last request says so; the codec is still busy with its head.
      if (this.#codec?.protocol === 'HTTP/2') this.#codec.shutdownNotice();
      else this.#last = true;
    }
    return stream;
  }

  #addStream(encoder: ResponseEncoder): ActiveStream {
    // The chain may have newer filters by now: the next request takes them, the connection stays.
    const current = this.connection.chain.current;
    if (current !== this.#manager && current instanceof HttpConnectionManager) this.#manager = current;
    const { config } = this.#manager;
    const stream = new ActiveStream(this, config, encoder, this.#codec?.protocol ?? 'HTTP/1.1');
    const first = this.#first;
    if (first !== undefined) {
      stream.next = first;
      first.previous = stream;
    }
    this.#first = stream;
    config.stats.rqTotal.value++;
    config.stats.rqActive.value++;
    if (stream.idleMs > 0 && stream.idleMs < this.#config.idleTimeoutMs) this.watchIdle(stream);
    return stream;
  }

  onProtocolError(encoder: ResponseEncoder, status: number, details: string): void {
    const { stats } = this.#config;
    const late = details === localReplies.requestHeadersTimeout.details;
    (late ? stats.rqHeaderTimeout : stats.cxProtocolError).inc();
    const stream = this.#addStream(encoder);
    stream.streamInfo.lastDownstreamByteReceived = stream.streamInfo.start;
    stream.sendLocalReply(late ? localReplies.requestHeadersTimeout : codecErrorReply(status, details));
  }

  onClose(): void {
    this.#closing = true;
    this.#stopDrain();
    workerTimers.cancel(this.#idleTimer);
    workerTimers.cancel(this.#durationTimer);
    workerTimers.cancel(this.#headersTimer);
    this.#config.stats.cxActive.add(-1);
  }

  // === for streams ===

  /** Called before response headers are written: a listener that drains says so, an overloaded proxy too. */
  beforeResponse(): void {
    const { overload, stats } = this.#config;
    if (this.#last) this.#codec?.shutdownNotice();
    if (this.connection.drain.draining) {
      stats.cxDrainClose.inc();
      this.#codec?.shutdownNotice();
    } else if (overload.disableHttpKeepalive > 0 && happens(overload.disableHttpKeepalive, this.random)) {
      stats.cxOverloadDisableKeepalive.inc();
      this.#codec?.shutdownNotice();
    }
  }

  /** A request that cannot be trusted: with HTTP/1 the rest of the connection cannot be either. */
  closeAfterResponse(): void {
    if (this.#codec?.protocol === 'HTTP/1.1') this.#codec.shutdownNotice();
  }

  /** Bytes of the stream as its codec counts them; for HTTP/1 those since the last stream, exact without pipelining. */
  takeWireBytes(info: StreamInfo, encoder: ResponseEncoder): void {
    const codec = this.#codec;
    if (codec === undefined) return;
    if (encoder.wireBytesReceived !== undefined) {
      info.wireBytesReceived = encoder.wireBytesReceived;
      info.wireBytesSent = encoder.wireBytesSent ?? 0;
      return;
    }
    info.wireBytesReceived = codec.bytesRead - this.#bytesRead;
    info.wireBytesSent = codec.bytesWritten - this.#bytesWritten;
    this.#bytesRead = codec.bytesRead;
    this.#bytesWritten = codec.bytesWritten;
  }

  onStreamFinished(stream: ActiveStream): void {
    const { next, previous } = stream;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next !== undefined) next.previous = previous;
    this.#lastActivity = stream.streamInfo.end;
  }

  /** Element for x-forwarded-client-cert; undefined when the client showed no certificate. */
  clientCertElement(config: HcmConfig): string | undefined {
    const { tls } = this.connection.info;
    if (tls?.peerCertificateDer === undefined) return undefined;
    if (this.#clientCertFor !== config) {
      this.#clientCertFor = config;
      this.#clientCert = clientCertElement(tls, config.clientCert);
    }
    return this.#clientCert;
  }

  // === idle ===
  // Requests only note when something happened; one timer per connection looks at the notes when it fires.

  #armIdle(ms: number): void {
    if (ms > 0) this.#idleTimer = workerTimers.schedule(ms, onIdleCheck, this as HttpSession);
  }

  /** Makes sure that the idle clock looks at this stream in time. */
  watchIdle(stream: ActiveStream): void {
    if (stream.idleMs <= 0) return;
    if (this.#idleTimer === undefined) this.#armIdle(stream.idleMs);
    else if (stream.idleMs < this.#soonest) workerTimers.refresh(this.#idleTimer, stream.idleMs);
    this.#soonest = Math.min(this.#soonest, stream.idleMs);
  }

  #soonest = Infinity;

  checkIdle(): void {
    this.#idleTimer = undefined;
    if (this.#closing) return;
    const now = performance.now();
    let wait = Infinity;
    for (let stream = this.#first; stream !== undefined;) {
      const { next } = stream;
      if (stream.idleMs > 0) {
        const left = stream.lastActivity + stream.idleMs - now;
        if (left <= 0) stream.onIdleTimeout();
        else wait = Math.min(wait, left);
      }
      stream = next;
    }
    const { idleTimeoutMs } = this.#config;
    if (idleTimeoutMs > 0) {
      const left = this.#lastActivity + idleTimeoutMs - now;
      if (this.#first === undefined && left <= 0) {
        this.#config.stats.cxIdleTimeout.inc();
        if (this.#codec === undefined) this.#io.end();
        else this.#codec.shutdownNotice();
        return;
      }
      wait = Math.min(wait, Math.max(left, 1), idleTimeoutMs);
    }
    this.#soonest = wait;
    if (wait !== Infinity) this.#armIdle(Math.ceil(wait));
  }

  onMaxDuration(): void {
    this.#durationTimer = undefined;
    this.#codec?.shutdownNotice();
  }

  /** Bytes that do not even tell the version of HTTP. */
  onHeadersTimeout(): void {
    this.#headersTimer = undefined;
    this.#io.destroy();
  }
}

/** One per filter chain; each connection becomes a session. */
export class HttpConnectionManager implements TerminalNetworkFilter {
  readonly config: HcmConfig;

  constructor(config: HcmConfig) {
    this.config = config;
  }

  onConnection(connection: DownstreamConnection): void {
    // The socket's events keep the session alive.
    void new HttpSession(this, connection);
  }

  close(): void {
    const { config } = this;
    config.routes.close();
    config.chain.close();
    for (const { chain } of config.upgrades.values()) chain?.close();
  }
}
