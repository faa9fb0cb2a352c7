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
  TransportSocketCallbacks,
  UpstreamTransportOptions,
  UpstreamTransportSocketExtension,
  UpstreamTransportSocketFactory,
} from '../../network/transport_socket.ts';
import { alpnWire } from './alpn.ts';
import { Handshake, type PeerDemand } from './handshake.ts';
import { TlsContextSource } from './tls_context.ts';
import { startClientHandshake } from './tls_handle.ts';

const plainDemand: PeerDemand = { requireCertificate: true, names: undefined };

class UpstreamTls implements UpstreamTransportSocketFactory {
  readonly secure = true;
  readonly applicationProtocols: readonly string[];
  readonly #source: TlsContextSource;
  readonly #serverName: string;

  constructor(source: TlsContextSource, serverName: string, protocols: readonly string[]) {
    this.#source = source;
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
      secureContext: material.context,
      requestCert: true,
      rejectUnauthorized: false,
      ...(protocols.length === 0 ? {} : { ALPNProtocols: alpnWire(protocols) }),
    });
    const name = options.serverName ?? this.#serverName;
    const names = options.verifySubjectAltNames;
    void new Handshake(
      socket,
      raw,
      material,
      names === undefined ? plainDemand : { requireCertificate: true, names },
      callbacks,
    );
    // RFC 6066 section 3: literal addresses are not permitted as server names.
    startClientHandshake(socket, isIP(name) === 0 ? name : '');
  }

  close(): void {
    this.#source.close();
  }
}

export const upstreamTls = {
  name: 'envoy.transport_sockets.tls',
  typeUrls: [typeUrlOf(UpstreamTlsContextSchema)],
  create(config, context) {
    const proto = fromBinary(UpstreamTlsContextSchema, config.value);
    const shared = proto.commonTlsContext ?? create(CommonTlsContextSchema);
    const source = new TlsContextSource(shared, false, context.secrets);
    return new UpstreamTls(source, proto.sni, shared.alpnProtocols);
  },
} satisfies UpstreamTransportSocketExtension;
