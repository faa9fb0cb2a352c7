/** TLS on accepted connections (envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext). */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { create, fromBinary } from '@bufbuild/protobuf';
import {
  CommonTlsContextSchema,
  DownstreamTlsContextSchema,
} from '#api/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ConnectionInfo } from '../../network/connection.ts';
import type {
  DownstreamTransportSocketExtension,
  DownstreamTransportSocketFactory,
  TransportSocketCallbacks,
} from '../../network/transport_socket.ts';
import { alpnWire } from './alpn.ts';
import { Handshake, type PeerDemand } from './handshake.ts';
import { TlsContextSource } from './tls_context.ts';

class DownstreamTls implements DownstreamTransportSocketFactory {
  readonly secure = true;
  readonly #source: TlsContextSource;
  readonly #demand: PeerDemand;
  readonly #requireSni: boolean;
  readonly #protocols: readonly string[];

  constructor(
    source: TlsContextSource,
    requireCertificate: boolean,
    requireSni: boolean,
    protocols: readonly string[],
  ) {
    this.#source = source;
    this.#demand = { requireCertificate, names: undefined };
    this.#requireSni = requireSni;
    this.#protocols = protocols;
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
    const protocol = this.#chooseProtocol(info);
    const socket = new TLSSocket(raw, {
      isServer: true,
      secureContext: material.context,
      requestCert: material.validation !== undefined || this.#demand.requireCertificate,
      // The peer is judged after the handshake, with Envoy's words for what is wrong.
      rejectUnauthorized: false,
      ...(protocol === undefined ? {} : { ALPNProtocols: alpnWire(protocol) }),
    });
    const requireSni = this.#requireSni;
    const done: TransportSocketCallbacks = {
      onTransportReady(ready, tls, negotiated) {
        const name = (ready as TLSSocket & { readonly servername?: string | false }).servername;
        if (info.requestedServerName === '' && typeof name === 'string')
          info.requestedServerName = name.toLowerCase();
        if (requireSni && info.requestedServerName === '') {
          ready.destroy();
          callbacks.onTransportFailure('TLS error: the client sent no server name');
          return;
        }
        callbacks.onTransportReady(ready, tls, negotiated);
      },
      onTransportFailure: (reason) => callbacks.onTransportFailure(reason),
    };
    // One object per connection, not per request.
    void new Handshake(socket, raw, material, this.#demand, done);
  }

  /**
   * What to answer to the client's ALPN offer. Without a common protocol Envoy answers nothing, where node:tls would refuse
   * the handshake: an offer that the TLS inspector saw is decided here. Undefined answers nothing.
   */
  #chooseProtocol(info: ConnectionInfo): readonly string[] | undefined {
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

export const downstreamTls = {
  name: 'envoy.transport_sockets.tls',
  typeUrls: [typeUrlOf(DownstreamTlsContextSchema)],
  create(config, context) {
    const proto = fromBinary(DownstreamTlsContextSchema, config.value);
    const shared = proto.commonTlsContext ?? create(CommonTlsContextSchema);
    const source = new TlsContextSource(shared, true, context.secrets);
    return new DownstreamTls(
      source,
      proto.requireClientCertificate ?? false,
      proto.requireSni ?? false,
      shared.alpnProtocols,
    );
  },
} satisfies DownstreamTransportSocketExtension;
