/** sprig's functions for lists, maps, numbers and defaults. */
import type { TemplateFunction } from '../evaluate.ts';
import { type Value, type ValueMap, isMap, isTrue, kindOf } from '../values.ts';
import { argument, array, integer, mapping, maxItems, number, text, toNumber } from './arguments.ts';

function equal(first: Value, second: Value): boolean {
  return first === second || JSON.stringify(first ?? null) === JSON.stringify(second ?? null);
}

function bounded<T>(items: readonly T[]): readonly T[] {
  if (items.length > maxItems) throw new Error(`expected at most ${maxItems} elements`);
  return items;
}

function counted(start: number, end: number, step: number): number[] {
  if (step === 0) throw new Error('expected a step other than 0');
  const count = Math.max(0, Math.ceil((end - start) / step));
  if (count > maxItems) throw new Error(`expected at most ${maxItems} elements`);
  return Array.from({ length: count }, (_, index) => start + index * step);
}

function pairs(args: readonly Value[]): [string, Value][] {
  const result: [string, Value][] = [];
  for (let index = 0; index < args.length; index += 2)
    result.push([text(args, index), index + 1 < args.length ? args[index + 1] : '']);
  return result;
}

/** The first of several maps wins, also inside. */
function merge(base: ValueMap, others: readonly ValueMap[], overwrite: boolean): ValueMap {
  const result: Record<string, Value> = { ...base };
  for (const other of others) {
    for (const [key, value] of Object.entries(other)) {
      const present = result[key];
      if (isMap(present) && isMap(value)) result[key] = merge(present, [value], overwrite);
      else if (overwrite || !Object.hasOwn(result, key) || !isTrue(present)) result[key] = value;
    }
  }
  return result;
}

function dig(args: readonly Value[]): Value {
  const keys = args.slice(0, -2);
  let at: Value = args.at(-1);
  for (const key of keys) {
    if (!isMap(at) || !Object.hasOwn(at, String(key))) return args.at(-2);
    at = at[String(key)];
  }
  return at;
}

/** Takes nothing away from a list that has none. */
function removed(args: readonly Value[], from: number): Record<string, Value> {
  const names = new Set(args.slice(from).map(String));
  return Object.fromEntries(Object.entries(mapping(args, 0)).filter(([key]) => !names.has(key)));
}

function whole(run: (first: number, second: number) => number): TemplateFunction {
  return (args) =>
    args
      .slice(1)
      .reduce<number>((sum, value) => Math.trunc(run(sum, Math.trunc(toNumber(value)))), integer(args, 0));
}

function divide(first: number, second: number): number {
  if (second === 0) throw new Error('division by zero');
  return first / second;
}

/** By name. */
export const collectionFunctions: Readonly<Record<string, TemplateFunction>> = {
  default: (args) => (args.length < 2 || !isTrue(args[1]) ? argument(args, 0) : args[1]),
  empty: (args) => !isTrue(argument(args, 0)),
  coalesce: (args) => args.find(isTrue) ?? null,
  all: (args) => args.every(isTrue),
  any: (args) => args.some(isTrue),
  ternary: (args) => (isTrue(argument(args, 2)) ? args[0] : args[1]),
  fail: (args) => {
    throw new Error(text(args, 0));
  },
  required: (args) => {
    const value = argument(args, 1);
    if (value === undefined || value === null || value === '') throw new Error(text(args, 0));
    return value;
  },
  kindOf: (args) => kindOf(argument(args, 0)),
  kindIs: (args) => kindOf(argument(args, 1)) === text(args, 0),
  typeOf: (args) => kindOf(argument(args, 0)),
  typeIs: (args) => kindOf(argument(args, 1)) === text(args, 0),
  deepEqual: (args) => equal(argument(args, 0), argument(args, 1)),

  list: (args) => args,
  tuple: (args) => args,
  append: (args) => bounded([...array(args, 0), argument(args, 1)]),
  push: (args) => bounded([...array(args, 0), argument(args, 1)]),
  prepend: (args) => bounded([argument(args, 1), ...array(args, 0)]),
  concat: (args) => bounded(args.flatMap((_, index) => [...array(args, index)])),
  first: (args) => array(args, 0)[0] ?? null,
  last: (args) => array(args, 0).at(-1) ?? null,
  rest: (args) => array(args, 0).slice(1),
  initial: (args) => array(args, 0).slice(0, -1),
  reverse: (args) => array(args, 0).toReversed(),
  uniq: (args) => {
    const items = array(args, 0);
    return items.filter((item, index) => items.findIndex((other) => equal(item, other)) === index);
  },
  compact: (args) => array(args, 0).filter(isTrue),
  has: (args) => array(args, 1).some((item) => equal(item, argument(args, 0))),
  without: (args) => array(args, 0).filter((item) => !args.slice(1).some((other) => equal(item, other))),
  until: (args) => counted(0, integer(args, 0), integer(args, 0) < 0 ? -1 : 1),
  untilStep: (args) => counted(integer(args, 0), integer(args, 1), integer(args, 2)),
  seq: (args) => {
    const [first, second, third] = args.map((_, index) => integer(args, index));
    const [start, step, end] =
      third !== undefined
        ? [first ?? 1, second ?? 1, third]
        : second !== undefined
          ? [first ?? 1, 1, second]
          : [1, 1, first ?? 0];
    const direction = args.length < 3 && end < start ? -1 : step;
    return counted(start, end + Math.sign(direction), direction).join(' ');
  },

  dict: (args) => Object.fromEntries(pairs(args)),
  get: (args) => {
    const map = mapping(args, 0);
    const key = text(args, 1);
    return Object.hasOwn(map, key) ? map[key] : '';
  },
  // Values do not change under a template's hands: the map with the change is what comes back.
  set: (args) => ({ ...mapping(args, 0), [text(args, 1)]: argument(args, 2) }),
  unset: (args) => removed(args, 1),
  hasKey: (args) => Object.hasOwn(mapping(args, 0), text(args, 1)),
  keys: (args) => args.flatMap((_, index) => Object.keys(mapping(args, index))).sort(),
  values: (args) => Object.values(mapping(args, 0)),
  pick: (args) => {
    const names = new Set(args.slice(1).map(String));
    return Object.fromEntries(Object.entries(mapping(args, 0)).filter(([key]) => names.has(key)));
  },
  omit: (args) => removed(args, 1),
  pluck: (args) =>
    args
      .slice(1)
      .filter((map) => isMap(map) && Object.hasOwn(map, text(args, 0)))
      .map((map) => (isMap(map) ? map[text(args, 0)] : null)),
  merge: (args) =>
    merge(
      mapping(args, 0),
      args.slice(1).map((_, index) => mapping(args, index + 1)),
      false,
    ),
  mergeOverwrite: (args) =>
    merge(
      mapping(args, 0),
      args.slice(1).map((_, index) => mapping(args, index + 1)),
      true,
    ),
  deepCopy: (args) => argument(args, 0),
  dig,

  int: (args) => integer(args, 0),
  int64: (args) => integer(args, 0),
  float64: (args) => number(args, 0),
  atoi: (args) => integer(args, 0),
  add: whole((first, second) => first + second),
  add1: (args) => integer(args, 0) + 1,
  sub: whole((first, second) => first - second),
  mul: whole((first, second) => first * second),
  div: whole(divide),
  mod: whole((first, second) => (second === 0 ? divide(first, second) : first % second)),
  addf: (args) => args.map(toNumber).reduce((sum, value) => sum + value, 0),
  mulf: (args) => args.map(toNumber).reduce((sum, value) => sum * value, 1),
  max: (args) => Math.max(...args.map((_, index) => integer(args, index))),
  min: (args) => Math.min(...args.map((_, index) => integer(args, index))),
  ceil: (args) => Math.ceil(number(args, 0)),
  floor: (args) => Math.floor(number(args, 0)),
  round: (args) => {
    const scale = 10 ** integer(args, 1);
    return Math.round(number(args, 0) * scale) / scale;
  },
};
