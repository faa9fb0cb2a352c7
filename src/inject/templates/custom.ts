/** Templates of users: Go template text that renders to the part of a pod that is laid over it. */
import { parseDocument } from 'yaml';
import { yamlOptions } from '#config/yaml/options.ts';
import { type TemplateFunction, evaluate } from '../go_template/evaluate.ts';
import { builtinFunctions } from '../go_template/functions/builtin.ts';
import { collectionFunctions } from '../go_template/functions/collections.ts';
import { encodingFunctions } from '../go_template/functions/encoding.ts';
import { stringFunctions } from '../go_template/functions/strings.ts';
import { parseTemplate } from '../go_template/parser.ts';
import { type JsonObject, isObject } from '../pod/shape.ts';
import { istioFunctions } from './istio_functions.ts';
import { templateData } from './template_data.ts';
import type { Template } from './templates.ts';

/** All functions of templates; of two with one name the later counts, so that Istio's go before sprig's. */
const functions: ReadonlyMap<string, TemplateFunction> = new Map<string, TemplateFunction>([
  ...Object.entries(builtinFunctions),
  ...Object.entries(stringFunctions),
  ...Object.entries(collectionFunctions),
  ...Object.entries(encodingFunctions),
  ...Object.entries(istioFunctions),
]);

/** The evaluator's own. */
const evaluated = new Set(['and', 'or']);

/** Reads the rendered text: YAML of a pod's part. */
function readOverlay(text: string, name: string): JsonObject {
  const document = parseDocument(text, yamlOptions());
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`rendered template ${name} is no YAML: ${error.message}`);
  const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {};
  if (!isObject(value))
    throw new Error(`rendered template ${name}: expected an object with metadata or spec`);
  return value;
}

/**
 * A template from its text.
 * @throws TemplateError when the text cannot be parsed, with template and line
 */
export function customTemplate(name: string, source: string): Template {
  const parsed = parseTemplate(source, name, (called) => functions.has(called) || evaluated.has(called));
  return (context) => readOverlay(evaluate(parsed, functions, templateData(context)), name);
}
