/**
 * Connections to upstreams come from the client's own address (envoy.filters.listener.original_src): with TPROXY capture the
 * application sees who calls. Needs CAP_NET_ADMIN and the routing rules of the capture, which send the answers back here.
 */
import { fromBinary } from '@bufbuild/protobuf';
import { OriginalSrcSchema } from '#api/gen/envoy/extensions/filters/listener/original_src/v3/original_src_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ListenerFilterExtension } from '../../../factory_context.ts';
import { type ListenerFilter, ListenerFilterStatus } from '../../../network/listener_filter.ts';
import { socketOptionsProblem } from '../../../network/socket_options.ts';

export const originalSrc = {
  name: 'envoy.filters.listener.original_src',
  typeUrls: [typeUrlOf(OriginalSrcSchema)],
  /** @throws Error when this process cannot set socket options. */
  create(config) {
    const { bindPort, mark } = fromBinary(OriginalSrcSchema, config.value);
    const problem = socketOptionsProblem();
    if (problem !== undefined) throw new Error(problem);
    const filter: ListenerFilter = {
      maxReadBytes: 0,
      consumed: 0,
      onAccept(_socket, info) {
        const { ip, port } = info.remoteAddress;
        if (port >= 0) info.upstreamSource = { address: { ip, port: bindPort ? port : 0 }, mark };
        return ListenerFilterStatus.continue;
      },
    };
    return { createFilter: () => filter };
  },
} satisfies ListenerFilterExtension;
