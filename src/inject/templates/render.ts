/** Running Go template text: for templates of users, and for values that hold expressions. */
import { type TemplateFunction, evaluate } from '../go_template/evaluate.ts';
import type { ParsedTemplate } from '../go_template/ast.ts';
import { argument, text } from '../go_template/functions/arguments.ts';
import { builtinFunctions } from '../go_template/functions/builtin.ts';
import { collectionFunctions } from '../go_template/functions/collections.ts';
import { encodingFunctions } from '../go_template/functions/encoding.ts';
import { stringFunctions } from '../go_template/functions/strings.ts';
import { parseTemplate } from '../go_template/parser.ts';
import type { Value } from '../go_template/values.ts';
import { istioFunctions } from './istio_functions.ts';

/** Of two functions with one name the later counts, so that Istio's go before sprig's. */
const functions: ReadonlyMap<string, TemplateFunction> = new Map<string, TemplateFunction>([
  ...Object.entries(builtinFunctions),
  ...Object.entries(stringFunctions),
  ...Object.entries(collectionFunctions),
  ...Object.entries(encodingFunctions),
  ...Object.entries(istioFunctions),
]);

/** Known while parsing; the evaluator, or the run, brings them. */
const others = new Set(['and', 'or', 'render', 'tpl']);

/** Most texts within texts. */
const maxDepth = 10;

/** @throws TemplateError when the text is wrong, with template and line */
export function parse(source: string, name: string): ParsedTemplate {
  return parseTemplate(source, name, (called) => functions.has(called) || others.has(called));
}

/**
 * The output of a template over data; `render` and `tpl` run texts over the same, or other, data.
 * @throws TemplateError with template and line
 */
export function run(template: ParsedTemplate, data: Value, depth = 0): string {
  const inner = (source: string, value: Value): string => {
    if (depth >= maxDepth) throw new Error(`expected at most ${maxDepth} texts within texts`);
    return run(parse(source, `${template.name}: text`), value, depth + 1);
  };
  const own: ReadonlyMap<string, TemplateFunction> = new Map([
    ...functions,
    ['render', (args) => inner(text(args, 0), data)],
    ['tpl', (args) => inner(text(args, 0), argument(args, 1))],
  ]);
  return evaluate(template, own, data);
}

/** A value that may hold an expression; without one it is what it is. */
export function renderValue(source: string, name: string, data: () => Value): string {
  return source.includes('{{') ? run(parse(source, name), data()) : source;
}
