/** Extension `envoy.filters.http.grpc_web`; `GrpcWeb` has no fields. */
import { GrpcWebSchema } from '#api/gen/envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { GrpcWebFilter } from './grpc_web.ts';

export const grpcWeb = {
  name: 'envoy.filters.http.grpc_web',
  typeUrls: [typeUrlOf(GrpcWebSchema)],
  create: () => ({ createFilter: (callbacks) => new GrpcWebFilter(callbacks) }),
} as const satisfies HttpFilterExtension;
