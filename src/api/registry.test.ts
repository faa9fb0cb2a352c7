import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, fromJson, type JsonValue, toBinary, toJson } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { ListenerSchema } from './gen/envoy/config/listener/v3/listener_pb.ts';
import { PolicySchema } from './gen/envoy/config/rbac/v3/rbac_pb.ts';
import { HttpConnectionManagerSchema } from './gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts';
import { VirtualServiceSchema } from './gen/istio/networking/v1alpha3/virtual_service_pb.ts';
import { createTypeRegistry } from './registry.ts';
import * as typeUrls from './type_urls.ts';

const registry = createTypeRegistry();

const listener: JsonValue = {
  name: 'virtualInbound',
  address: { socketAddress: { address: '0.0.0.0', portValue: 15006 } },
  filterChains: [
    {
      filters: [
        {
          name: 'envoy.filters.network.http_connection_manager',
          typedConfig: {
            '@type':
              'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
            statPrefix: 'in',
            routeConfig: { virtualHosts: [{ name: 'all', domains: ['*'] }] },
            streamIdleTimeout: '0.250s',
            useRemoteAddress: false,
            httpFilters: [
              {
                name: 'istio.stats',
                isOptional: true,
                typedConfig: {
                  '@type': typeUrls.TYPED_STRUCT,
                  typeUrl: 'type.googleapis.com/stats.PluginConfig',
                  value: { tcp_reporting_duration: '5s' },
                },
              },
            ],
          },
        },
      ],
    },
  ],
};

test('a listener goes from JSON through bytes back to the same JSON', () => {
  const message = fromJson(ListenerSchema, listener, { registry });
  const again = fromBinary(ListenerSchema, toBinary(ListenerSchema, message));
  assert.deepEqual(toJson(ListenerSchema, again, { registry }), listener);
});

test('an Any is read by one schema alone', () => {
  const message = fromJson(ListenerSchema, listener, { registry });
  const config = message.filterChains[0]!.filters[0]!.configType;
  assert.equal(config.case, 'typedConfig');
  assert.equal(config.value.typeUrl, typeUrls.typeUrlOf(HttpConnectionManagerSchema));
  const hcm = anyUnpack(config.value, HttpConnectionManagerSchema);
  assert.equal(hcm?.useRemoteAddress, false);
  assert.equal(hcm?.streamIdleTimeout?.nanos, 250_000_000);
});

test('names of the protocol are read too', () => {
  const spec = { hosts: ['a'], http: [{ route: [{ destination: { host: 'a' } }], rewrite: { uri: '/' } }] };
  const message = fromJson(VirtualServiceSchema, { ...spec, export_to: ['.'] });
  assert.deepEqual(toJson(VirtualServiceSchema, message), { ...spec, exportTo: ['.'] });
});

test('a trimmed field survives as an unknown field, a hollow one is seen', () => {
  const google = Uint8Array.of(0x12, 0x03, 0x0a, 0x01, 0x61); // GrpcService.google_grpc
  const grpc = registry.getMessage('envoy.config.core.v3.GrpcService')!;
  assert.deepEqual(toBinary(grpc, fromBinary(grpc, google)), google);
  const policy = fromBinary(PolicySchema, Uint8Array.of(0x1a, 0x02, 0x10, 0x01)); // Policy.condition
  assert.notEqual(policy.condition, undefined);
  assert.equal(create(PolicySchema).condition, undefined);
});

test('type URLs of resources name generated types', () => {
  for (const [name, url] of Object.entries(typeUrls)) {
    if (typeof url !== 'string' || name === 'DEBUG' || name === 'HEALTH_INFORMATION') continue;
    assert.notEqual(registry.getMessage(typeUrls.typeNameOf(url)), undefined, url);
  }
  assert.equal(typeUrls.shortName(typeUrls.LISTENER), 'LDS');
  assert.equal(typeUrls.shortName('x'), 'x');
});
