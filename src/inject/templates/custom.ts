/** Templates of users: Go template text that renders to the part of a pod that is laid over it. */
import { parseDocument } from 'yaml';
import { yamlOptions } from '#config/yaml/options.ts';
import { type JsonObject, isObject } from '../pod/shape.ts';
import { parse, run } from './render.ts';
import { templateData } from './template_data.ts';
import type { Template } from './templates.ts';

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
  const parsed = parse(source, name);
  return (context) => readOverlay(run(parsed, templateData(context)), name);
}
