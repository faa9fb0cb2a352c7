/** Takes the client's address from a PROXY header (envoy.filters.listener.proxy_protocol). */
import { fromBinary } from '@bufbuild/protobuf';
import {
  ProxyProtocolConfig_Version as Version,
  ProxyProtocolPassThroughTLVs_PassTLVsMatchType as PassMatch,
} from '#api/gen/envoy/config/core/v3/proxy_protocol_pb.ts';
import {
  type ProxyProtocol,
  ProxyProtocolSchema,
  ProxyProtocol_KeyValuePair_ValueStringEncoding as ValueEncoding,
  ProxyProtocol_TlvLocation as TlvLocation,
} from '#api/gen/envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ListenerFilterExtension } from '../../../factory_context.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { type ListenerFilter, ListenerFilterStatus } from '../../../network/listener_filter.ts';
import { type ProxyTlv, maxHeaderBytes, parseProxyHeader } from '../../../network/proxy_header.ts';

interface Options {
  /** Connections without a header are let through as they are. */
  readonly optional: boolean;
  readonly textAllowed: boolean;
  readonly binaryAllowed: boolean;
  /** TLVs that become dynamic metadata. */
  readonly rules: readonly TlvRule[];
  /** Types that go on to upstreams that want a PROXY header; undefined for none, `all` for each. */
  readonly passThrough: ReadonlySet<number> | 'all' | undefined;
}

interface TlvRule {
  readonly type: number;
  readonly namespace: string;
  readonly key: string;
  readonly base64: boolean;
}

const name = 'envoy.filters.listener.proxy_protocol';

/** Bytes as text: what is no UTF-8 becomes `!`, as Envoy cleans it. */
function cleanText(value: Buffer): string {
  return value.toString('utf8').replaceAll('\ufffd', '!');
}

function keepTlvs(info: ConnectionInfo, tlvs: readonly ProxyTlv[], rules: readonly TlvRule[]): void {
  for (const { type, namespace, key, base64 } of rules) {
    const tlv = tlvs.findLast((entry) => entry.type === type);
    if (tlv === undefined) continue;
    info.dynamicMetadata ??= new Map();
    const values = info.dynamicMetadata.get(namespace);
    const value = base64 ? tlv.value.toString('base64') : cleanText(tlv.value);
    info.dynamicMetadata.set(namespace, { ...values, [key]: value });
  }
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
        const { rules, passThrough } = this.#options;
        if (rules.length > 0) keepTlvs(info, header.tlvs, rules);
        if (header.source !== undefined && header.destination !== undefined)
          info.proxyProtocol = {
            source: header.source,
            destination: header.destination,
            tlvs:
              passThrough === undefined
                ? []
                : header.tlvs.filter(({ type }) => passThrough === 'all' || passThrough.has(type)),
          };
        return ListenerFilterStatus.continue;
      }
    }
  }

  #without(): ListenerFilterStatus {
    return this.#options.optional ? ListenerFilterStatus.continue : ListenerFilterStatus.close;
  }
}

function readOptions(proto: ProxyProtocol): Options {
  const pass = proto.passThroughTlvs;
  return {
    optional: proto.allowRequestsWithoutProxyProtocol,
    textAllowed: !proto.disallowedVersions.includes(Version.V1),
    binaryAllowed: !proto.disallowedVersions.includes(Version.V2),
    rules: proto.rules.flatMap(({ tlvType, onTlvPresent }) =>
      onTlvPresent === undefined
        ? []
        : [
            {
              type: tlvType,
              namespace: onTlvPresent.metadataNamespace === '' ? name : onTlvPresent.metadataNamespace,
              key: onTlvPresent.key,
              base64: onTlvPresent.valueStringEncoding === ValueEncoding.BASE64,
            },
          ],
    ),
    passThrough:
      pass === undefined
        ? undefined
        : pass.matchType === PassMatch.INCLUDE_ALL
          ? 'all'
          : new Set(pass.tlvType),
  };
}

export const proxyProtocol = {
  name,
  typeUrls: [typeUrlOf(ProxyProtocolSchema)],
  create(config) {
    const proto = fromBinary(ProxyProtocolSchema, config.value);
    if (proto.tlvLocation !== TlvLocation.DYNAMIC_METADATA)
      throw new Error('proxy_protocol: tlv_location FILTER_STATE is not implemented');
    const options = readOptions(proto);
    return { createFilter: () => new ProxyProtocolFilter(options) };
  },
} satisfies ListenerFilterExtension;
