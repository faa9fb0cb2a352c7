/** The two variants of the protocol as a server reads and writes them. All state is in `ServerSubscription`. */
import { create } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { type ControlPlane, ControlPlaneSchema } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  DeltaDiscoveryResponseSchema,
  DiscoveryResponseSchema,
  ResourceSchema,
} from '#api/gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { RequestOf, ResponseOf, XdsProtocol } from '../transport.ts';
import type { ServedResource } from './source.ts';
import type { ClientRequest, Outgoing } from './subscription.ts';

/** One variant. */
export interface ServerEncoding<P extends XdsProtocol> {
  readonly protocol: P;
  decode(request: RequestOf[P]): ClientRequest;
  encode(typeUrl: string, nonce: string, outgoing: Outgoing, controlPlane: ControlPlane): ResponseOf[P];
}

/** Identity of the server in each response. */
export function controlPlane(identifier: string): ControlPlane {
  return create(ControlPlaneSchema, { identifier });
}

function toAny(typeUrl: string, { bytes }: ServedResource): Any {
  return { $typeName: 'google.protobuf.Any', typeUrl, value: bytes };
}

/** State of the world. */
export const sotwEncoding: ServerEncoding<'sotw'> = {
  protocol: 'sotw',
  decode: ({ typeUrl, responseNonce, errorDetail, resourceNames }) => ({
    typeUrl,
    nonce: responseNonce,
    error: errorDetail?.message,
    names: { kind: 'list', names: resourceNames },
  }),
  encode: (typeUrl, nonce, { version, resources }, controlPlane) =>
    create(DiscoveryResponseSchema, {
      typeUrl,
      nonce,
      versionInfo: version,
      resources: resources.map((resource) => toAny(typeUrl, resource)),
      controlPlane,
    }),
};

/** Incremental. */
export const deltaEncoding: ServerEncoding<'delta'> = {
  protocol: 'delta',
  decode: (request) => ({
    typeUrl: request.typeUrl,
    nonce: request.responseNonce,
    error: request.errorDetail?.message,
    names: {
      kind: 'difference',
      subscribe: request.resourceNamesSubscribe,
      unsubscribe: request.resourceNamesUnsubscribe,
      held: request.initialResourceVersions,
    },
  }),
  encode: (typeUrl, nonce, { version, resources, removed }, controlPlane) =>
    create(DeltaDiscoveryResponseSchema, {
      typeUrl,
      nonce,
      systemVersionInfo: version,
      resources: resources.map((resource) =>
        create(ResourceSchema, {
          name: resource.name,
          version: resource.version,
          resource: toAny(typeUrl, resource),
        }),
      ),
      removedResources: [...removed],
      controlPlane,
    }),
};
