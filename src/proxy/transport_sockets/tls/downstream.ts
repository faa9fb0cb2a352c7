/** TLS on accepted connections (envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext). */
import type { Socket } from 'node:net';
import { TLSSocket, type TLSSocketOptions } from 'node:tls';
import { create, fromBinary } from '@bufbuild/protobuf';
import {
  CommonTlsContextSchema,
  type DownstreamTlsContext,
  DownstreamTlsContextSchema,
  DownstreamTlsContext_OcspStaplePolicy as OcspStaplePolicy,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ConnectionInfo } from '../../network/connection.ts';
import { durationMs } from '../../network/duration.ts';
import type {
  DownstreamTransportSocketExtension,
  DownstreamTransportSocketFactory,
  TlsStats,
  TransportSocketCallbacks,
} from '../../network/transport_socket.ts';
import { alpnWire } from './alpn.ts';
import { Handshake, type PeerDemand } from './handshake.ts';
import { type TicketSource, type TlsMaterial, type TlsRole, TlsContextSource } from './tls_context.ts';
import { refuseFields } from '../../network/refused_fields.ts';

class DownstreamTls implements DownstreamTransportSocketFactory {
  readonly secure = true;
  readonly #source: TlsContextSource;
  readonly #demand: PeerDemand;
  readonly #protocols: readonly string[];
  readonly #stats: TlsStats | undefined;

  constructor(
    source: TlsContextSource,
    demand: PeerDemand,
    protocols: readonly string[],
    stats: TlsStats | undefined,
  ) {
    this.#source = source;
    this.#demand = demand;
    this.#protocols = protocols;
    this.#stats = stats;
  }

  get ready(): boolean {
    return this.#source.ready && this.#source.material !== undefined;
  }

  onReady(callback: () => void): void {
    this.#source.onReady(callback);
  }

  wrap(raw: Socket, info: ConnectionInfo, callbacks: TransportSocketCallbacks): void {
    const { material } = this.#source;
    if (material === undefined) {
      raw.destroy();
      callbacks.onTransportFailure(this.#source.problem ?? 'TLS error: Secret is not supplied by SDS');
      return;
    }
    const protocols = this.#chooseProtocols(info);
    const options: TLSSocketOptions = {
      isServer: true,
      secureContext: material.identity.context,
      requestCert: material.validation !== undefined || this.#demand.requireCertificate,
      // The peer is judged after the handshake, with Envoy's words for what is wrong.
      rejectUnauthorized: false,
    };
    if (protocols !== undefined) options.ALPNProtocols = alpnWire(protocols);
    if (material.choosesByName) chooseByName(material, info, options);
    const socket = new TLSSocket(raw, options);
    // One object per connection, not per request.
    void new Handshake(socket, raw, material, this.#demand, this.#stats, '', undefined, callbacks);
  }

  /**
   * What to answer to the client's ALPN offer. Without a common protocol Envoy answers nothing, where node:tls would refuse
   * the handshake: an offer that the TLS inspector saw is decided here. Undefined answers nothing.
   */
  #chooseProtocols(info: ConnectionInfo): readonly string[] | undefined {
    const own = this.#protocols;
    if (own.length === 0) return undefined;
    const offered = info.applicationProtocols;
    if (info.transportProtocol !== 'tls') return own;
    const common = own.filter((name) => offered.includes(name));
    return common.length === 0 ? undefined : common;
  }

  close(): void {
    this.#source.close();
  }
}

/** The TLS inspector has seen the name, or OpenSSL asks for the certificate when it reads it. */
function chooseByName(material: TlsMaterial, info: ConnectionInfo, options: TLSSocketOptions): void {
  if (info.transportProtocol === 'tls') {
    options.secureContext = material.identityFor(info.requestedServerName).context;
    return;
  }
  options.SNICallback = (name, answer) => answer(null, material.identityFor(name.toLowerCase()).context);
}

function ticketSource({ sessionTicketKeysType: type }: DownstreamTlsContext): TicketSource {
  switch (type.case) {
    case 'sessionTicketKeys':
      return { kind: 'inline', keys: type.value };
    case 'sessionTicketKeysSdsSecretConfig':
      return { kind: 'sds', sds: type.value };
    case 'disableStatelessSessionResumption':
      return { kind: type.value ? 'none' : 'derived' };
    default:
      return { kind: 'derived' };
  }
}

export const downstreamTls = {
  name: 'envoy.transport_sockets.tls',
  typeUrls: [typeUrlOf(DownstreamTlsContextSchema)],
  create(config, context) {
    const proto = fromBinary(DownstreamTlsContextSchema, config.value);
    refuseFields(proto);
    refuseFields(proto.commonTlsContext, 'common_tls_context.');
    if (proto.ocspStaplePolicy !== OcspStaplePolicy.LENIENT_STAPLING)
      throw new Error('ocsp_staple_policy: OCSP is not implemented');
    const shared = proto.commonTlsContext ?? create(CommonTlsContextSchema);
    const requireCertificate = proto.requireClientCertificate ?? false;
    const timeoutMs = durationMs(proto.sessionTimeout);
    const role: TlsRole = {
      side: 'server',
      requireCertificate,
      tickets: ticketSource(proto),
      sessionTimeoutSeconds: timeoutMs === undefined ? undefined : Math.floor(timeoutMs / 1000),
      preferClientCiphers: proto.preferClientCiphers,
    };
    const demand: PeerDemand = {
      requireCertificate,
      requireServerName: proto.requireSni ?? false,
      names: undefined,
    };
    const source = new TlsContextSource(shared, role, context.secrets);
    return new DownstreamTls(source, demand, shared.alpnProtocols, context.tlsStats);
  },
} satisfies DownstreamTransportSocketExtension;
