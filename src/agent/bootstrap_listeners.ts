/** Static HTTP listeners of the bootstrap: one path prefix to one static cluster. */
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { TrafficDirection } from '#api/gen/envoy/config/core/v3/base_pb.ts';
import type { Address } from '#api/gen/envoy/config/core/v3/address_pb.ts';
import { ListenerSchema, type Listener } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { RouterSchema } from '#api/gen/envoy/extensions/filters/http/router/v3/router_pb.ts';
import {
  HttpConnectionManager_CodecType,
  HttpConnectionManagerSchema,
} from '#api/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';

/** A listener that forwards one prefix; all else is 404. */
export function staticListener(name: string, address: Address, prefix: string, cluster: string): Listener {
  const manager = create(HttpConnectionManagerSchema, {
    codecType: HttpConnectionManager_CodecType.AUTO,
    statPrefix: name,
    routeSpecifier: {
      case: 'routeConfig',
      value: {
        virtualHosts: [
          {
            name: 'backend',
            domains: ['*'],
            routes: [
              {
                match: { pathSpecifier: { case: 'prefix', value: prefix } },
                action: { case: 'route', value: { clusterSpecifier: { case: 'cluster', value: cluster } } },
              },
            ],
          },
        ],
      },
    },
    httpFilters: [
      {
        name: 'envoy.filters.http.router',
        configType: { case: 'typedConfig', value: anyPack(RouterSchema, create(RouterSchema)) },
      },
    ],
  });
  return create(ListenerSchema, {
    name,
    address,
    trafficDirection: TrafficDirection.INBOUND,
    // Probes and scrapes must pass when the application's connections have used up the global limit.
    ignoreGlobalConnLimit: true,
    filterChains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            configType: { case: 'typedConfig', value: anyPack(HttpConnectionManagerSchema, manager) },
          },
        ],
      },
    ],
  });
}
