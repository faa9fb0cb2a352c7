/** Reading arguments of template functions. */
import { type Value, type ValueMap, isArray, isMap, isRecord, kindOf, textOf } from '../values.ts';

/** The argument at a place; throws when there are too few. */
export function argument(args: readonly Value[], index: number): Value {
  if (index >= args.length) throw new Error(`expected at least ${index + 1} arguments, found ${args.length}`);
  return args[index];
}

/** An argument as text: what is not text is printed, and nothing is the empty text. */
export function text(args: readonly Value[], index: number): string {
  const value = argument(args, index);
  return value === undefined || value === null ? '' : textOf(value);
}

/** An argument as a number: text is read, nothing is 0. */
export function number(args: readonly Value[], index: number): number {
  return toNumber(argument(args, index));
}

/** As Go's casts have it: what is no number is 0. */
export function toNumber(value: Value): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value !== 'string') return 0;
  const read = Number(value.trim() === '' ? Number.NaN : value);
  return Number.isNaN(read) ? 0 : read;
}

/** A number without its fraction. */
export function integer(args: readonly Value[], index: number): number {
  return Math.trunc(number(args, index));
}

/** An argument as a list; nothing is an empty one. */
export function array(args: readonly Value[], index: number): readonly Value[] {
  const value = argument(args, index);
  if (value === undefined || value === null) return [];
  if (!isArray(value)) throw new Error(`expected a list, found a value of type ${kindOf(value)}`);
  return value;
}

/** An argument as a map; nothing is an empty one. */
export function mapping(args: readonly Value[], index: number): ValueMap {
  const value = argument(args, index);
  if (value === undefined || value === null) return {};
  if (isRecord(value)) return value.toJSON() as ValueMap;
  if (!isMap(value)) throw new Error(`expected a map, found a value of type ${kindOf(value)}`);
  return value;
}

/** Longest list that a function makes. */
export const maxItems = 100_000;
/** Longest text that a function makes. */
export const maxText = 4 * 1024 * 1024;
