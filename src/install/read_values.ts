/** Values of an installation from files and `--set`, checked as a whole. */
import { parseDocument } from 'yaml';
import { meshConfig } from '#config/mesh_config/schema.ts';
import { Checker } from '#config/schema/checker.ts';
import { type Issue, formatPath } from '#config/schema/issue.ts';
import { type Schema, isObject, withoutNulls } from '#config/schema/schema.ts';
import { yamlOptions } from '#config/yaml/options.ts';
import type { JsonObject } from '#inject/pod/shape.ts';
import { overlayValues, readValues } from '#inject/values.ts';
import { baseValues, gatewayValues, istiodValues } from './values.ts';

/** Values for each chart, checked. */
export interface InstallValues {
  readonly base: JsonObject;
  readonly istiod: JsonObject;
  /** Of the ingress gateway; undefined when none is wanted. */
  readonly gateway: JsonObject | undefined;
  /** What is odd and does no harm. */
  readonly warnings: readonly string[];
}

/** Name of the gateway that an installation may bring, and of its part of the values. */
export const gatewayName = 'istio-ingressgateway';

/** Longest file, in characters. */
const maxLength = 4 * 1024 * 1024;
/** Longest list that an index of `--set` may make. */
const maxIndex = 1024;

/** One step of a key of `--set`. */
type Step = string | number;

/** `a.b\.c[0]` as steps. @throws Error */
function stepsOf(key: string): Step[] {
  const steps: Step[] = [];
  for (const part of key.split(/(?<!\\)\./)) {
    const match = /^((?:[^[\]\\]|\\.)+)((?:\[\d{1,4}\])*)$/.exec(part);
    if (match === null) throw new Error(`--set: ${JSON.stringify(key)} is not a key such as a.b or a.b[0]`);
    steps.push((match[1] ?? '').replace(/\\(.)/g, '$1'));
    for (const [, index] of (match[2] ?? '').matchAll(/\[(\d+)\]/g)) {
      if (Number(index) > maxIndex)
        throw new Error(`--set: ${key}: expected an index of at most ${maxIndex}`);
      steps.push(Number(index));
    }
  }
  return steps;
}

/** As Helm reads values of `--set`: true, false, null and whole numbers are such, all else is text. */
function scalar(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true';
  if (text === 'null') return null;
  if (/^(?:0|-?[1-9]\d{0,14})$/.test(text)) return Number(text);
  return text.replace(/\\(.)/g, '$1');
}

/** Parts between separators that are not escaped and not within braces. */
function split(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let index = 0; index < text.length; index++) {
    const char = text[index];
    if (char === '\\') index++;
    else if (char === '{') depth++;
    else if (char === '}') depth--;
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(start, index));
      start = index + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function put(target: unknown, [step, ...rest]: readonly Step[], value: unknown): unknown {
  if (step === undefined) return value;
  if (typeof step === 'number') {
    const list: unknown[] = Array.isArray(target) ? [...(target as unknown[])] : [];
    while (list.length < step) list.push(null);
    list[step] = put(list[step], rest, value);
    return list;
  }
  const object = isObject(target) ? target : {};
  return { ...object, [step]: put(Object.hasOwn(object, step) ? object[step] : undefined, rest, value) };
}

/** Lays one `--set` over values: `a.b=c`, `a.b={x,y}`, `a.b[0]=c`, several with commas. @throws Error */
export function setValue(values: JsonObject, text: string): JsonObject {
  let result: unknown = values;
  for (const part of split(text)) {
    const equals = part.indexOf('=');
    if (equals < 1) throw new Error(`--set: ${JSON.stringify(part)} is not KEY=VALUE`);
    const own = part.slice(equals + 1);
    const value =
      own.startsWith('{') && own.endsWith('}')
        ? own === '{}'
          ? []
          : split(own.slice(1, -1)).map(scalar)
        : scalar(own);
    result = put(result, stepsOf(part.slice(0, equals)), value);
  }
  return result as JsonObject;
}

/** Istio's command line knows values also below `values`, and `hub` and `tag` alone. */
function unfold(given: JsonObject): JsonObject {
  const { values, hub, tag, ...rest } = given;
  const global = { ...(hub === undefined ? {} : { hub }), ...(tag === undefined ? {} : { tag }) };
  const inner = isObject(values) ? (values as JsonObject) : {};
  return overlayValues(
    overlayValues(inner, rest),
    Object.keys(global).length === 0 ? {} : ({ global } as JsonObject),
  );
}

/** Values of a file: as they are, or an IstioOperator. @throws Error */
function readFileValues(text: string, name: string): JsonObject {
  if (text.length > maxLength) throw new Error(`${name}: expected at most ${maxLength} characters`);
  const document = parseDocument(text, yamlOptions());
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`${name}: ${error.message}`);
  const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {};
  if (!isObject(value)) throw new Error(`${name}: expected an object`);
  if (value['kind'] !== 'IstioOperator') return value as JsonObject;
  const spec = isObject(value['spec']) ? value['spec'] : {};
  const known = new Set(['values', 'meshConfig', 'hub', 'tag', 'revision']);
  const unknown = Object.keys(spec).filter((field) => !known.has(field));
  if (unknown.length > 0)
    throw new Error(
      `${name}: spec.${unknown.join(', spec.')}: not implemented; known are spec.${[...known].join(', spec.')}`,
    );
  return spec as JsonObject;
}

function checkAgainst(schema: Schema<unknown>, value: unknown): readonly Issue[] {
  const checker = new Checker({ name: 'values', namespace: '' });
  schema.check(value, checker);
  return checker.issues;
}

/** Unknown fields of MeshConfig are told: the mesh leaves them out, as Istio does. */
function checkMesh(mesh: unknown, errors: string[], warnings: string[]): void {
  for (const { severity, code, path, message } of checkAgainst(meshConfig, mesh)) {
    const text = `meshConfig.${formatPath(path)}: ${message}`;
    if (severity === 'error' && code !== 'unknown_field') errors.push(text);
    else warnings.push(text);
  }
}

/** Where values come from. */
export interface ValueSources {
  /** Files in their order, later over earlier. */
  readonly files?: readonly { readonly name: string; readonly text: string }[];
  /** Texts of `--set`, over the files. */
  readonly set?: readonly string[];
  /** Over everything. */
  readonly revision?: string;
}

/**
 * Reads and checks values.
 * @throws Error that names every wrong value
 */
export function readInstallValues({ files = [], set = [], revision }: ValueSources): InstallValues {
  let values: JsonObject = {};
  for (const { name, text } of files) values = overlayValues(values, unfold(readFileValues(text, name)));
  values = overlayValues(values, unfold(set.reduce<JsonObject>(setValue, {})));
  if (revision !== undefined) values = { ...values, revision };

  const { base = {}, gateways = {}, ...istiod } = values;
  const errors: string[] = [];
  const warnings: string[] = [];
  const issues = (schema: Schema<unknown>, value: unknown, prefix: string): void => {
    for (const { severity, path, message } of checkAgainst(schema, withoutNulls(value)))
      if (severity === 'error') errors.push(`${prefix}${formatPath(path)}: ${message}`);
  };
  issues(baseValues, { base }, '');
  issues(istiodValues, istiod, '');
  if (errors.length === 0) {
    checkMesh(withoutNulls(istiod['meshConfig'] ?? {}), errors, warnings);
    try {
      readValues(istiod['global'] === undefined ? {} : { global: istiod['global'] });
    } catch (error) {
      errors.push(error instanceof Error ? error.message : String(error));
    }
  }
  const { [gatewayName]: ingress, securityContext, ...others } = isObject(gateways) ? gateways : {};
  for (const name of Object.keys(others))
    errors.push(`gateways.${name}: unknown field, expected one of ${gatewayName}, securityContext`);
  const { enabled = true, ...gateway } = isObject(ingress) ? ingress : { enabled: false };
  issues(gatewayValues, gateway, `gateways.${gatewayName}.`);
  if (typeof enabled !== 'boolean') errors.push(`gateways.${gatewayName}.enabled: expected true or false`);
  if (errors.length > 0) throw new Error(errors.join('\n'));
  const ofRevision = istiod['revision'] === undefined ? {} : { revision: istiod['revision'] };
  return {
    base: { base },
    istiod: {
      ...istiod,
      ...(securityContext === undefined ? {} : { gateways: { securityContext } as JsonObject }),
    },
    gateway: enabled === true ? { ...ofRevision, ...(gateway as JsonObject) } : undefined,
    warnings,
  };
}
