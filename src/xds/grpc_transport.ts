/** xDS streams over gRPC, client side. */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '#api/gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { GrpcClient } from './grpc_client.ts';
import { GrpcError, grpcStatus } from './grpc_status.ts';
import type {
  AdsStream,
  AdsTransport,
  RequestOf,
  ResponseOf,
  StreamHandler,
  XdsProtocol,
} from './transport.ts';

/** Paths of the two streaming methods of a discovery service. */
export type ServicePaths = Readonly<Record<XdsProtocol, string>>;

const discovery = '/envoy.service.discovery.v3.AggregatedDiscoveryService';
const secret = '/envoy.service.secret.v3.SecretDiscoveryService';

/** All types on one stream. */
export const adsPaths: ServicePaths = {
  sotw: `${discovery}/StreamAggregatedResources`,
  delta: `${discovery}/DeltaAggregatedResources`,
};

/** Secrets, between a proxy and its agent. */
export const sdsPaths: ServicePaths = { sotw: `${secret}/StreamSecrets`, delta: `${secret}/DeltaSecrets` };

/** Bytes of messages, by variant. */
const codecs: {
  readonly [P in XdsProtocol]: {
    encode(request: RequestOf[P]): Uint8Array;
    decode(bytes: Uint8Array): ResponseOf[P];
  };
} = {
  sotw: {
    encode: (request) => toBinary(DiscoveryRequestSchema, request),
    decode: (bytes) => fromBinary(DiscoveryResponseSchema, bytes),
  },
  delta: {
    encode: (request) => toBinary(DeltaDiscoveryRequestSchema, request),
    decode: (bytes) => fromBinary(DeltaDiscoveryResponseSchema, bytes),
  },
};

/** Streams of one discovery service (default ADS) on the connection of `client`. `close` closes the client too. */
export function grpcTransport(client: GrpcClient, paths: ServicePaths = adsPaths): AdsTransport {
  return {
    open<P extends XdsProtocol>(protocol: P, handler: StreamHandler<ResponseOf[P]>): AdsStream<RequestOf[P]> {
      const codec = codecs[protocol];
      const call = client.bidi(paths[protocol], {
        onMessage: (bytes) => {
          let message: ResponseOf[P];
          try {
            message = codec.decode(bytes);
          } catch (error) {
            call.cancel();
            handler.onClose(new GrpcError(grpcStatus.internal, 'response does not parse', { cause: error }));
            return;
          }
          handler.onMessage(message);
        },
        onClose: (error) => handler.onClose(error),
      });
      return {
        send: (message) => call.send(codec.encode(message)),
        close: () => call.cancel(),
        flushed: () => call.flushed(),
      };
    },
    close: () => client.close(),
  };
}
