/** Refuses values of a wrong type before anything reads them as a pod. */
import { isQuantity } from './quantity.ts';
import { type Json, type Shape, isList, isObject } from './shape.ts';

/** Most errors that are collected. */
const maxErrors = 20;

function found(value: Json): string {
  if (isList(value)) return 'a list';
  if (isObject(value)) return 'an object';
  return JSON.stringify(value).slice(0, 80);
}

/** What is wrong with a value, each with its path (`spec.containers[0].name: expected text, found 5`). */
export function checkShape(value: Json, shape: Shape, path = ''): string[] {
  const errors: string[] = [];
  check(value, shape, path, errors);
  return errors;
}

function check(value: Json, shape: Shape, path: string, errors: string[]): void {
  if (value === null || errors.length >= maxErrors) return;
  const wrong = (expected: string): void =>
    void errors.push(`${path}: expected ${expected}, found ${found(value)}`);
  switch (shape.kind) {
    case 'any':
      return;
    case 'text':
      if (typeof value !== 'string') wrong('text');
      return;
    case 'bool':
      if (typeof value !== 'boolean') wrong('true or false');
      return;
    case 'int':
      if (!Number.isSafeInteger(value)) wrong('a whole number');
      return;
    case 'int_or_string':
      if (typeof value !== 'string' && !Number.isSafeInteger(value)) wrong('a whole number or text');
      return;
    case 'quantity':
      if ((typeof value !== 'string' && typeof value !== 'number') || !isQuantity(String(value)))
        wrong('a quantity such as 100m or 1Gi');
      return;
    case 'list':
      if (!isList(value)) return wrong('a list');
      for (const [index, item] of value.entries()) {
        // A list of objects has no place for null; elsewhere null is the same as nothing.
        if (item === null && shape.of.kind === 'object')
          errors.push(`${path}[${index}]: expected an object, found null`);
        check(item, shape.of, `${path}[${index}]`, errors);
      }
      return;
    case 'map':
    case 'object':
      if (!isObject(value)) return wrong('an object');
      for (const [name, item] of Object.entries(value)) {
        const of =
          shape.kind === 'map'
            ? shape.of
            : Object.hasOwn(shape.fields, name)
              ? shape.fields[name]
              : undefined;
        if (of !== undefined) check(item, of, path === '' ? name : `${path}.${name}`, errors);
      }
  }
}
