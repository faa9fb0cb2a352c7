/** JSON Patch (RFC 6902): the changes from one value to another. */
import { type Json, isList, isObject } from './pod/shape.ts';

/** One change. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string };

/** A key in a JSON Pointer (RFC 6901, section 3). */
function pointer(path: string, key: string | number): string {
  return `${path}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

function equal(first: Json, second: Json): boolean {
  if (first === second) return true;
  if (isList(first) && isList(second))
    return first.length === second.length && first.every((item, index) => equal(item, second[index] ?? null));
  if (!isObject(first) || !isObject(second)) return false;
  const keys = Object.keys(first);
  return (
    keys.length === Object.keys(second).length &&
    keys.every((key) => Object.hasOwn(second, key) && equal(first[key] ?? null, second[key] ?? null))
  );
}

/** Changes that make `to` of `from`; none when they are equal. */
export function jsonPatch(from: Json, to: Json): PatchOperation[] {
  const operations: PatchOperation[] = [];
  compare(from, to, '', operations);
  return operations;
}

function compare(from: Json, to: Json, path: string, operations: PatchOperation[]): void {
  if (isObject(from) && isObject(to)) {
    for (const key of Object.keys(from))
      if (!Object.hasOwn(to, key)) operations.push({ op: 'remove', path: pointer(path, key) });
    for (const [key, value] of Object.entries(to)) {
      if (Object.hasOwn(from, key)) compare(from[key] ?? null, value, pointer(path, key), operations);
      else operations.push({ op: 'add', path: pointer(path, key), value });
    }
  } else if (isList(from) && isList(to)) compareLists(from, to, path, operations);
  else if (!equal(from, to)) operations.push({ op: 'replace', path, value: to });
}

/** Element by element; elements that are new behind the old ones are added, any other change of length replaces the list. */
function compareLists(
  from: readonly Json[],
  to: readonly Json[],
  path: string,
  operations: PatchOperation[],
): void {
  if (
    from.length === to.length ||
    (from.length < to.length && from.every((item, index) => equal(item, to[index] ?? null)))
  ) {
    for (const [index, value] of to.entries()) {
      if (index < from.length) compare(from[index] ?? null, value, pointer(path, index), operations);
      else operations.push({ op: 'add', path: `${path}/-`, value });
    }
  } else operations.push({ op: 'replace', path, value: to });
}
