/**
 * The form in which Kubernetes' own types write an object: empty fields left out, quantities in one spelling. Keys keep
 * the order they came in, unknown fields stay.
 */
import { canonicalQuantity } from './quantity.ts';
import { type Json, type JsonObject, type Shape, isList, isObject } from './shape.ts';

/** A value that Kubernetes does not write: null always, zero values where the shape says so. */
function isOmitted(value: Json, shape: Shape): boolean {
  if (value === null) return true;
  switch (shape.kind) {
    case 'object':
    case 'quantity':
    case 'int_or_string':
    case 'any':
      return false;
    case 'list':
      return !shape.keepZero && isList(value) && value.length === 0;
    case 'map':
      return !shape.keepZero && isObject(value) && Object.keys(value).length === 0;
    default:
      return !shape.keepZero && (value === '' || value === 0 || value === false);
  }
}

/** The canonical form of a value; a value that was canonical is equal to its input. */
export function canonical(value: Json, shape: Shape): Json {
  switch (shape.kind) {
    case 'quantity':
      return typeof value === 'string' || typeof value === 'number'
        ? canonicalQuantity(String(value))
        : value;
    case 'list':
      return isList(value) ? value.map((item) => canonical(item, shape.of)) : value;
    case 'map':
      return isObject(value) ? canonicalMap(value, shape.of) : value;
    case 'object':
      return isObject(value) ? canonicalObject(value, shape.fields) : value;
    default:
      return value;
  }
}

function canonicalMap(value: JsonObject, of: Shape): JsonObject {
  const kept = Object.entries(value).filter(([, item]) => item !== null);
  return Object.fromEntries(kept.map(([name, item]) => [name, canonical(item, of)]));
}

function canonicalObject(value: JsonObject, fields: Readonly<Record<string, Shape>>): JsonObject {
  // Entries, not assignments: a field may be called __proto__.
  const result = new Map<string, Json>();
  for (const [name, item] of Object.entries(value)) {
    const shape = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (shape === undefined) result.set(name, item);
    else if (!isOmitted(item, shape)) result.set(name, canonical(item, shape));
  }
  for (const [name, shape] of Object.entries(fields))
    if (shape.kind === 'object' && shape.required && !result.has(name)) result.set(name, {});
  return Object.fromEntries(result);
}

/** JSON text with fields in the order of the shape, unknown ones behind them, and map keys sorted: as Go writes it. */
export function orderedJson(value: Json, shape: Shape): string {
  return JSON.stringify(ordered(value, shape));
}

function ordered(value: Json, shape: Shape): Json {
  if (shape.kind === 'list' && isList(value)) return value.map((item) => ordered(item, shape.of));
  if (!isObject(value)) return value;
  if (shape.kind === 'object') {
    const known = Object.entries(shape.fields)
      .filter(([name]) => Object.hasOwn(value, name))
      .map(([name, field]) => [name, ordered(value[name] ?? null, field)] as const);
    const others = Object.entries(value).filter(([name]) => !Object.hasOwn(shape.fields, name));
    return Object.fromEntries([...known, ...others]);
  }
  const of: Shape = shape.kind === 'map' ? shape.of : shape;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((name) => [name, ordered(value[name] ?? null, of)]),
  );
}
