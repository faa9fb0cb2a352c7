/** Takes the client's address from a PROXY header (envoy.filters.listener.proxy_protocol). */
import { fromBinary } from '@bufbuild/protobuf';
import { ProxyProtocolConfig_Version as Version } from '#api/gen/envoy/config/core/v3/proxy_protocol_pb.ts';
import { ProxyProtocolSchema } from '#api/gen/envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ListenerFilterExtension } from '../../../factory_context.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { type ListenerFilter, ListenerFilterStatus } from '../../../network/listener_filter.ts';
import { maxHeaderBytes, parseProxyHeader } from './proxy_header.ts';

interface Options {
  /** Connections without a header are let through as they are. */
  readonly optional: boolean;
  readonly textAllowed: boolean;
  readonly binaryAllowed: boolean;
}

class ProxyProtocolFilter implements ListenerFilter {
  readonly maxReadBytes = maxHeaderBytes;
  consumed = 0;
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  onAccept(): ListenerFilterStatus {
    return ListenerFilterStatus.moreData;
  }

  onData(data: Buffer, ended: boolean, info: ConnectionInfo): ListenerFilterStatus {
    const header = parseProxyHeader(data);
    switch (header.kind) {
      case 'more':
        return ended ? ListenerFilterStatus.close : ListenerFilterStatus.moreData;
      case 'none':
        return this.#without();
      case 'bad':
        return ListenerFilterStatus.close;
      case 'header': {
        const text = data[0] === 0x50;
        if (text ? !this.#options.textAllowed : !this.#options.binaryAllowed) return this.#without();
        this.consumed = header.length;
        if (header.source !== undefined) info.remoteAddress = header.source;
        if (header.destination !== undefined) {
          const { localAddress } = info;
          const { ip, port } = header.destination;
          if (ip !== localAddress.ip || port !== localAddress.port) {
            info.localAddress = header.destination;
            info.localAddressRestored = true;
          }
        }
        return ListenerFilterStatus.continue;
      }
    }
  }

  #without(): ListenerFilterStatus {
    return this.#options.optional ? ListenerFilterStatus.continue : ListenerFilterStatus.close;
  }
}

export const proxyProtocol = {
  name: 'envoy.filters.listener.proxy_protocol',
  typeUrls: [typeUrlOf(ProxyProtocolSchema)],
  create(config) {
    const proto = fromBinary(ProxyProtocolSchema, config.value);
    const options: Options = {
      optional: proto.allowRequestsWithoutProxyProtocol,
      textAllowed: !proto.disallowedVersions.includes(Version.V1),
      binaryAllowed: !proto.disallowedVersions.includes(Version.V2),
    };
    return { createFilter: () => new ProxyProtocolFilter(options) };
  },
} satisfies ListenerFilterExtension;
