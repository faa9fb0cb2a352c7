/** One unary gRPC call over node:http2 (gRPC over HTTP/2, "Requests" and "Responses"). */
import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';

/** A call that ended with another status than OK. Codes as gRPC numbers them; 14 is unavailable. */
export class GrpcCallError extends Error {
  override name = 'GrpcCallError';
  readonly code: number;

  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Where the server is. Without `tls` in plaintext. */
export interface ChannelOptions {
  /** `host:port`; IPv6 in brackets. */
  readonly address: string;
  tls?: {
    /** PEM roots that verify the server. */
    roots: string;
    /** Name to look for in the server's certificate. Default the host. */
    serverName?: string;
    /** Client certificate, PEM. */
    identity?: { certChain: string; privateKey: string };
  };
}

/** Most bytes of a response message. */
export const maxResponseBytes = 4 * 1024 * 1024;

const unavailable = 14;
const internal = 13;
const deadlineExceeded = 4;

function openSession(options: ChannelOptions): ClientHttp2Session {
  const url = `${options.tls === undefined ? 'http' : 'https'}://${options.address}`;
  if (options.tls === undefined) return connect(url);
  const { roots, serverName, identity } = options.tls;
  return connect(url, {
    ca: roots,
    minVersion: 'TLSv1.2',
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(identity === undefined ? {} : { cert: identity.certChain, key: identity.privateKey }),
  });
}

/** Length-prefixed message, not compressed. */
function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function unframe(body: Buffer): Buffer {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) {
    throw new GrpcCallError(internal, 'the response is not one uncompressed message');
  }
  return body.subarray(5);
}

function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Throws unless headers or trailers say OK; true when they carry a status at all. */
function checkStatus(headers: IncomingHttpHeaders): boolean {
  const status = headers['grpc-status'];
  if (status === undefined) return false;
  const code = Number(status);
  if (code === 0) return true;
  const message = decodeMessage(String(headers['grpc-message'] ?? ''));
  throw new GrpcCallError(
    Number.isInteger(code) ? code : internal,
    message === '' ? `status ${code}` : message,
  );
}

/**
 * Calls and returns the bytes of the response message.
 * @throws GrpcCallError also for failures to connect (code 14) and for the deadline (code 4).
 */
export function callUnary(
  options: ChannelOptions,
  path: string,
  headers: Readonly<Record<string, string>>,
  message: Uint8Array,
  timeoutMs: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const session = openSession(options);
    let settled = false;
    const settle = (act: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      session.destroy();
      act();
    };
    const fail = (error: unknown): void =>
      settle(() => {
        const text = error instanceof Error ? error.message : String(error);
        reject(
          error instanceof GrpcCallError ? error : new GrpcCallError(unavailable, text, { cause: error }),
        );
      });
    const timer = setTimeout(
      () => fail(new GrpcCallError(deadlineExceeded, `no answer from ${options.address} in ${timeoutMs} ms`)),
      timeoutMs,
    );
    session.on('error', fail);
    session.on('close', () =>
      fail(new GrpcCallError(unavailable, `${options.address} closed the connection`)),
    );

    const stream = session.request({
      ...headers,
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: path,
      'content-type': 'application/grpc',
      'grpc-timeout': `${timeoutMs}m`,
      te: 'trailers',
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    let ok = false;
    stream.on('error', fail);
    stream.on('response', (response) => {
      try {
        if (response[':status'] !== 200)
          throw new GrpcCallError(unavailable, `HTTP status ${response[':status']}`);
        ok = checkStatus(response);
      } catch (error) {
        fail(error);
      }
    });
    stream.on('trailers', (trailers) => {
      try {
        ok = checkStatus(trailers) || ok;
      } catch (error) {
        fail(error);
      }
    });
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxResponseBytes)
        fail(new GrpcCallError(internal, `response above ${maxResponseBytes} bytes`));
      else chunks.push(chunk);
    });
    stream.on('end', () => {
      try {
        if (!ok) throw new GrpcCallError(internal, 'the response ended without status');
        const body = unframe(Buffer.concat(chunks));
        settle(() => resolve(body));
      } catch (error) {
        fail(error);
      }
    });
    stream.end(frame(message));
  });
}
