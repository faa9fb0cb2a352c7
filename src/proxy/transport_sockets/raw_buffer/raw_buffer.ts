/** envoy.transport_sockets.raw_buffer, named in a configuration. */
import { RawBufferSchema } from '#api/gen/envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import { rawBufferDownstream, rawBufferUpstream } from '../../network/raw_buffer.ts';
import type {
  DownstreamTransportSocketExtension,
  UpstreamTransportSocketExtension,
} from '../../network/transport_socket.ts';

const name = 'envoy.transport_sockets.raw_buffer';
const typeUrls = [typeUrlOf(RawBufferSchema)];

export const downstreamRawBuffer = {
  name,
  typeUrls,
  create: () => rawBufferDownstream,
} satisfies DownstreamTransportSocketExtension;

export const upstreamRawBuffer = {
  name,
  typeUrls,
  create: () => rawBufferUpstream,
} satisfies UpstreamTransportSocketExtension;
