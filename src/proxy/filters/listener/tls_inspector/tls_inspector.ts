/** Finds out whether a connection speaks TLS, and to whom (envoy.filters.listener.tls_inspector). */
import { fromBinary } from '@bufbuild/protobuf';
import { TlsInspectorSchema } from '#api/gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ListenerFilterExtension } from '../../../factory_context.ts';
import type { ConnectionInfo } from '../../../network/connection.ts';
import { type ListenerFilter, ListenerFilterStatus } from '../../../network/listener_filter.ts';
import { maxClientHelloBytes, parseClientHello } from './client_hello.ts';
import { refuseFields } from '../../../network/refused_fields.ts';

/** Keeps nothing of a connection: one object serves all. */
const inspector: ListenerFilter = {
  maxReadBytes: maxClientHelloBytes,
  consumed: 0,
  onAccept: () => ListenerFilterStatus.moreData,
  onData(data: Buffer, ended: boolean, info: ConnectionInfo) {
    const hello = parseClientHello(data);
    if (hello.kind === 'more') return ended ? ListenerFilterStatus.continue : ListenerFilterStatus.moreData;
    if (hello.kind === 'tls') {
      info.transportProtocol = 'tls';
      info.requestedServerName = hello.serverName;
      info.applicationProtocols = hello.applicationProtocols;
    }
    return ListenerFilterStatus.continue;
  },
};

const factory = { createFilter: () => inspector };

export const tlsInspector = {
  name: 'envoy.filters.listener.tls_inspector',
  typeUrls: [typeUrlOf(TlsInspectorSchema)],
  create(config) {
    refuseFields(fromBinary(TlsInspectorSchema, config.value));
    return factory;
  },
} satisfies ListenerFilterExtension;
