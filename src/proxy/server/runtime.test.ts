import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type JsonValue, fromJson } from '@bufbuild/protobuf';
import { LayeredRuntimeSchema } from '#api/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts';
import { RuntimeValues } from '../network/runtime.ts';
import { RuntimeLayers } from './runtime.ts';

function layers(json: JsonValue | undefined, onChange = (): void => {}): RuntimeLayers {
  return new RuntimeLayers(json === undefined ? undefined : fromJson(LayeredRuntimeSchema, json), onChange);
}

test('later layers win, nested keys are joined', () => {
  let changes = 0;
  const runtime = layers(
    {
      layers: [
        { name: 'one', static_layer: { a: { b: 1, c: true }, d: 'x' } },
        { name: 'two', static_layer: { 'a.b': 2 } },
        { name: 'admin', admin_layer: {} },
      ],
    },
    () => changes++,
  );
  assert.deepEqual([...runtime.values].sort(), [
    ['a.b', '2'],
    ['a.c', 'true'],
    ['d', 'x'],
  ]);
  assert.equal(
    runtime.modify([
      ['d', 'y'],
      ['e', '5'],
    ]),
    undefined,
  );
  assert.equal(changes, 1);
  assert.deepEqual(
    runtime.entries().find(({ key }) => key === 'd'),
    { key: 'd', value: 'y', byLayer: ['x', '', 'y'] },
  );
  const values = new RuntimeValues(runtime.values);
  assert.equal(values.number('e', 1), 5);
  assert.equal(values.number('d', 1), 1, 'no number');
  assert.equal(values.number('nothing', 7), 7);
  runtime.modify([['d', '']]);
  assert.equal(runtime.values.get('d'), 'x');
});

test('an admin layer is there by default, and only then', () => {
  assert.equal(layers(undefined).modify([['a', '1']]), undefined);
  assert.equal(
    layers({ layers: [{ name: 's', static_layer: {} }] }).modify([['a', '1']]),
    'No admin layer specified',
  );
  const full = layers(undefined);
  assert.match(
    full.modify(Array.from({ length: 1001 }, (_, i): [string, string] => [`k${i}`, '1'])) ?? '',
    /more than 1000 keys/,
  );
});

test('shares: percent as a number, or a FractionalPercent', () => {
  const { values } = layers({
    layers: [
      {
        name: 's',
        static_layer: { a: 25, b: { numerator: 5, denominator: 'TEN_THOUSAND' }, c: 'x', d: { e: 200 } },
      },
    ],
  });
  const runtime = new RuntimeValues(values);
  assert.deepEqual(
    ['a', 'b', 'c', 'd.e', 'f'].map((key) => runtime.share(key)),
    [0.25, 0.0005, undefined, 1, undefined],
  );
  runtime.replace(new Map([['a', '0']]));
  assert.deepEqual([runtime.share('a'), runtime.share('b')], [0, undefined]);
});

test('layers that are not implemented are refused by name', () => {
  assert.throws(
    () => layers({ layers: [{ name: 'files', disk_layer: { symlink_root: '/x' } }] }),
    /layer files: only static_layer and admin_layer/,
  );
});
