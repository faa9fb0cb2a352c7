/** Extension `istio.metadata_exchange` on HTTP; its configuration travels as TypedStruct. */
import { httpFilter } from '#api/well_known.ts';
import type { HttpFilterExtension } from '../../../factory_context.ts';
import { encodePeer } from './peer.ts';
import { createPeerMetadata, readPeerMetadataConfig } from './peer_metadata.ts';

/** Inner type URL. */
export const peerMetadataType = 'type.googleapis.com/io.istio.http.peer_metadata.Config';

export const peerMetadata = {
  name: httpFilter.metadataExchange,
  typeUrls: [peerMetadataType],
  readsStruct: true,
  create({ struct = {} }, context) {
    const config = readPeerMetadataConfig(struct);
    return createPeerMetadata({
      config,
      ownId: context.node.id,
      ownMetadata: encodePeer(context.node.metadata ?? {}, config.additionalLabels),
      clusterManager: context.clusterManager,
    });
  },
} as const satisfies HttpFilterExtension;
