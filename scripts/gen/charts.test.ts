/** What the charts hold of our code is what our code says, and API servers take it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import type { JsonSchema } from '#config/schema/json_schema.ts';
import { generatedCharts } from './charts.ts';

const root = join(import.meta.dirname, '../..');
const generated = generatedCharts();

interface Definition {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly versions: readonly {
      readonly name: string;
      readonly storage: boolean;
      readonly schema: { readonly openAPIV3Schema: JsonSchema };
    }[];
  };
}

const definitions = parseAllDocuments(generated.get('deploy/helm/base/files/crds.yaml') ?? '').map(
  (document) => document.toJS() as Definition,
);

/** Every schema within a schema, with its path. */
function* within(schema: JsonSchema, path: string): Generator<readonly [string, JsonSchema]> {
  yield [path, schema];
  const { properties, items, additionalProperties } = schema as {
    properties?: Readonly<Record<string, JsonSchema>>;
    items?: JsonSchema;
    additionalProperties?: JsonSchema | boolean;
  };
  for (const [name, field] of Object.entries(properties ?? {})) yield* within(field, `${path}.${name}`);
  if (items !== undefined) yield* within(items, `${path}[]`);
  if (typeof additionalProperties === 'object') yield* within(additionalProperties, `${path}{}`);
}

describe('the charts', () => {
  for (const [path, text] of generated)
    it(`${path} is current`, () => {
      assert.ok(
        readFileSync(join(root, path), 'utf8') === text,
        'a kind, a right or a value changed: run node scripts/gen/charts.ts and commit what it writes',
      );
    });
});

describe('CustomResourceDefinitions', () => {
  for (const { metadata, spec } of definitions) {
    it(metadata.name, () => {
      assert.equal(spec.versions.filter(({ storage }) => storage).length, 1);
      // kubectl apply keeps the object in an annotation of at most 256 KiB.
      assert.ok(JSON.stringify(spec).length < 200_000, `${JSON.stringify(spec).length} characters`);
      for (const { name, schema } of spec.versions) {
        for (const [path, { type, ...rest }] of within(schema.openAPIV3Schema, name)) {
          const typed = type !== undefined || rest['x-kubernetes-int-or-string'] === true;
          assert.ok(typed || rest['x-kubernetes-preserve-unknown-fields'] === true, `${path} has no type`);
          assert.ok(!(rest['properties'] && rest['additionalProperties']), `${path} is object and map`);
        }
      }
    });
  }

  it('describe nearly all fields', () => {
    const fields = definitions.flatMap(({ metadata, spec }) =>
      spec.versions
        .flatMap(({ schema }) => [...within(schema.openAPIV3Schema, metadata.name)])
        .filter(([path]) => /\.spec.*\w$/.test(path)),
    );
    const described = fields.filter(([, schema]) => typeof schema['description'] === 'string');
    assert.ok(described.length > 0.7 * fields.length, `${described.length} of ${fields.length}`);
  });
});
