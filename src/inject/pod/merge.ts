/**
 * Strategic merge patch as Kubernetes applies it (`k8s.io/apimachinery` strategicpatch): maps merge, lists merge by
 * their key or are replaced, null takes away, `$patch`, `$retainKeys` and `$deleteFromPrimitiveList/…` are obeyed.
 */
import { InjectionError } from '../injection_error.ts';
import { type Json, type JsonObject, type ListMerge, type Shape, any, isList, isObject } from './shape.ts';

const deleteFromList = '$deleteFromPrimitiveList/';
const elementOrder = '$setElementOrder/';

/**
 * Lays a patch over an object; neither is changed.
 * @throws InjectionError when an element of a list has no merge key, or a directive is unknown
 */
export function strategicMerge(original: JsonObject, patch: JsonObject, shape: Shape): JsonObject {
  const directive = patch['$patch'];
  if (directive === 'replace') return without(patch, '$patch');
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge')
    throw new InjectionError([
      `unknown $patch directive ${JSON.stringify(directive)}: expected merge, replace or delete`,
    ]);
  // Entries, not assignments: a field may be called __proto__.
  const result = new Map(Object.entries(retained(original, patch)));
  for (const [name, value] of Object.entries(patch)) {
    if (name === '$patch' || name === '$retainKeys' || name.startsWith(elementOrder)) continue;
    if (name.startsWith(deleteFromList)) {
      const field = name.slice(deleteFromList.length);
      const present = result.get(field);
      if (isList(present) && isList(value))
        result.set(
          field,
          present.filter((item) => !value.includes(item)),
        );
      continue;
    }
    const present = result.get(name);
    const of = fieldOf(shape, name);
    if (value === null) result.delete(name);
    else if (isObject(value)) result.set(name, strategicMerge(isObject(present) ? present : {}, value, of));
    else result.set(name, isList(value) ? mergeList(present, value, of, name) : value);
  }
  return Object.fromEntries(result);
}

function fieldOf(shape: Shape, name: string): Shape {
  if (shape.kind === 'map') return shape.of;
  return shape.kind === 'object' && Object.hasOwn(shape.fields, name) ? (shape.fields[name] ?? any) : any;
}

function without(value: JsonObject, name: string): JsonObject {
  const { [name]: _, ...rest } = value;
  return rest;
}

/** The original, cut to the keys that `$retainKeys` names. */
function retained(original: JsonObject, patch: JsonObject): JsonObject {
  const keys = patch['$retainKeys'];
  if (!isList(keys)) return original;
  return Object.fromEntries(Object.entries(original).filter(([name]) => keys.includes(name)));
}

function mergeList(original: Json | undefined, patch: readonly Json[], shape: Shape, name: string): Json {
  const merge: ListMerge = shape.kind === 'list' ? shape.merge : 'replace';
  const of = shape.kind === 'list' ? shape.of : any;
  if (merge === 'set') return [...new Set([...(isList(original) ? original : []), ...patch])];
  if (merge === 'replace') return patch;
  return mergeByKey(isList(original) ? original : [], patch, of, merge.key, name);
}

function keyOf(item: Json, key: string, name: string): Json {
  const value = isObject(item) ? item[key] : undefined;
  if (value === undefined)
    throw new InjectionError([`an element of ${name} has no ${key}, by which it is merged`]);
  return value;
}

/**
 * Elements of the patch come in their own order; those only in the original keep their places before those that
 * followed them, and otherwise stand behind.
 */
function mergeByKey(
  original: readonly Json[],
  patch: readonly Json[],
  of: Shape,
  key: string,
  name: string,
): Json {
  let base = [...original];
  if (patch.some((item) => isObject(item) && item['$patch'] === 'replace' && item[key] === undefined))
    base = [];
  const merged = new Map<Json, Json>();
  for (const item of patch) {
    if (!isObject(item)) throw new InjectionError([`expected a list of objects in ${name}`]);
    const directive = item['$patch'];
    if (directive === 'replace' && item[key] === undefined) continue;
    const id = keyOf(item, key, name);
    if (directive === 'delete') {
      base = base.filter((present) => keyOf(present, key, name) !== id);
      merged.delete(id);
      continue;
    }
    const present = merged.get(id) ?? base.find((candidate) => keyOf(candidate, key, name) === id);
    merged.set(id, strategicMerge(isObject(present) ? present : {}, item, of));
  }
  const place = new Map(base.map((item, index) => [keyOf(item, key, name), index]));
  const rest = base.filter((item) => !merged.has(keyOf(item, key, name)));
  const placeOf = (item: Json): number => place.get(keyOf(item, key, name)) ?? 0;
  const result: Json[] = [];
  let next = 0;
  for (const [id, item] of merged) {
    const before = place.get(id) ?? -1;
    for (; next < rest.length && placeOf(rest[next] ?? null) < before; next++)
      result.push(rest[next] ?? null);
    result.push(item);
  }
  return [...result, ...rest.slice(next)];
}
