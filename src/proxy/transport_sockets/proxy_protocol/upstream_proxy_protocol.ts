/**
 * Tells the upstream in front of everything else who the client is (envoy.transport_sockets.upstream_proxy_protocol). HTTP
 * connections are shared by clients: their headers tell nothing, as in Envoy without a PROXY header from downstream.
 */
import type { Socket } from 'node:net';
import { fromBinary } from '@bufbuild/protobuf';
import {
  ProxyProtocolConfig_Version as Version,
  ProxyProtocolPassThroughTLVs_PassTLVsMatchType as PassMatch,
  type ProxyProtocolConfig,
} from '#api/gen/envoy/config/core/v3/proxy_protocol_pb.ts';
import { ProxyProtocolUpstreamTransportSchema } from '#api/gen/envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import { type Address, unmapIpv4 } from '../../network/address.ts';
import {
  type ProxyInfo,
  type ProxyTlv,
  encodeBinaryHeader,
  encodeTextHeader,
} from '../../network/proxy_header.ts';
import { rawBufferUpstream } from '../../network/raw_buffer.ts';
import type {
  TransportSocketCallbacks,
  UpstreamTransportOptions,
  UpstreamTransportSocketExtension,
  UpstreamTransportSocketFactory,
} from '../../network/transport_socket.ts';

/** Builds the header of one connection. */
type HeaderWriter = (raw: Socket, info: ProxyInfo | undefined) => Buffer;

function endOf(ip: string | undefined, port: number | undefined): Address {
  return ip === undefined ? { ip: '', port: -1 } : { ip: unmapIpv4(ip), port: port ?? 0 };
}

/** Version 1 has no LOCAL: without a client it tells of the connection itself, as Envoy does. */
const writeText: HeaderWriter = (raw, info) =>
  info === undefined
    ? encodeTextHeader(endOf(raw.localAddress, raw.localPort), endOf(raw.remoteAddress, raw.remotePort))
    : encodeTextHeader(info.source, info.destination);

function binaryWriter(config: ProxyProtocolConfig): HeaderWriter {
  const pass = config.passThroughTlvs;
  const types = new Set(pass?.tlvType);
  const all = pass?.matchType === PassMatch.INCLUDE_ALL;
  const added: ProxyTlv[] = config.addedTlvs.map(({ type, value }) => ({ type, value: Buffer.from(value) }));
  const addedTypes = new Set(added.map(({ type }) => type));
  return (_raw, info) => {
    if (info === undefined) return encodeBinaryHeader(undefined);
    const kept =
      pass === undefined
        ? []
        : info.tlvs.filter(({ type }) => (all || types.has(type)) && !addedTypes.has(type));
    return encodeBinaryHeader({ ...info, tlvs: [...added, ...kept] });
  };
}

class UpstreamProxyProtocol implements UpstreamTransportSocketFactory {
  readonly #inner: UpstreamTransportSocketFactory;
  readonly #write: HeaderWriter;

  constructor(inner: UpstreamTransportSocketFactory, write: HeaderWriter) {
    this.#inner = inner;
    this.#write = write;
  }

  get secure(): boolean {
    return this.#inner.secure;
  }

  get ready(): boolean {
    return this.#inner.ready;
  }

  get applicationProtocols(): readonly string[] {
    return this.#inner.applicationProtocols;
  }

  onReady(callback: () => void): void {
    this.#inner.onReady(callback);
  }

  wrap(socket: Socket, options: UpstreamTransportOptions, callbacks: TransportSocketCallbacks): void {
    socket.write(this.#write(socket, options.proxyProtocol));
    this.#inner.wrap(socket, options, callbacks);
  }

  close(): void {
    this.#inner.close();
  }
}

export const upstreamProxyProtocol = {
  name: 'envoy.transport_sockets.upstream_proxy_protocol',
  typeUrls: [typeUrlOf(ProxyProtocolUpstreamTransportSchema)],
  create(config, context) {
    const proto = fromBinary(ProxyProtocolUpstreamTransportSchema, config.value);
    if (proto.config?.addedTlvs.some(({ formatString }) => formatString !== undefined) === true)
      throw new Error('upstream_proxy_protocol: added_tlvs.format_string is not implemented');
    if (proto.transportSocket !== undefined && context.createUpstream === undefined)
      throw new Error('upstream_proxy_protocol: no transport sockets here');
    const inner =
      proto.transportSocket === undefined
        ? rawBufferUpstream
        : (context.createUpstream?.(proto.transportSocket) ?? rawBufferUpstream);
    const settings = proto.config;
    const binary = settings !== undefined && settings.version === Version.V2;
    return new UpstreamProxyProtocol(inner, binary ? binaryWriter(settings) : writeText);
  },
} satisfies UpstreamTransportSocketExtension;
