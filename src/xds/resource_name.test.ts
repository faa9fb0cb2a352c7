import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { TypedExtensionConfigSchema } from '#api/gen/envoy/config/core/v3/extension_pb.ts';
import { ClusterLoadAssignmentSchema } from '#api/gen/envoy/config/endpoint/v3/endpoint_pb.ts';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { RouteConfigurationSchema } from '#api/gen/envoy/config/route/v3/route_pb.ts';
import { SecretSchema } from '#api/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts';
import { resourceNameOf } from './resource_name.ts';
import { typeUrls } from './type_url.ts';

const name = 'outbound|80||größe.default';

const encoded: readonly [string, Uint8Array][] = [
  [typeUrls.cds, toBinary(ClusterSchema, create(ClusterSchema, { name, altStatName: 'b' }))],
  [
    typeUrls.eds,
    toBinary(ClusterLoadAssignmentSchema, create(ClusterLoadAssignmentSchema, { clusterName: name })),
  ],
  [typeUrls.lds, toBinary(ListenerSchema, create(ListenerSchema, { name, statPrefix: 'c' }))],
  [typeUrls.rds, toBinary(RouteConfigurationSchema, create(RouteConfigurationSchema, { name }))],
  [typeUrls.sds, toBinary(SecretSchema, create(SecretSchema, { name }))],
  [typeUrls.ecds, toBinary(TypedExtensionConfigSchema, create(TypedExtensionConfigSchema, { name }))],
];

for (const [typeUrl, bytes] of encoded) {
  test(`name of ${typeUrl}`, () => assert.equal(resourceNameOf(typeUrl, bytes), name));
}

test('a name behind other fields is found, none is empty, broken bytes are undefined', () => {
  const other = toBinary(
    ClusterSchema,
    create(ClusterSchema, { altStatName: 'x', connectTimeout: { seconds: 5n } }),
  );
  const named = toBinary(ClusterSchema, create(ClusterSchema, { name: 'late' }));
  assert.equal(resourceNameOf(typeUrls.cds, Buffer.concat([other, named])), 'late');
  assert.equal(resourceNameOf(typeUrls.cds, other), '');
  assert.equal(resourceNameOf(typeUrls.cds, new Uint8Array()), '');
  assert.equal(resourceNameOf(typeUrls.cds, named.subarray(0, 3)), undefined);
  assert.equal(resourceNameOf(typeUrls.cds, Buffer.from([0xff])), undefined);
  assert.equal(resourceNameOf(typeUrls.cds, Buffer.from([0x0b])), undefined);
});

test('any bytes give a name or undefined', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const found = resourceNameOf(typeUrls.cds, bytes);
      assert.ok(found === undefined || typeof found === 'string');
    }),
  );
});
