/** sprig's functions for text. */
import { createHash } from 'node:crypto';
import { RE2JS } from 're2js';
import type { TemplateFunction } from '../evaluate.ts';
import { type Value, isArray, textOf } from '../values.ts';
import { argument, array, integer, maxItems, maxText, number, text } from './arguments.ts';
import { quote } from './printf.ts';

/** Longest regular expression. */
const maxPattern = 1000;

function pattern(source: string): RE2JS {
  if (source.length > maxPattern)
    throw new Error(`expected a regular expression of at most ${maxPattern} characters`);
  return RE2JS.compile(source);
}

function bounded(value: string): string {
  if (value.length > maxText) throw new Error(`expected at most ${maxText} characters`);
  return value;
}

/** Puts blanks before each line. */
export function indent(spaces: number, value: string): string {
  const lines = value.split('\n');
  if (spaces < 0 || spaces * lines.length > maxText) throw new Error(`cannot indent by ${spaces}`);
  const margin = ' '.repeat(spaces);
  return lines.map((line) => margin + line).join('\n');
}

function trunc(size: number, value: string): string {
  // Go counts bytes.
  const bytes = Buffer.from(value);
  if (size >= 0) return bytes.length > size ? bytes.subarray(0, size).toString('utf8') : value;
  return bytes.length > -size ? bytes.subarray(bytes.length + size).toString('utf8') : value;
}

function trimSet(value: string, set: string): string {
  const characters = [...value];
  const kept = (character: string): boolean => !set.includes(character);
  const start = characters.findIndex(kept);
  return start === -1 ? '' : characters.slice(start, characters.findLastIndex(kept) + 1).join('');
}

function texts(value: Value): string[] {
  const items: readonly Value[] = isArray(value) ? value : [value];
  return items.filter((item) => item !== null && item !== undefined).map(textOf);
}

function splitMap(separator: string, value: string): Record<string, Value> {
  return Object.fromEntries(value.split(separator).map((part, index) => [`_${index}`, part]));
}

function words(value: string): string[] {
  return value
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '');
}

function capital(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1);
}

/** By name. */
export const stringFunctions: Readonly<Record<string, TemplateFunction>> = {
  quote: (args) =>
    args
      .filter((value) => value !== null && value !== undefined)
      .map((value) => quote(textOf(value)))
      .join(' '),
  squote: (args) =>
    args
      .filter((value) => value !== null && value !== undefined)
      .map((value) => `'${textOf(value)}'`)
      .join(' '),
  upper: (args) => text(args, 0).toUpperCase(),
  lower: (args) => text(args, 0).toLowerCase(),
  title: (args) =>
    text(args, 0).replaceAll(
      /(^|\s)(\S)/g,
      (_, before: string, first: string) => before + first.toUpperCase(),
    ),
  untitle: (args) =>
    text(args, 0).replaceAll(
      /(^|\s)(\S)/g,
      (_, before: string, first: string) => before + first.toLowerCase(),
    ),
  trim: (args) => text(args, 0).trim(),
  trimAll: (args) => trimSet(text(args, 1), text(args, 0)),
  trimPrefix: (args) => {
    const [prefix, value] = [text(args, 0), text(args, 1)];
    return prefix !== '' && value.startsWith(prefix) ? value.slice(prefix.length) : value;
  },
  trimSuffix: (args) => {
    const [suffix, value] = [text(args, 0), text(args, 1)];
    return suffix !== '' && value.endsWith(suffix) ? value.slice(0, -suffix.length) : value;
  },
  trunc: (args) => trunc(integer(args, 0), text(args, 1)),
  substr: (args) => {
    const [start, end, value] = [integer(args, 0), integer(args, 1), Buffer.from(text(args, 2))];
    const from = start < 0 ? 0 : start;
    return value.subarray(from, end < 0 || end > value.length ? value.length : end).toString('utf8');
  },
  abbrev: (args) => {
    const [size, value] = [integer(args, 0), text(args, 1)];
    return size < 4 || value.length <= size ? value : `${value.slice(0, size - 3)}...`;
  },
  nospace: (args) => text(args, 0).replaceAll(/\s/g, ''),
  repeat: (args) => {
    const [count, value] = [integer(args, 0), text(args, 1)];
    if (count < 0 || count * value.length > maxText) throw new Error(`cannot repeat ${count} times`);
    return value.repeat(count);
  },
  replace: (args) => {
    const [old, fresh, value] = [text(args, 0), text(args, 1), text(args, 2)];
    return bounded(value.split(old).join(fresh));
  },
  contains: (args) => text(args, 1).includes(text(args, 0)),
  hasPrefix: (args) => text(args, 1).startsWith(text(args, 0)),
  hasSuffix: (args) => text(args, 1).endsWith(text(args, 0)),
  indent: (args) => indent(integer(args, 0), text(args, 1)),
  nindent: (args) => `\n${indent(integer(args, 0), text(args, 1))}`,
  cat: (args) => texts(args).join(' '),
  join: (args) => bounded(texts(argument(args, 1)).join(text(args, 0))),
  split: (args) => splitMap(text(args, 0), text(args, 1)),
  splitn: (args) => {
    const [separator, count, value] = [text(args, 0), integer(args, 1), text(args, 2)];
    const parts = value.split(separator);
    const head =
      count > 0 && parts.length > count
        ? [...parts.slice(0, count - 1), parts.slice(count - 1).join(separator)]
        : parts;
    return Object.fromEntries(head.map((part, index) => [`_${index}`, part]));
  },
  splitList: (args) => text(args, 1).split(text(args, 0)).slice(0, maxItems),
  toString: (args: readonly Value[]) => text(args, 0),
  toStrings: (args) => array(args, 0).map(textOf),
  sortAlpha: (args) => texts(argument(args, 0)).sort(),
  snakecase: (args) => words(text(args, 0)).join('_').toLowerCase(),
  kebabcase: (args) => words(text(args, 0)).join('-').toLowerCase(),
  camelcase: (args) => words(text(args, 0)).map(capital).join(''),
  plural: (args) => text(args, number(args, 2) === 1 ? 0 : 1),
  b64enc: (args) => Buffer.from(text(args, 0)).toString('base64'),
  b64dec: (args) => Buffer.from(text(args, 0), 'base64').toString('utf8'),
  sha1sum: (args) => createHash('sha1').update(text(args, 0)).digest('hex'),
  sha256sum: (args) => createHash('sha256').update(text(args, 0)).digest('hex'),
  sha512sum: (args) => createHash('sha512').update(text(args, 0)).digest('hex'),
  regexMatch: (args) => pattern(text(args, 0)).matcher(text(args, 1)).find(),
  regexFind: (args) => {
    const matcher = pattern(text(args, 0)).matcher(text(args, 1));
    return matcher.find() ? (matcher.group() ?? '') : '';
  },
  regexFindAll: (args) => {
    const matcher = pattern(text(args, 0)).matcher(text(args, 1));
    const most = integer(args, 2);
    const found: string[] = [];
    const limit = most < 0 ? maxItems : Math.min(most, maxItems);
    while (found.length < limit && matcher.find()) found.push(matcher.group() ?? '');
    return found;
  },
  regexReplaceAll: (args) =>
    bounded(
      pattern(text(args, 0))
        .matcher(text(args, 1))
        .replaceAll(text(args, 2).replaceAll(/\$\{(\d+)\}/g, '$$$1')),
    ),
  regexReplaceAllLiteral: (args) =>
    bounded(
      pattern(text(args, 0))
        .matcher(text(args, 1))
        .replaceAll(RE2JS.quoteReplacement(text(args, 2))),
    ),
  regexSplit: (args) => {
    const parts = pattern(text(args, 0)).split(text(args, 1), Math.max(0, integer(args, 2)));
    return parts.slice(0, maxItems);
  },
  regexQuoteMeta: (args) => RE2JS.quote(text(args, 0)),
};
