/** TLS to upstreams (envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext). */
import { type Socket, isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { create, fromBinary } from '@bufbuild/protobuf';
import {
  CommonTlsContextSchema,
  UpstreamTlsContextSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type {
  TlsStats,
  TransportSocketCallbacks,
  UpstreamTransportOptions,
  UpstreamTransportSocketExtension,
  UpstreamTransportSocketFactory,
} from '../../network/transport_socket.ts';
import { alpnWire } from './alpn.ts';
import { defaultSessionsPerPlace } from './client_sessions.ts';
import { Handshake, type PeerDemand } from './handshake.ts';
import { type TlsRole, TlsContextSource } from './tls_context.ts';
import { offerSession, startClientHandshake } from './tls_handle.ts';
import { refuseFields } from '../../network/refused_fields.ts';

const plainDemand: PeerDemand = { requireCertificate: true, requireServerName: false, names: undefined };

class UpstreamTls implements UpstreamTransportSocketFactory {
  readonly secure = true;
  readonly applicationProtocols: readonly string[];
  readonly #source: TlsContextSource;
  readonly #serverName: string;
  readonly #stats: TlsStats | undefined;

  constructor(
    source: TlsContextSource,
    serverName: string,
    protocols: readonly string[],
    stats: TlsStats | undefined,
  ) {
    this.#source = source;
    this.#stats = stats;
    this.#serverName = serverName;
    this.applicationProtocols = protocols;
  }

  get ready(): boolean {
    return this.#source.ready && this.#source.material !== undefined;
  }

  onReady(callback: () => void): void {
    this.#source.onReady(callback);
  }

  wrap(raw: Socket, options: UpstreamTransportOptions, callbacks: TransportSocketCallbacks): void {
    const { material } = this.#source;
    if (material === undefined) {
      raw.destroy();
      callbacks.onTransportFailure(this.#source.problem ?? 'TLS error: Secret is not supplied by SDS');
      return;
    }
    const protocols = options.applicationProtocols ?? this.applicationProtocols;
    const socket = new TLSSocket(raw, {
      isServer: false,
      secureContext: material.identity.context,
      requestCert: true,
      rejectUnauthorized: false,
      ...(protocols.length === 0 ? {} : { ALPNProtocols: alpnWire(protocols) }),
    });
    const name = options.serverName ?? this.#serverName;
    const names = options.verifySubjectAltNames;
    const demand = names === undefined ? plainDemand : { ...plainDemand, names };
    const { sessions } = material;
    const place = sessions.enabled ? placeOf(raw, name) : '';
    const session = place === '' ? undefined : sessions.take(place);
    if (session !== undefined) offerSession(socket, session.ticket);
    void new Handshake(socket, raw, material, demand, this.#stats, place, session, callbacks);
    // RFC 6066 section 3: literal addresses are not permitted as server names.
    startClientHandshake(socket, isIP(name) === 0 ? name : '');
  }

  close(): void {
    this.#source.close();
  }
}

/** Most sessions of one place that a configuration can ask for. */
const maxSessionsPerPlace = 64;

/** Envoy counts keys over all hosts and keeps one by default; here they are kept by host. */
function sessionsPerPlace(maxSessionKeys: number | undefined): number {
  if (maxSessionKeys === undefined) return defaultSessionsPerPlace;
  return maxSessionKeys === 0 ? 0 : Math.min(Math.max(maxSessionKeys, 2), maxSessionsPerPlace);
}

/** Address and name of a peer; empty when it has gone already. */
function placeOf(raw: Socket, serverName: string): string {
  const { remoteAddress, remotePort } = raw;
  if (remoteAddress !== undefined) return `${remoteAddress} ${remotePort} ${serverName}`;
  const { path } = raw as Socket & { readonly path?: unknown };
  return typeof path === 'string' ? `${path} ${serverName}` : '';
}

export const upstreamTls = {
  name: 'envoy.transport_sockets.tls',
  typeUrls: [typeUrlOf(UpstreamTlsContextSchema)],
  create(config, context) {
    const proto = fromBinary(UpstreamTlsContextSchema, config.value);
    refuseFields(proto);
    refuseFields(proto.commonTlsContext, 'common_tls_context.');
    const shared = proto.commonTlsContext ?? create(CommonTlsContextSchema);
    const role: TlsRole = { side: 'client', sessionsPerPlace: sessionsPerPlace(proto.maxSessionKeys) };
    const source = new TlsContextSource(shared, role, context.secrets);
    return new UpstreamTls(source, proto.sni, shared.alpnProtocols, context.tlsStats);
  },
} satisfies UpstreamTransportSocketExtension;
