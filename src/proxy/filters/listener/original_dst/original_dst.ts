/** Restores the destination that a REDIRECT rule replaced (envoy.filters.listener.original_dst). */
import { fromBinary } from '@bufbuild/protobuf';
import { OriginalDstSchema } from '#api/gen/envoy/extensions/filters/listener/original_dst/v3/original_dst_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { ListenerFilterExtension } from '../../../factory_context.ts';
import { type ListenerFilter, ListenerFilterStatus } from '../../../network/listener_filter.ts';
import { getOriginalDestination } from '../../../network/original_dst.ts';
import { socketOptionsProblem } from '../../../network/socket_options.ts';

const restore: ListenerFilter = {
  maxReadBytes: 0,
  consumed: 0,
  onAccept(socket, info) {
    const address = getOriginalDestination(socket);
    if (address !== undefined) {
      info.localAddress = address;
      info.localAddressRestored = true;
    }
    return ListenerFilterStatus.continue;
  },
};

const factory = { createFilter: () => restore };

export const originalDst = {
  name: 'envoy.filters.listener.original_dst',
  typeUrls: [typeUrlOf(OriginalDstSchema)],
  /** @throws Error when this process cannot read socket options: a transparent proxy without them would loop. */
  create(config) {
    fromBinary(OriginalDstSchema, config.value);
    const problem = socketOptionsProblem();
    if (problem !== undefined) throw new Error(problem);
    return factory;
  },
} satisfies ListenerFilterExtension;
