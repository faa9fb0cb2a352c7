/** Listeners: what a proxy takes and what it does with it. */
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { encodeResource } from '#xds/server/encoded_resource.ts';
import { typeUrls } from '#xds/type_url.ts';
import { buildListeners } from '../networking/listeners.ts';
import type { Generator } from './generator.ts';

export const lds: Generator = {
  typeUrl: typeUrls.lds,
  onEndpoints: false,
  named: false,
  generate: (proxy, context) =>
    buildListeners(proxy, context).map((listener) => encodeResource(ListenerSchema, listener.name, listener)),
};
