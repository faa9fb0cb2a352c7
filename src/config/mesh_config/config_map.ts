/** MeshConfig in its place: key `mesh` of ConfigMap `istio`, YAML within YAML. */
import { parseDocument } from 'yaml';
import type { Resource } from '../resource.ts';
import { Checker } from '../schema/checker.ts';
import { formatPath } from '../schema/issue.ts';
import { isObject, withoutNulls } from '../schema/schema.ts';
import { yamlOptions } from '../yaml/options.ts';
import { type EffectiveMeshConfig, defaultMeshConfig, mergeMeshConfig } from './defaults.ts';
import { meshConfig } from './schema.ts';
import type { MeshConfig } from './types.ts';

/** Where Istio keeps its MeshConfig. */
export const meshConfigMap = { namespace: 'istio-system', name: 'istio', key: 'mesh' } as const;

/** Name of the ConfigMap of a revision; `default` and the empty one are the same. */
export function meshConfigMapName(revision: string): string {
  return revision === '' || revision === 'default' ? meshConfigMap.name : `${meshConfigMap.name}-${revision}`;
}

/** Longest text of a MeshConfig, in characters. */
const maxTextLength = 1_048_576;

/** True for the ConfigMap that holds the MeshConfig: `istio`, or `istio-REVISION`, with a key `mesh`. */
export function isMeshConfigMap(resource: Resource): boolean {
  if (resource.kind !== 'ConfigMap' || !/^istio(?:-.+)?$/.test(resource.metadata.name)) return false;
  const { data } = resource.body;
  return isObject(data) && typeof data[meshConfigMap.key] === 'string';
}

function textOf(resource: Resource): string {
  const { data } = resource.body;
  const text = isObject(data) ? data[meshConfigMap.key] : undefined;
  return typeof text === 'string' ? text : '';
}

/** Reports errors of the MeshConfig inside a ConfigMap, at `data.mesh` and below. */
export function checkMeshConfigMap(resource: Resource, at: Checker): void {
  if (isMeshConfigMap(resource))
    at.within(['data', meshConfigMap.key], () => void checkText(textOf(resource), at));
}

/** The settings in a text, or undefined after reporting what is wrong. */
function checkText(text: string, at: Checker): MeshConfig | undefined {
  if (text.length > maxTextLength) {
    at.error('limit', `expected at most ${maxTextLength} characters, found ${text.length}`);
    return undefined;
  }
  const document = parseDocument(text, yamlOptions());
  const [error] = document.errors;
  if (error !== undefined) {
    at.error('syntax', error.message.split('\n')[0] ?? error.message);
    return undefined;
  }
  let value: unknown;
  try {
    value = withoutNulls(document.toJS({ maxAliasCount: 100 }) ?? {});
  } catch (cause) {
    at.error('limit', cause instanceof Error ? cause.message : String(cause));
    return undefined;
  }
  const before = at.errorCount;
  meshConfig.check(value, at);
  return at.errorCount === before ? (value as MeshConfig) : undefined;
}

/** A MeshConfig read from text. */
export type MeshConfigResult =
  | { readonly ok: true; readonly mesh: EffectiveMeshConfig }
  | { readonly ok: false; readonly errors: readonly string[] };

/** Reads MeshConfig from YAML or JSON and lays it over a base, by default Istio's defaults. */
export function readMeshConfig(
  text: string,
  base: EffectiveMeshConfig = defaultMeshConfig,
): MeshConfigResult {
  const checker = new Checker({ name: meshConfigMap.name, namespace: meshConfigMap.namespace });
  const own = checkText(text, checker);
  if (own !== undefined) return { ok: true, mesh: mergeMeshConfig(base, own) };
  const errors = checker.issues
    .filter(({ severity }) => severity === 'error')
    .map(({ path, message }) => (path.length === 0 ? message : `${formatPath(path)}: ${message}`));
  return { ok: false, errors };
}

/** MeshConfig of a ConfigMap that has passed validation; the defaults when it is absent. */
export function meshConfigOf(resource: Resource | undefined): EffectiveMeshConfig {
  if (resource === undefined || !isMeshConfigMap(resource)) return defaultMeshConfig;
  const result = readMeshConfig(textOf(resource));
  return result.ok ? result.mesh : defaultMeshConfig;
}
