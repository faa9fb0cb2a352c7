/**
 * Small descriptions of what a field may hold. A kind's schema is built of these, checked against its TypeScript
 * interface by the compiler, and walked once per object: every error is found, each with path, expected and found.
 */
import { type Checker, describe, nearest } from './checker.ts';
import type { IssueCode } from './issue.ts';

/** What a schema lets through as far as types go: what JSON Schema can say of it (./json_schema.ts). */
export type Shape =
  | { readonly type: 'any' | 'boolean' | 'number or string' | 'string' }
  | { readonly type: 'number' | 'integer'; readonly min: number; readonly max: number }
  | { readonly type: 'words'; readonly words: readonly string[] }
  | { readonly type: 'list' | 'map'; readonly item: Schema<unknown> }
  | {
      readonly type: 'object';
      readonly fields: ReadonlyMap<string, Schema<unknown>>;
      /** Fields beside these pass. */
      readonly open: boolean;
      readonly required: readonly string[];
      readonly atMostOneOf: readonly (readonly string[])[];
    }
  | { readonly type: 'other'; readonly schema: () => Schema<unknown> };

/** Describes values of type T. `T` is only for the compiler. */
export interface Schema<out T> {
  /** In messages: `a number`, `a list`. */
  readonly expected: string;
  readonly shape: Shape;
  /** Reports what is wrong with a value that is neither undefined nor null. */
  check(value: unknown, at: Checker): void;
  readonly phantom?: T;
}

/** A rule that code expresses better than a schema. Runs only on values whose shape is right. */
export type Rule<T> = (value: T, at: Checker) => void;

/** A schema for every field of an interface. */
export type Fields<T> = { readonly [K in keyof Required<T>]: Schema<Exclude<T[K], undefined>> };

/** Options of an object's schema. */
export interface ObjectOptions<T> {
  /** Fields that must be present and not empty. Default none. */
  readonly required?: readonly (keyof T & string)[];
  /** Sets of fields of which at most one may be present. Default none. */
  readonly atMostOneOf?: readonly (readonly (keyof T & string)[])[];
  /** Lets unknown fields pass: for kinds of which only a part is read. Default false. */
  readonly open?: boolean;
  /** Further names that are accepted for fields, with the field they stand for. Default none. */
  readonly aliases?: Readonly<Record<string, keyof T & string>>;
  /** Runs when the object's shape is right. */
  readonly rule?: Rule<T>;
}

/** An object with known fields. Rules expect that null has been taken out before: see withoutNulls. */
export function object<T extends object>(fields: Fields<T>, options: ObjectOptions<T> = {}): Schema<T> {
  const known = new Map(Object.entries(fields as Record<string, Schema<unknown>>));
  for (const [alias, field] of Object.entries(options.aliases ?? {})) {
    const schema = known.get(field);
    if (schema !== undefined) known.set(alias, schema);
  }
  const names = Object.keys(fields);
  const { required = [], atMostOneOf = [], open = false } = options;
  return {
    expected: 'an object',
    shape: { type: 'object', fields: known, open, required, atMostOneOf },
    check(value, at) {
      if (!isObject(value)) return at.mismatch('wrong_type', 'an object', value);
      const errorsBefore = at.errorCount;
      for (const [name, fieldValue] of Object.entries(value)) {
        const schema = known.get(name);
        if (schema === undefined) {
          if (!open) reportUnknown(name, names, at);
        } else if (fieldValue !== null && fieldValue !== undefined) {
          at.within(name, () => schema.check(fieldValue, at));
        }
      }
      for (const name of required) {
        const found = value[name];
        if (found === undefined || found === null || found === '') {
          const expected = known.get(name)?.expected ?? 'a value';
          at.error(
            'missing_field',
            `required: expected ${expected}, found ${describe(found)}`,
            [name],
            expected,
          );
        }
      }
      for (const group of atMostOneOf) {
        const present = group.filter((name) => value[name] !== undefined && value[name] !== null);
        if (present.length < 2) continue;
        at.error(
          'mutually_exclusive',
          `only one of ${group.join(', ')} can be set, found ${present.join(' and ')}`,
          [present[1] ?? ''],
        );
      }
      if (at.errorCount === errorsBefore) options.rule?.(value as T, at);
    },
  };
}

function reportUnknown(name: string, known: readonly string[], at: Checker): void {
  const near = nearest(name, known);
  if (near !== undefined) at.error('unknown_field', `unknown field, did you mean "${near}"?`, [name], near);
  else at.error('unknown_field', `unknown field, expected one of ${known.join(', ')}`, [name]);
}

/** Bounds of a list. */
export interface ListOptions<T> {
  readonly min?: number;
  readonly max?: number;
  readonly rule?: Rule<readonly T[]>;
}

/** A list. An item that is null is an error. */
export function list<T>(item: Schema<T>, options: ListOptions<T> = {}): Schema<readonly T[]> {
  const { min = 0, max = 65_536 } = options;
  return {
    expected: 'a list',
    shape: { type: 'list', item },
    check(value, at) {
      if (!Array.isArray(value)) return at.mismatch('wrong_type', 'a list', value);
      const errorsBefore = at.errorCount;
      if (value.length < min || value.length > max) {
        const expected = value.length < min ? `at least ${min}` : `at most ${max}`;
        at.error(
          'out_of_range',
          `expected ${expected} items, found ${value.length}`,
          [],
          `${expected} items`,
        );
      }
      value.slice(0, max).forEach((element: unknown, index) =>
        at.within(index, () => {
          if (element === null || element === undefined) at.mismatch('wrong_type', item.expected, element);
          else item.check(element, at);
        }),
      );
      if (at.errorCount === errorsBefore) options.rule?.(value as readonly T[], at);
    },
  };
}

/** An object whose keys are data. `key` checks them, reporting at the key's own path. */
export function map<T>(
  item: Schema<T>,
  options: { readonly key?: Rule<string>; readonly rule?: Rule<Readonly<Record<string, T>>> } = {},
): Schema<Readonly<Record<string, T>>> {
  return {
    expected: 'an object',
    shape: { type: 'map', item },
    check(value, at) {
      if (!isObject(value)) return at.mismatch('wrong_type', 'an object', value);
      const errorsBefore = at.errorCount;
      for (const [name, element] of Object.entries(value)) {
        at.within(name, () => {
          options.key?.(name, at);
          if (element === null || element === undefined) at.mismatch('wrong_type', item.expected, element);
          else item.check(element, at);
        });
      }
      if (at.errorCount === errorsBefore) options.rule?.(value as Readonly<Record<string, T>>, at);
    },
  };
}

/** Options of a string. */
export interface StringOptions {
  readonly expected?: string;
  readonly code?: IssueCode;
  readonly minLength?: number;
  readonly maxLength?: number;
  /** Must hold; a failure is reported as `expected ..., found ...`. */
  readonly test?: (value: string) => boolean;
  readonly rule?: Rule<string>;
}

/** A string. A number or boolean is an error: YAML needs quotes there. */
export function string(options: StringOptions = {}): Schema<string> {
  const { minLength = 0, maxLength = 1_048_576, code = 'invalid_value' } = options;
  const expected = options.expected ?? (minLength > 0 ? 'a string that is not empty' : 'a string');
  return {
    expected,
    shape: { type: 'string' },
    check(value, at) {
      if (typeof value !== 'string') return at.mismatch('wrong_type', expected, value);
      if (value.length > maxLength) {
        return at.error('out_of_range', `expected at most ${maxLength} characters, found ${value.length}`);
      }
      if (value.length < minLength || options.test?.(value) === false)
        return at.mismatch(code, expected, value);
      options.rule?.(value, at);
    },
  };
}

/** A number within bounds. */
export function number(
  options: { readonly min?: number; readonly max?: number; readonly expected?: string } = {},
): Schema<number> {
  return bounded('number', options, (value) => Number.isFinite(value));
}

/** A whole number within bounds; the bounds of int32 when none are given. */
export function integer(
  options: { readonly min?: number; readonly max?: number; readonly expected?: string } = {},
): Schema<number> {
  const { min = -2_147_483_648, max = 2_147_483_647 } = options;
  return bounded('integer', { ...options, min, max }, Number.isSafeInteger);
}

function bounded(
  type: 'number' | 'integer',
  options: { readonly min?: number; readonly max?: number; readonly expected?: string },
  test: (value: number) => boolean,
): Schema<number> {
  const noun = type === 'number' ? 'a number' : 'a whole number';
  const { min = -Infinity, max = Infinity } = options;
  const range =
    max >= 2_147_483_647 ? (min <= -2_147_483_648 ? '' : ` of at least ${min}`) : ` from ${min} to ${max}`;
  const expected = options.expected ?? noun + range;
  return {
    expected,
    shape: { type, min, max },
    check(value, at) {
      if (typeof value !== 'number') at.mismatch('wrong_type', expected, value);
      else if (!test(value)) at.mismatch('wrong_type', expected, value);
      else if (value < min || value > max) at.mismatch('out_of_range', expected, value);
    },
  };
}

/** true or false. */
export const boolean: Schema<boolean> = {
  expected: 'true or false',
  shape: { type: 'boolean' },
  check(value, at) {
    if (typeof value !== 'boolean') at.mismatch('wrong_type', 'true or false', value);
  },
};

/** One of a few words. */
export function oneOf<const T extends string>(...values: readonly T[]): Schema<T> {
  const expected = `one of ${values.join(', ')}`;
  return {
    expected,
    shape: { type: 'words', words: values },
    check(value, at) {
      if (typeof value !== 'string') return at.mismatch('wrong_type', expected, value);
      if ((values as readonly string[]).includes(value)) return;
      const near = nearest(value, values);
      const hint = near === undefined ? '' : `; did you mean ${near}?`;
      at.error('unknown_value', `expected ${expected}, found ${describe(value)}${hint}`, [], expected);
    },
  };
}

/** Any JSON value. */
export const anything: Schema<unknown> = { expected: 'a value', shape: { type: 'any' }, check() {} };

/** An object with any content (google.protobuf.Struct). */
export const anyObject: Schema<Readonly<Record<string, unknown>>> = {
  expected: 'an object',
  shape: { type: 'map', item: anything },
  check(value, at) {
    if (!isObject(value)) at.mismatch('wrong_type', 'an object', value);
  },
};

/** An object without fields. */
export const emptyObject: Schema<Readonly<Record<string, never>>> = {
  ...map<never>({
    expected: 'nothing',
    shape: { type: 'any' },
    check: (_, at) => at.error('unknown_field', 'unknown field: the object has none'),
  }),
  shape: { type: 'object', fields: new Map(), open: false, required: [], atMostOneOf: [] },
};

/** A number, or a string. */
export const numberOrString: Schema<number | string> = {
  expected: 'a number or a string',
  shape: { type: 'number or string' },
  check(value, at) {
    if (typeof value !== 'number' && typeof value !== 'string') {
      at.mismatch('wrong_type', 'a number or a string', value);
    }
  },
};

/** Defers a schema that refers to itself or stands further down. */
export function lazy<T>(make: () => Schema<T>): Schema<T> {
  return {
    expected: 'an object',
    shape: { type: 'other', schema: make },
    check: (value, at) => make().check(value, at),
  };
}

/** Adds a rule to a schema; it runs when the value's shape is right. */
export function withRule<T>(schema: Schema<T>, rule: Rule<T>): Schema<T> {
  return {
    expected: schema.expected,
    shape: schema.shape,
    check(value, at) {
      const errorsBefore = at.errorCount;
      schema.check(value, at);
      if (at.errorCount === errorsBefore) rule(value as T, at);
    },
  };
}

/**
 * A copy without the fields of objects that are null: they count as absent, as in proto3 JSON and in Kubernetes. Items
 * of lists stay, as dropping them would move the others. A value without null is returned as it is.
 */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) {
    const items = value.map(withoutNulls);
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (!isObject(value)) return value;
  const entries = Object.entries(value);
  const kept = entries
    .filter(([, field]) => field !== null)
    .map(([key, field]) => [key, withoutNulls(field)] as const);
  const same = kept.length === entries.length && kept.every(([key, field]) => field === value[key]);
  return same ? value : Object.fromEntries(kept);
}

/** True for a plain object; not for lists. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
