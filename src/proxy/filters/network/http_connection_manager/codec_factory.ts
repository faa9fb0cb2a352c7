/** Which codec serves a connection: by configuration, by ALPN, else by the first bytes. */
import type { ServerConnection, ServerConnectionCallbacks } from '../../../http/codec.ts';
import { Http1ServerConnection } from '../../../http/http1/server_connection.ts';
import { Http2ServerConnection } from '../../../http/http2/server_connection.ts';
import type { SocketIo } from '../../../http/socket_io.ts';
import type { HcmConfig } from './config.ts';

export type HttpVersion = 'http1' | 'http2';

/** Makes a codec on a connection; it becomes the listener of `io`. */
export type ServerCodecFactory = (
  io: SocketIo,
  callbacks: ServerConnectionCallbacks,
  config: HcmConfig,
) => ServerConnection;

export const serverCodecFactories: Readonly<Record<HttpVersion, ServerCodecFactory>> = {
  http1: (io, callbacks, config) => new Http1ServerConnection(io, callbacks, config.http1),
  http2: (io, callbacks, config) => new Http2ServerConnection(io, callbacks, config.http2),
};

/** Client connection preface of HTTP/2 (RFC 9113 3.4). */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** ALPN names that say which version is spoken, Istio's among them. `istio` and `istio-peer-exchange` do not. */
const versionsByAlpn: ReadonlyMap<string, HttpVersion> = new Map([
  ['h2', 'http2'],
  ['istio-h2', 'http2'],
  ['http/1.1', 'http1'],
  ['http/1.0', 'http1'],
  ['istio-http/1.1', 'http1'],
  ['istio-http/1.0', 'http1'],
]);

/** Version without looking at bytes, or undefined when they must tell. */
export function versionByConfig(codec: HcmConfig['codec'], alpn: string): HttpVersion | undefined {
  return codec === 'auto' ? versionsByAlpn.get(alpn) : codec;
}

/** Version by the bytes so far; undefined while they may still become the preface. */
export function versionByBytes(data: Buffer): HttpVersion | undefined {
  if (data[0] !== preface[0]) return 'http1';
  const length = Math.min(data.length, preface.length);
  if (data.compare(preface, 0, length, 0, length) !== 0) return 'http1';
  return length === preface.length ? 'http2' : undefined;
}
