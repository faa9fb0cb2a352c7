/** Transport sockets (envoy.config.core.v3.TransportSocket): what stands between a TCP socket and the filters above it. */
import type { Socket } from 'node:net';
import type { TransportSocket } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { ExtensionFactory } from '../registry.ts';
import type { ConnectionInfo, TlsInfo } from './connection.ts';
import type { ProxyInfo } from './proxy_header.ts';
import type { SecretProvider } from './secret.ts';
import type { UpstreamSource } from './foreign_address.ts';

/** Hears the end of a handshake. Exactly one is called, never inside `wrap`/`connect` itself unless it says so. */
export interface TransportSocketCallbacks {
  /** `socket` carries plain bytes from here on; `tls` is undefined for raw buffers. */
  onTransportReady(socket: Socket, tls: TlsInfo | undefined, negotiatedProtocol: string): void;
  /** The socket is destroyed; `reason` is Envoy's `%..._TRANSPORT_FAILURE_REASON%`, empty when the peer just left. */
  onTransportFailure(reason: string): void;
}

/** Made once per filter chain. */
export interface DownstreamTransportSocketFactory {
  /** True when it speaks TLS: the connection's bytes begin with a handshake. */
  readonly secure: boolean;
  /** False until all secrets are there; connections that come earlier are refused. */
  readonly ready: boolean;
  /** Calls back once, when `ready` turns true; at once when it is. */
  onReady(callback: () => void): void;
  /** Starts the handshake on an accepted socket; a raw buffer answers in the call. */
  wrap(socket: Socket, info: ConnectionInfo, callbacks: TransportSocketCallbacks): void;
  /** Gives up secrets. Connections that are open go on. */
  close(): void;
}

/** What one upstream connection asks of its transport socket (envoy Network::TransportSocketOptions). */
export interface UpstreamTransportOptions {
  /** Replaces the configured SNI; from `auto_sni` or the downstream connection. Undefined keeps it. */
  readonly serverName: string | undefined;
  /** ALPN in order of preference that replaces the configured list; undefined keeps it. */
  readonly applicationProtocols: readonly string[] | undefined;
  /** Subject alternative names that the peer must show, in place of the configured ones; undefined keeps them. */
  readonly verifySubjectAltNames: readonly string[] | undefined;
  /** What a PROXY header to the upstream tells; undefined or absent tells nothing. */
  readonly proxyProtocol?: ProxyInfo | undefined;
  /** Where the connection comes from; undefined or absent for an address of the proxy. */
  readonly source?: UpstreamSource | undefined;
}

/** Options without any override: the common case, compared by identity. */
export const noTransportOptions: UpstreamTransportOptions = {
  serverName: undefined,
  applicationProtocols: undefined,
  verifySubjectAltNames: undefined,
};

/** Filter state under which filters leave `UpstreamTransportOptions` for the router (envoy.network.application_protocols and its kin). */
export const transportOptionsKey = 'envoy.network.transport_socket_options';

/** Made once per cluster (and per transport_socket_matches entry). */
export interface UpstreamTransportSocketFactory {
  readonly secure: boolean;
  readonly ready: boolean;
  onReady(callback: () => void): void;
  /** ALPN configured, empty when none. */
  readonly applicationProtocols: readonly string[];
  /** Starts the handshake on a connected socket; a raw buffer answers in the call. */
  wrap(socket: Socket, options: UpstreamTransportOptions, callbacks: TransportSocketCallbacks): void;
  close(): void;
}

/** Counters of TLS on one listener or cluster (`ssl.*`): plain numbers. */
export interface TlsStats {
  connectionError: number;
  handshake: number;
  sessionReused: number;
  /** Peers without a certificate where none is required. */
  noCertificate: number;
  failVerifyNoCert: number;
  failVerifyError: number;
  failVerifySan: number;
  failVerifyCertHash: number;
}

export function newTlsStats(): TlsStats {
  return {
    connectionError: 0,
    handshake: 0,
    sessionReused: 0,
    noCertificate: 0,
    failVerifyNoCert: 0,
    failVerifyError: 0,
    failVerifySan: 0,
    failVerifyCertHash: 0,
  };
}

/** Envoy's names of `TlsStats`, behind `listener.<address>.` and `cluster.<name>.`. */
export const tlsStatNames: readonly (readonly [name: string, key: keyof TlsStats])[] = [
  ['ssl_connection_error', 'connectionError'],
  ['ssl_handshake', 'handshake'],
  ['ssl_session_reused', 'sessionReused'],
  ['ssl_no_certificate', 'noCertificate'],
  ['ssl_fail_verify_no_cert', 'failVerifyNoCert'],
  ['ssl_fail_verify_error', 'failVerifyError'],
  ['ssl_fail_verify_san', 'failVerifySan'],
  ['ssl_fail_verify_cert_hash', 'failVerifyCertHash'],
];

/** What transport socket factories get from the worker that builds them. */
export interface TransportSocketContext {
  readonly secrets: SecretProvider;
  /** Counters of the listener or cluster; without them nothing is counted. */
  readonly tlsStats?: TlsStats | undefined;
  /** Builds a transport socket that stands inside another one, towards upstreams. */
  readonly createUpstream?: ((inner: TransportSocket) => UpstreamTransportSocketFactory) | undefined;
}

/** Extension kinds `transport_socket.downstream` and `transport_socket.upstream`; `create` throws Error for a bad one. */
export interface DownstreamTransportSocketExtension extends ExtensionFactory {
  create(
    config: { readonly value: Uint8Array },
    context: TransportSocketContext,
  ): DownstreamTransportSocketFactory;
}

export interface UpstreamTransportSocketExtension extends ExtensionFactory {
  create(
    config: { readonly value: Uint8Array },
    context: TransportSocketContext,
  ): UpstreamTransportSocketFactory;
}
