/** `?mask=` of `/config_dump`: a field mask (google.protobuf.FieldMask) over configuration as JSON with proto names. */
import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';

/** Paths as lists of field names. */
export function parseMask(mask: string): string[][] {
  return mask.split(',').map((path) => path.split('.'));
}

/**
 * True when the path names a field of the message. What is inside an Any is not known to the schema: it is looked up in
 * the value (`hasPath`). A repeated field can only be the last one.
 */
export function isValidPath(schema: DescMessage, path: readonly string[]): boolean {
  let current: DescMessage | undefined = schema;
  for (const [i, name] of path.entries()) {
    if (current === undefined) return false;
    if (current.typeName === 'google.protobuf.Any') return true;
    const field: DescField | undefined = current.fields.find((one) => one.name === name);
    if (field === undefined) return false;
    const last = i === path.length - 1;
    if (!last && field.fieldKind !== 'message') return false;
    current = field.message;
  }
  return true;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function copyPath(from: JsonObject, into: JsonObject, path: readonly string[]): void {
  const [name = '', ...rest] = path;
  const value = from[name];
  if (value === undefined) return;
  if (rest.length === 0) {
    into[name] = value;
    return;
  }
  if (!isObject(value)) return;
  const known = into[name];
  const inner: JsonObject = isObject(known) ? known : {};
  if (value['@type'] !== undefined) inner['@type'] = value['@type'];
  into[name] = inner;
  copyPath(value, inner, rest);
}

/** Only what the mask names; `@type` stays. */
export function applyMask(value: JsonObject, mask: readonly (readonly string[])[]): JsonObject {
  const result: JsonObject = value['@type'] === undefined ? {} : { '@type': value['@type'] };
  for (const path of mask) copyPath(value, result, path);
  return result;
}
