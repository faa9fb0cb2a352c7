/** JSON and YAML in templates. */
import { type ScalarTag, parseDocument, stringify } from 'yaml';
import { yamlOptions } from '#config/yaml/options.ts';
import type { TemplateFunction } from '../evaluate.ts';
import type { Value } from '../values.ts';
import { argument, text } from './arguments.ts';

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const own = 'toJSON' in value && typeof value.toJSON === 'function' ? (value.toJSON() as object) : value;
  return Object.fromEntries(
    Object.entries(own)
      .sort(([first], [second]) => (first < second ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}

/** JSON with sorted keys, as Go writes maps. */
export function toJson(value: Value): string {
  return JSON.stringify(sorted(value ?? null));
}

/** Text such as `0o17` needs quotes: readers of YAML 1.2 take it for a number. */
const octal: ScalarTag = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^0o[0-7]+$/,
  resolve: (source) => Number.parseInt(source.slice(2), 8),
};

/** YAML with sorted keys and without the line break at its end. */
export function toYamlText(value: Value): string {
  return stringify(sorted(value ?? null), {
    version: '1.1',
    customTags: (tags) => [...tags, octal],
    lineWidth: 0,
    indentSeq: false,
    singleQuote: true,
    aliasDuplicateObjects: false,
  }).trimEnd();
}

/** Reads YAML, of which JSON is a part. */
export function fromYaml(source: string): Value {
  const document = parseDocument(source, yamlOptions());
  const [error] = document.errors;
  if (error !== undefined) throw new Error(error.message);
  return document.toJS({ maxAliasCount: 100 }) as Value;
}

/** By name. */
export const encodingFunctions: Readonly<Record<string, TemplateFunction>> = {
  toJson: (args) => toJson(argument(args, 0)),
  toRawJson: (args) => toJson(argument(args, 0)),
  mustToJson: (args) => toJson(argument(args, 0)),
  toPrettyJson: (args) => JSON.stringify(sorted(argument(args, 0) ?? null), undefined, 2),
  fromJson: (args) => JSON.parse(text(args, 0)) as Value,
  toYaml: (args) => toYamlText(argument(args, 0)),
  fromYaml: (args) => fromYaml(text(args, 0)),
};
