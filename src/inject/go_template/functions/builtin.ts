/** The functions of Go's `text/template` itself; `and` and `or` belong to the evaluator. */
import type { TemplateFunction } from '../evaluate.ts';
import { type Value, isArray, isMap, isRecord, isTrue, kindOf, textOf } from '../values.ts';
import { argument, text } from './arguments.ts';
import { format } from './printf.ts';

function isNothing(value: Value): boolean {
  return value === undefined || value === null;
}

function same(first: Value, second: Value): boolean {
  if (isNothing(first) || isNothing(second)) return isNothing(first) && isNothing(second);
  if (typeof first !== typeof second)
    throw new Error(`incompatible types for comparison: ${kindOf(first)} and ${kindOf(second)}`);
  if (typeof first === 'object') throw new Error(`values of type ${kindOf(first)} cannot be compared`);
  return first === second;
}

function order(args: readonly Value[]): number {
  const first = argument(args, 0);
  const second = argument(args, 1);
  if (typeof first === 'number' && typeof second === 'number') return first - second;
  if (typeof first === 'string' && typeof second === 'string')
    return first < second ? -1 : Number(first > second);
  throw new Error(`incompatible types for comparison: ${kindOf(first)} and ${kindOf(second)}`);
}

function at(value: Value, key: Value): Value {
  if (value === undefined || value === null) throw new Error('index of nothing');
  if (isRecord(value)) return value.get(textOf(key));
  if (isMap(value)) return typeof key === 'string' && Object.hasOwn(value, key) ? value[key] : undefined;
  if (typeof key !== 'number' || !Number.isInteger(key))
    throw new Error(`an index must be a whole number, found ${kindOf(key)}`);
  if (isArray(value)) {
    if (key < 0 || key >= value.length)
      throw new Error(`index ${key} is out of range: the list has ${value.length}`);
    return value[key];
  }
  if (typeof value === 'string') {
    const bytes = Buffer.from(value);
    if (key < 0 || key >= bytes.length)
      throw new Error(`index ${key} is out of range: the text has ${bytes.length}`);
    return bytes[key];
  }
  throw new Error(`cannot index a value of type ${kindOf(value)}`);
}

function slice(args: readonly Value[]): Value {
  const value = argument(args, 0);
  const bounds = args.slice(1).map((bound) => {
    if (typeof bound !== 'number' || !Number.isInteger(bound))
      throw new Error('bounds must be whole numbers');
    return bound;
  });
  const source = typeof value === 'string' ? Buffer.from(value) : isArray(value) ? value : undefined;
  if (source === undefined) throw new Error(`cannot slice a value of type ${kindOf(value)}`);
  const [from = 0, to = source.length] = bounds;
  if (from < 0 || to < from || to > source.length)
    throw new Error(`bounds ${from} and ${to} are out of range`);
  return Buffer.isBuffer(source) ? source.subarray(from, to).toString('utf8') : source.slice(from, to);
}

function length(value: Value): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (isArray(value)) return value.length;
  if (isMap(value)) return Object.keys(value).length;
  throw new Error(`a value of type ${kindOf(value)} has no length`);
}

/** Go's `Sprint`: a blank between two values of which neither is text. */
function print(args: readonly Value[]): string {
  return args
    .map((value, index) => {
      const before = args[index - 1];
      const blank = index > 0 && typeof value !== 'string' && typeof before !== 'string';
      return `${blank ? ' ' : ''}${isNothing(value) ? '<nil>' : textOf(value)}`;
    })
    .join('');
}

const htmlEscapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
};

/** By name. */
export const builtinFunctions: Readonly<Record<string, TemplateFunction>> = {
  not: (args) => !isTrue(argument(args, 0)),
  len: (args) => length(argument(args, 0)),
  index: (args) => args.slice(1).reduce((value: Value, key) => at(value, key), argument(args, 0)),
  slice,
  eq: (args) => {
    const first = argument(args, 0);
    argument(args, 1);
    return args.slice(1).some((other) => same(first, other));
  },
  ne: (args) => !same(argument(args, 0), argument(args, 1)),
  lt: (args) => order(args) < 0,
  le: (args) => order(args) <= 0,
  gt: (args) => order(args) > 0,
  ge: (args) => order(args) >= 0,
  print,
  println: (args) => `${args.map((value) => (isNothing(value) ? '<nil>' : textOf(value))).join(' ')}\n`,
  printf: (args) => format(text(args, 0), args.slice(1)),
  html: (args) => print(args).replaceAll(/[&<>"']/g, (character) => htmlEscapes[character] ?? character),
  js: (args) => JSON.stringify(print(args)).slice(1, -1).replaceAll("'", "\\'"),
  urlquery: (args) => encodeURIComponent(print(args)).replaceAll('%20', '+'),
  include: (args, context) => context.include(text(args, 0), argument(args, 1)),
};
