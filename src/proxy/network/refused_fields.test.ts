import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { ClusterSchema } from '#api/gen/envoy/config/cluster/v3/cluster_pb.ts';
import { ListenerSchema } from '#api/gen/envoy/config/listener/v3/listener_pb.ts';
import { RouteActionSchema } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import { SchemeHeaderTransformationSchema } from '#api/gen/envoy/config/core/v3/protocol_pb.ts';
import { createTypeRegistry } from '#api/registry.ts';
import { refuseFields, refusedFields } from './refused_fields.ts';

test('every name of the list is a field of its message', () => {
  const registry = createTypeRegistry();
  for (const [type, fields] of Object.entries(refusedFields)) {
    const message = registry.getMessage(type);
    assert.ok(message !== undefined, type);
    const known = new Set(message.fields.map(({ localName }) => localName));
    for (const { localName } of message.oneofs) known.add(localName);
    for (const field of fields) assert.ok(known.has(field), `${type}.${field}`);
  }
});

test('a field that is set is refused by its name', () => {
  for (const [message, error] of [
    [create(ListenerSchema, { drainType: 1 }), 'drain_type is not supported'],
    [create(ClusterSchema, { trackTimeoutBudgets: true }), 'track_timeout_budgets is not supported'],
    [create(RouteActionSchema, { hedgePolicy: {} }), 'hedge_policy is not supported'],
    [create(SchemeHeaderTransformationSchema, { matchUpstream: true }), 'match_upstream is not supported'],
  ] as const)
    assert.throws(() => refuseFields(message), { message: error });
  assert.throws(
    () => refuseFields(create(ListenerSchema, { drainType: 1 }), 'in.'),
    /^Error: in\.drain_type/,
  );
});

test('what is not set is not refused', () => {
  refuseFields(undefined);
  for (const schema of [ListenerSchema, ClusterSchema, RouteActionSchema, SchemeHeaderTransformationSchema])
    refuseFields(create(schema));
});
