/** Chooses a host's transport socket by its metadata (envoy.config.cluster.v3.Cluster.transport_socket_matches). */
import { isDeepStrictEqual } from 'node:util';
import type { Cluster } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import type { TransportSocket } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import { rawBufferUpstream } from '../network/raw_buffer.ts';
import type {
  TransportSocketContext,
  UpstreamTransportSocketExtension,
  UpstreamTransportSocketFactory,
} from '../network/transport_socket.ts';
import type { ExtensionRegistry } from '../registry.ts';
import type { MetadataMap } from './upstream.ts';

const metadataKey = 'envoy.transport_socket_match';

/** The transport sockets of one cluster. */
export interface TransportSockets {
  readonly all: readonly UpstreamTransportSocketFactory[];
  /** First match whose fields all equal those of the endpoint, else the cluster's own socket. */
  choose(metadata: MetadataMap | undefined): UpstreamTransportSocketFactory;
  close(): void;
}

function createSocket(
  proto: TransportSocket | undefined,
  registry: ExtensionRegistry,
  context: TransportSocketContext,
): UpstreamTransportSocketFactory {
  if (proto === undefined) return rawBufferUpstream;
  const any = proto.configType.value;
  const factory = (
    any === undefined
      ? registry.findByName('transport_socket.upstream', proto.name)
      : registry.find('transport_socket.upstream', any.typeUrl)
  ) as UpstreamTransportSocketExtension | undefined;
  if (factory === undefined)
    throw new Error(`transport socket ${proto.name}: nothing is compiled in for ${any?.typeUrl ?? 'it'}`);
  const createUpstream = (inner: TransportSocket): UpstreamTransportSocketFactory =>
    createSocket(inner, registry, context);
  return factory.create({ value: any?.value ?? new Uint8Array() }, { ...context, createUpstream });
}

/** @throws Error when a socket is unknown or its configuration is bad; what was made is closed. */
export function createTransportSockets(
  cluster: Cluster,
  registry: ExtensionRegistry,
  context: TransportSocketContext,
): TransportSockets {
  const all: UpstreamTransportSocketFactory[] = [];
  const close = (): void => {
    for (const socket of all) socket.close();
  };
  try {
    const own = createSocket(cluster.transportSocket, registry, context);
    all.push(own);
    const matches = cluster.transportSocketMatches.map((entry) => {
      const socket = createSocket(entry.transportSocket, registry, context);
      all.push(socket);
      return { fields: Object.entries(entry.match ?? {}), socket };
    });
    return {
      all,
      choose(metadata) {
        const values = metadata?.[metadataKey];
        for (const { fields, socket } of matches)
          if (fields.every(([key, value]) => isDeepStrictEqual(values?.[key], value))) return socket;
        return own;
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
