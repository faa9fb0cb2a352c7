/** `envoy.filters.network.http_connection_manager`: the terminal network filter that speaks HTTP. */
import { HttpConnectionManagerSchema } from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { typeUrlOf } from '#api/type_urls.ts';
import type { NetworkFilterExtension } from '../../../factory_context.ts';
import { readConfig } from './config.ts';
import { HttpConnectionManager } from './http_session.ts';

export const httpConnectionManager = {
  name: 'envoy.filters.network.http_connection_manager',
  typeUrls: [typeUrlOf(HttpConnectionManagerSchema)],
  create(config, context) {
    const manager = new HttpConnectionManager(readConfig(config.value, context));
    return { terminal: true, filter: manager, close: () => manager.close() };
  },
} satisfies NetworkFilterExtension;
