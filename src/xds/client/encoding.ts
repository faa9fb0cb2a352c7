/** The two variants of the protocol as a client writes and reads them. All state is in `TypeState`. */
import { create } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import type { Node } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import {
  DeltaDiscoveryRequestSchema,
  DiscoveryRequestSchema,
  ResourceSchema,
} from '#api/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { fromBinary } from '@bufbuild/protobuf';
import { type Status, StatusSchema } from '#api/gen/google/rpc/status_pb.ts';
import { grpcStatus } from '../grpc_status.ts';
import { resourceNameOf } from '../resource_name.ts';
import type { RequestOf, ResponseOf, XdsProtocol } from '../transport.ts';
import { isFullState } from '../type_url.ts';
import type { ResourceBytes } from './resource_update.ts';
import type { DecodedResponse, TypeState } from './type_state.ts';

/** Why a request is sent. */
export type RequestReason =
  /** First request for the type on this stream. */
  | { readonly kind: 'initial' }
  /** Names came or went. */
  | { readonly kind: 'change'; readonly added: readonly string[]; readonly removed: readonly string[] }
  /** SotW only: this list in place of the whole one. */
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'ack' }
  | { readonly kind: 'nack'; readonly detail: string };

/** One variant. */
export interface ClientEncoding<P extends XdsProtocol> {
  readonly protocol: P;
  encode(state: TypeState, reason: RequestReason, node: Node | undefined): RequestOf[P];
  decode(response: ResponseOf[P]): DecodedResponse;
}

function errorDetail(reason: RequestReason): { errorDetail?: Status } {
  if (reason.kind !== 'nack') return {};
  return { errorDetail: create(StatusSchema, { code: grpcStatus.invalidArgument, message: reason.detail }) };
}

const resourceTypeUrl = 'type.googleapis.com/envoy.service.discovery.v3.Resource';

/** A SotW resource: bare, or inside a `Resource` that names it (discovery.proto, DiscoveryResponse.resources). */
function readAny(any: Any, typeUrl: string, version: string): ResourceBytes | undefined {
  if (any.typeUrl !== resourceTypeUrl) {
    const name = resourceNameOf(typeUrl, any.value);
    return name === undefined ? undefined : { name, version, bytes: any.value };
  }
  const wrapper = fromBinary(ResourceSchema, any.value);
  if (wrapper.resource === undefined) return undefined;
  return { name: wrapper.name, version: wrapper.version || version, bytes: wrapper.resource.value };
}

/** State of the world: every request carries all names. */
export const sotwEncoding: ClientEncoding<'sotw'> = {
  protocol: 'sotw',
  encode: (state, reason, node) =>
    create(DiscoveryRequestSchema, {
      typeUrl: state.typeUrl,
      resourceNames: reason.kind === 'names' ? [...reason.names] : state.namesOnWire(),
      versionInfo: state.acceptedVersion,
      responseNonce: state.nonce,
      ...(node === undefined ? {} : { node }),
      ...errorDetail(reason),
    }),
  decode: ({ typeUrl, nonce, versionInfo, resources }) => {
    const known: ResourceBytes[] = [];
    const malformed: string[] = [];
    for (const [index, any] of resources.entries()) {
      const resource = readAny(any, typeUrl, versionInfo);
      if (resource === undefined) malformed.push(`resource ${index} does not parse`);
      else known.push(resource);
    }
    return {
      typeUrl,
      nonce,
      version: versionInfo,
      resources: known,
      removed: [],
      // A resource that cannot be named may be any: nothing is taken for removed then.
      full: isFullState(typeUrl) && malformed.length === 0,
      malformed,
    };
  },
};

/** Incremental: requests carry what changed, the first of a stream also what is held. */
export const deltaEncoding: ClientEncoding<'delta'> = {
  protocol: 'delta',
  encode: (state, reason, node) => {
    const first = reason.kind === 'initial';
    const added = first ? state.namesOnWire() : reason.kind === 'change' ? reason.added : [];
    return create(DeltaDiscoveryRequestSchema, {
      typeUrl: state.typeUrl,
      resourceNamesSubscribe: [...added],
      resourceNamesUnsubscribe: reason.kind === 'change' ? [...reason.removed] : [],
      initialResourceVersions: first ? state.versions() : {},
      responseNonce: reason.kind === 'ack' || reason.kind === 'nack' ? state.nonce : '',
      ...(node === undefined ? {} : { node }),
      ...errorDetail(reason),
    });
  },
  decode: ({ typeUrl, nonce, systemVersionInfo, resources, removedResources }) => {
    const known: ResourceBytes[] = [];
    const malformed: string[] = [];
    for (const { name, version, resource } of resources) {
      if (resource === undefined) malformed.push(`${name}: no resource inside`);
      else known.push({ name, version, bytes: resource.value });
    }
    return {
      typeUrl,
      nonce,
      version: systemVersionInfo,
      resources: known,
      removed: removedResources,
      full: false,
      malformed,
    };
  },
};
