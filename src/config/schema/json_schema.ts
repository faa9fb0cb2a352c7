/**
 * Schemas as JSON Schema: types, words, bounds of numbers and required fields. What rules say is left out, so a value
 * that a schema accepts is accepted by its JSON Schema too, null apart.
 */
import type { Schema } from './schema.ts';

/** A JSON Schema. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** How JSON Schemas are written. */
export interface JsonSchemaDialect {
  /** An object whose other fields pass. */
  readonly open: JsonSchema;
  /** An object without other fields. */
  readonly closed: JsonSchema;
  /** Any value. */
  readonly any: JsonSchema;
  /** A number or a string. */
  readonly numberOrString: JsonSchema;
  /** Text about the value at a path of fields; `*` stands for items of lists and maps. Default none. */
  readonly describe?: (path: readonly string[]) => string | undefined;
}

/** Structural schemas of CustomResourceDefinitions (apiextensions.k8s.io/v1): unknown fields are dropped or refused. */
export const structuralDialect: JsonSchemaDialect = {
  open: { 'x-kubernetes-preserve-unknown-fields': true },
  closed: {},
  any: { 'x-kubernetes-preserve-unknown-fields': true },
  numberOrString: { 'x-kubernetes-int-or-string': true },
};

/** Draft 7, as values.schema.json of Helm charts. */
export const draft7: JsonSchemaDialect = {
  open: {},
  closed: { additionalProperties: false },
  any: {},
  numberOrString: { type: ['number', 'string'] },
};

/** Deepest nesting: no schema of a kind refers to itself. */
const maxDepth = 64;
const int32 = { min: -2_147_483_648, max: 2_147_483_647 };

function bounds({ min, max }: { readonly min: number; readonly max: number }): JsonSchema {
  return {
    // Kubernetes reads bounds as float64; the smallest numbers above 0 are 0 to it.
    ...(Number.isFinite(min) && min !== int32.min ? { minimum: min === Number.MIN_VALUE ? 0 : min } : {}),
    ...(Number.isFinite(max) && max !== int32.max ? { maximum: max } : {}),
  };
}

/** A schema in a dialect. @throws Error when it is too deep */
export function jsonSchema(
  { shape }: Schema<unknown>,
  dialect: JsonSchemaDialect,
  path: readonly string[] = [],
): JsonSchema {
  if (path.length > maxDepth) throw new Error(`${path.join('.')}: expected at most ${maxDepth} levels`);
  const below = (schema: Schema<unknown>, step: string): JsonSchema =>
    jsonSchema(schema, dialect, [...path, step]);
  const text = dialect.describe?.(path);
  const description = text === undefined ? {} : { description: text };
  switch (shape.type) {
    case 'any':
      return { ...description, ...dialect.any };
    case 'number or string':
      return { ...description, ...dialect.numberOrString };
    case 'boolean':
    case 'string':
      return { type: shape.type, ...description };
    case 'number':
      return { type: 'number', ...description, ...bounds(shape) };
    case 'integer': {
      const format = shape.min >= int32.min && shape.max <= int32.max ? 'int32' : 'int64';
      return { type: 'integer', format, ...description, ...bounds(shape) };
    }
    case 'words':
      return { type: 'string', ...description, enum: [...shape.words] };
    case 'list':
      return { type: 'array', ...description, items: below(shape.item, '*') };
    case 'map':
      if (shape.item.shape.type === 'any') return { type: 'object', ...description, ...dialect.open };
      return { type: 'object', ...description, additionalProperties: below(shape.item, '*') };
    case 'object': {
      const { fields, required, open, atMostOneOf } = shape;
      const properties = Object.fromEntries(
        [...fields].map(([name, schema]) => [name, below(schema, name)] as const),
      );
      const pairs = atMostOneOf.flatMap((group) =>
        group.flatMap((first, index) =>
          group.slice(index + 1).map((second) => ({ required: [first, second] })),
        ),
      );
      return {
        type: 'object',
        ...description,
        ...(fields.size === 0 ? {} : { properties }),
        ...(required.length === 0 ? {} : { required: [...required] }),
        ...(pairs.length === 0 ? {} : { not: { anyOf: pairs } }),
        ...(open ? dialect.open : dialect.closed),
      };
    }
    case 'other':
      return jsonSchema(shape.schema(), dialect, path);
  }
}
