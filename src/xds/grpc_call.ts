/** One gRPC call on an HTTP/2 client stream: frames out, frames in, one status at the end. */
import {
  type ClientHttp2Stream,
  type Http2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  constants,
} from 'node:http2';
import { FrameReader, encodeFrame } from './grpc_frame.ts';
import { GrpcError, type GrpcStatus, grpcStatus, toGrpcStatus } from './grpc_status.ts';

/** Hears one call. Neither method may throw. */
export interface CallHandler {
  onMessage(message: Uint8Array): void;
  /** Once; without error for status OK. Not called after `cancel`. */
  onClose(error?: GrpcError): void;
}

/** Status for a response that is not gRPC (gRPC, "HTTP to gRPC Status Code Mapping"). */
const statusOfHttp: Readonly<Record<number, GrpcStatus>> = {
  400: grpcStatus.internal,
  401: grpcStatus.unauthenticated,
  403: grpcStatus.permissionDenied,
  404: grpcStatus.unimplemented,
  429: grpcStatus.unavailable,
  502: grpcStatus.unavailable,
  503: grpcStatus.unavailable,
  504: grpcStatus.unavailable,
};

/** Status for RST_STREAM (gRPC over HTTP/2, "HTTP2 Transport Mapping: Errors"). */
const statusOfReset: Readonly<Record<number, GrpcStatus>> = {
  [constants.NGHTTP2_REFUSED_STREAM]: grpcStatus.unavailable,
  [constants.NGHTTP2_CANCEL]: grpcStatus.cancelled,
  [constants.NGHTTP2_ENHANCE_YOUR_CALM]: grpcStatus.resourceExhausted,
  [constants.NGHTTP2_INADEQUATE_SECURITY]: grpcStatus.permissionDenied,
};

function decodeGrpcMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The status that headers or trailers carry, if any: undefined is "none here". */
function statusIn(headers: IncomingHttpHeaders): { error: GrpcError | undefined } | undefined {
  const status = headers['grpc-status'];
  if (typeof status !== 'string') return undefined;
  const code = Number(status);
  if (code === 0) return { error: undefined };
  const message = headers['grpc-message'];
  return {
    error: new GrpcError(toGrpcStatus(code), typeof message === 'string' ? decodeGrpcMessage(message) : ''),
  };
}

/** Headers of every call; metadata comes after. */
export function callHeaders(path: string, authority: string, scheme: string): OutgoingHttpHeaders {
  return {
    ':method': 'POST',
    ':scheme': scheme,
    ':path': path,
    ':authority': authority,
    te: 'trailers',
    'content-type': 'application/grpc',
    'grpc-accept-encoding': 'identity',
    'user-agent': 'trysail',
  };
}

/** A call in flight. */
export class Call {
  readonly #handler: CallHandler;
  readonly #frames: FrameReader;
  readonly #stream: ClientHttp2Stream;
  readonly #session: Http2Session | undefined;
  #state: 'open' | 'closed' = 'open';
  #status: { error: GrpcError | undefined } | undefined;
  #unwritten = 0;
  #waiters: (() => void)[] = [];

  constructor(stream: ClientHttp2Stream, handler: CallHandler, maxMessageBytes: number) {
    this.#stream = stream;
    this.#session = stream.session;
    this.#handler = handler;
    this.#frames = new FrameReader(maxMessageBytes);
    stream.on('response', (headers) => this.#onHeaders(headers));
    stream.on('trailers', (headers) => {
      this.#status ??= statusIn(headers);
    });
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    stream.on('end', () => this.#onResponseEnd());
    stream.on('error', (error) => this.#end(this.#fromStreamError(error)));
    stream.on('close', () => this.#onStreamClose());
  }

  send(message: Uint8Array): void {
    if (this.#state === 'closed' || this.#stream.writableEnded) return;
    this.#unwritten++;
    this.#stream.write(encodeFrame(message), () => {
      this.#unwritten--;
      if (this.#unwritten === 0) this.#release();
    });
  }

  /** No more messages will be sent; the peer's go on arriving. */
  end(): void {
    if (this.#state === 'open') this.#stream.end();
  }

  /** Ends both directions; the handler hears nothing more. */
  cancel(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#release();
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  /** Resolves when all messages sent have been written, or the call has ended. */
  flushed(): Promise<void> {
    if (this.#unwritten === 0 || this.#state === 'closed') return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #onHeaders(headers: IncomingHttpHeaders): void {
    this.#status = statusIn(headers);
    if (this.#status !== undefined) return;
    const http = Number(headers[':status']);
    const type = headers['content-type'] ?? '';
    if (http === 200 && type.startsWith('application/grpc')) return;
    const code = http === 200 ? grpcStatus.unknown : (statusOfHttp[http] ?? grpcStatus.unknown);
    this.#fail(new GrpcError(code, `not a gRPC response: HTTP status ${http}, content type "${type}"`));
  }

  #onData(chunk: Buffer): void {
    if (this.#state === 'closed') return;
    let messages: Buffer[];
    try {
      messages = this.#frames.push(chunk);
    } catch (error) {
      this.#fail(GrpcError.from(error));
      return;
    }
    for (const message of messages) {
      if (this.#open()) this.#handler.onMessage(message);
    }
  }

  /** A handler may cancel between two messages. */
  #open(): boolean {
    return this.#state === 'open';
  }

  /** The server is done though this side has not half-closed: the status decides, the rest is reset. */
  #onResponseEnd(): void {
    if (this.#status === undefined) return;
    this.#end(this.#status.error);
    this.#stream.close(constants.NGHTTP2_NO_ERROR);
  }

  #onStreamClose(): void {
    if (this.#status !== undefined) this.#end(this.#status.error);
    else if (this.#stream.rstCode !== 0) this.#end(this.#fromReset());
    else this.#end(new GrpcError(grpcStatus.unavailable, 'stream ended without a status'));
  }

  #fail(error: GrpcError): void {
    this.#end(error);
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  #end(error: GrpcError | undefined): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#release();
    this.#handler.onClose(error);
  }

  #release(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }

  #fromReset(): GrpcError {
    // Node gives the streams of a lost connection the code CANCEL, as if the peer had reset them.
    if (this.#session?.destroyed === true) {
      return new GrpcError(grpcStatus.unavailable, 'connection lost');
    }
    const code = this.#stream.rstCode;
    return new GrpcError(
      statusOfReset[code] ?? grpcStatus.internal,
      `stream reset with HTTP/2 error ${code}`,
    );
  }

  #fromStreamError(error: Error): GrpcError {
    if (this.#status?.error !== undefined) return this.#status.error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ERR_HTTP2_STREAM_ERROR') return this.#fromReset();
    // Everything else (refused connection, TLS failure, lost session) is a reason to try again elsewhere or later.
    return new GrpcError(grpcStatus.unavailable, error.message, { cause: error });
  }
}
