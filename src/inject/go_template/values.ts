/** Values of templates: JSON's, and what Go's reflection sees in them. */

/** A value; undefined is one that a map does not have. Objects are maps, unless they are records. */
export type Value = null | undefined | boolean | number | string | readonly Value[] | ValueMap | GoRecord;
export interface ValueMap {
  readonly [key: string]: Value;
}

/** A Go struct: its fields are found by their Go names. */
export abstract class GoRecord {
  /** The value of a field or method; throws when there is none. */
  abstract get(name: string): Value;
  /** Calls a method with arguments; throws when there is none. */
  call(name: string, _args: readonly Value[]): Value {
    throw new Error(`method ${name} takes no arguments`);
  }
  /** As JSON. */
  abstract toJSON(): unknown;
}

export function isRecord(value: Value): value is GoRecord {
  return value instanceof GoRecord;
}

export function isMap(value: Value): value is ValueMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof GoRecord);
}

export function isArray(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** Go's truth: empty, zero and nil are false. */
export function isTrue(value: Value): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === '') return false;
  if (isArray(value)) return value.length > 0;
  if (isMap(value)) return Object.keys(value).length > 0;
  return true;
}

/** What Go calls the sort of a value. */
export function kindOf(value: Value): string {
  if (value === null || value === undefined) return 'invalid';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float64';
  if (isArray(value)) return 'slice';
  return isMap(value) ? 'map' : 'struct';
}

/** A number as Go's `%v` prints it. */
export function numberText(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return String(value);
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  const [mantissa = '', exponent = '0'] = value.toExponential().split('e');
  const power = Number(exponent);
  if (power >= -4 && power < 21) return String(value);
  return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}

/** A value as Go's `%v` prints it. */
export function textOf(value: Value): string {
  if (value === undefined) return '<no value>';
  if (value === null) return '<nil>';
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'boolean') return String(value);
  if (isArray(value)) return `[${value.map(inner).join(' ')}]`;
  if (isMap(value))
    return `map[${Object.keys(value)
      .sort()
      .map((key) => `${key}:${inner(value[key])}`)
      .join(' ')}]`;
  return JSON.stringify(value);
}

function inner(value: Value): string {
  return value === undefined ? '<nil>' : textOf(value);
}
