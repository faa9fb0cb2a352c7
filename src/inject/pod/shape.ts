/**
 * Descriptions of Kubernetes' types, as far as injection needs them: what a field may hold, whether a zero value is
 * written, and how lists merge. Fields stand in the order in which Kubernetes writes them to JSON.
 */

/** What a field holds. Fields that a shape does not know pass through every operation unchanged. */
export type Shape =
  | {
      readonly kind: 'text' | 'bool' | 'int' | 'quantity' | 'int_or_string' | 'any';
      readonly keepZero: boolean;
    }
  | { readonly kind: 'object'; readonly fields: Readonly<Record<string, Shape>>; readonly required: boolean }
  | {
      readonly kind: 'list';
      readonly of: Shape;
      readonly merge: ListMerge;
      readonly keepZero: boolean;
    }
  | { readonly kind: 'map'; readonly of: Shape; readonly keepZero: boolean };

/** How a strategic merge patch treats a list: by a key of its objects, as a set of scalars, or as one value. */
export type ListMerge = { readonly key: string } | 'set' | 'replace';

/** Zero values are left out when Kubernetes writes the object. */
export const text = { kind: 'text', keepZero: false } as const;
export const bool = { kind: 'bool', keepZero: false } as const;
export const int = { kind: 'int', keepZero: false } as const;
/** Zero values are kept: Kubernetes tells them from absent ones. */
export const textOrAbsent = { kind: 'text', keepZero: true } as const;
export const boolOrAbsent = { kind: 'bool', keepZero: true } as const;
export const intOrAbsent = { kind: 'int', keepZero: true } as const;
export const quantity = { kind: 'quantity', keepZero: true } as const;
export const intOrString = { kind: 'int_or_string', keepZero: true } as const;
/** Not looked into. */
export const any = { kind: 'any', keepZero: true } as const;

/** An object that stays away when it is absent. */
export function object(fields: Readonly<Record<string, Shape>>): Shape & { kind: 'object' } {
  return { kind: 'object', fields, required: false };
}

/** An object that Kubernetes always writes, at least as `{}`. */
export function always(shape: Shape & { kind: 'object' }): Shape {
  return { ...shape, required: true };
}

/** A list that is left out when empty. */
export function list(of: Shape, merge: ListMerge = 'replace'): Shape & { kind: 'list' } {
  return { kind: 'list', of, merge, keepZero: false };
}

/** A map of free keys that is left out when empty. */
export function map(of: Shape): Shape {
  return { kind: 'map', of, keepZero: false };
}

/** A value of JSON. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

/** True for objects, not for lists and null. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Narrowed to a list with elements of unknown sort. */
export function isList(value: unknown): value is readonly Json[] {
  return Array.isArray(value);
}
