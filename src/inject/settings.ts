/** The injector's settings from its files: mesh configuration, values, and the injection configuration with templates. */
import { parseDocument } from 'yaml';
import {
  type EffectiveMeshConfig,
  defaultMeshConfig,
  mergeMeshConfig,
  mergeProxyConfig,
} from '#config/mesh_config/defaults.ts';
import { meshConfig } from '#config/mesh_config/schema.ts';
import type { MeshConfig } from '#config/mesh_config/types.ts';
import { Checker } from '#config/schema/checker.ts';
import { formatPath } from '#config/schema/issue.ts';
import { withoutNulls } from '#config/schema/schema.ts';
import { yamlOptions } from '#config/yaml/options.ts';
import { proxyConfig18, values18 } from './compatibility.ts';
import type { Compatibility } from './context.ts';
import type { InjectorSettings } from './inject_pod.ts';
import { type JsonObject, isList, isObject } from './pod/shape.ts';
import { type InjectionPolicy, enabledPolicy } from './policy.ts';
import { readSelector } from './selector.ts';
import { customTemplate } from './templates/custom.ts';
import { type Template, type TemplateChoice, builtInTemplates } from './templates/templates.ts';
import { type ReadValues, overlayValues, readValues } from './values.ts';

/** Texts that settings are read from; absent ones give the defaults. */
export interface SettingsSources {
  /** MeshConfig, YAML or JSON. */
  readonly mesh?: string;
  /** Values of the injector as a whole. */
  readonly values?: string;
  /** Key `config` of the injector's ConfigMap, or one template alone. */
  readonly injectConfig?: string;
  /** IstioOperator: `spec.values` and `spec.meshConfig` over everything else. */
  readonly operator?: string;
  readonly revision?: string;
  readonly nativeSidecars?: boolean;
  readonly compliancePolicy?: string;
  readonly compatibility?: Compatibility;
  /** Tag of the mesh's own images. */
  readonly tag?: string;
}

/** Settings, the policy, and what was odd about the texts. */
export interface ReadSettings {
  readonly settings: InjectorSettings;
  readonly policy: InjectionPolicy;
  readonly warnings: readonly string[];
}

/** Longest text, in characters. */
const maxLength = 4 * 1024 * 1024;

/** Reads an object; an empty text is an empty object. */
function readObject(text: string | undefined, what: string): JsonObject {
  if (text === undefined) return {};
  if (text.length > maxLength) throw new Error(`${what}: expected at most ${maxLength} characters`);
  const document = parseDocument(text, yamlOptions());
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`${what}: ${error.message}`);
  const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {};
  if (!isObject(value)) throw new Error(`${what}: expected an object`);
  return value;
}

/** Empty texts are as good as absent ones, as protocol buffers have it. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== '')
      .map(([name, item]) => [name, name === 'proxyMetadata' ? item : withoutEmpty(item)]),
  );
}

/** Lays a MeshConfig over a base. Unknown fields are told and left out, as Istio does here; wrong ones are errors. */
function readMesh(base: EffectiveMeshConfig, own: JsonObject, warnings: string[]): EffectiveMeshConfig {
  let value = withoutNulls(withoutEmpty(own));
  for (let round = 0; ; round++) {
    const checker = new Checker({ name: 'istio', namespace: 'istio-system' });
    meshConfig.check(value, checker);
    const errors = checker.issues.filter(({ severity }) => severity === 'error');
    if (errors.length === 0) return mergeMeshConfig(base, value as MeshConfig);
    const unknown = errors.filter(({ code }) => code === 'unknown_field');
    // Fields below a dropped one are gone with it; a second round may not find more of them.
    if (unknown.length < errors.length || round > 0)
      throw new Error(
        `mesh configuration: ${errors.map(({ path, message }) => `${formatPath(path)}: ${message}`).join('; ')}`,
      );
    for (const { path, message } of unknown) {
      warnings.push(`mesh configuration: ${formatPath(path)}: ${message}`);
      value = withoutPath(value, path);
    }
  }
}

function withoutPath(value: unknown, [step, ...rest]: readonly (string | number)[]): unknown {
  if (step === undefined) return value;
  if (Array.isArray(value))
    return value.map((item, index) => (index === step ? withoutPath(item, rest) : item));
  if (!isObject(value)) return value;
  if (rest.length > 0) return { ...value, [step]: withoutPath(value[step], rest) };
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== String(step)));
}

function textList(value: unknown, what: string): readonly string[] {
  if (value === undefined || value === null) return [];
  const items: readonly unknown[] = isList(value) ? value : [value];
  return items.map((item) => {
    if (typeof item !== 'string')
      throw new Error(`injection configuration: ${what}: expected a list of names`);
    return item;
  });
}

/** The choice of templates: built-in ones, those of the values, and those of the injection configuration. */
function readTemplates(
  config: JsonObject,
  configText: string | undefined,
  { values }: ReadValues,
): TemplateChoice {
  const templates = new Map<string, Template>(builtInTemplates);
  const texts = new Map<string, string>(Object.entries(values.sidecarInjectorWebhook.templates));
  const own = config['templates'];
  if (isObject(own)) {
    for (const [name, text] of Object.entries(own)) {
      if (typeof text !== 'string')
        throw new Error(`injection configuration: templates.${name}: expected text`);
      texts.set(name, text);
    }
  } else if (typeof config['template'] === 'string') texts.set('sidecar', config['template']);
  else if (configText !== undefined && isBareTemplate(config)) texts.set('sidecar', configText);
  for (const [name, text] of texts) templates.set(name, customTemplate(name, text));
  const aliases = new Map<string, readonly string[]>();
  const given = config['aliases'];
  if (isObject(given))
    for (const [name, list] of Object.entries(given)) aliases.set(name, textList(list, `aliases.${name}`));
  const fromConfig = textList(config['defaultTemplates'], 'defaultTemplates');
  const defaultTemplates =
    fromConfig.length > 0 ? fromConfig : values.sidecarInjectorWebhook.defaultTemplates;
  return { templates, defaultTemplates, aliases };
}

const configFields = [
  'policy',
  'templates',
  'template',
  'defaultTemplates',
  'aliases',
  'alwaysInjectSelector',
  'neverInjectSelector',
  'injectedAnnotations',
];

/** A template alone, in place of a configuration with templates. */
function isBareTemplate(config: JsonObject): boolean {
  return !configFields.some((field) => Object.hasOwn(config, field));
}

function readPolicy(config: JsonObject, { values }: ReadValues): InjectionPolicy {
  const policy = config['policy'] ?? enabledPolicy.policy;
  const selectors = (
    name: 'neverInjectSelector' | 'alwaysInjectSelector',
  ): InjectionPolicy['neverInjectSelector'] => {
    const own = config[name];
    const list: readonly unknown[] = isList(own) ? own : values.sidecarInjectorWebhook[name];
    return list.map(readSelector);
  };
  return {
    policy: typeof policy === 'string' ? policy : String(policy),
    neverInjectSelector: selectors('neverInjectSelector'),
    alwaysInjectSelector: selectors('alwaysInjectSelector'),
  };
}

/** A template text may not be YAML before it is rendered: only a configuration can be read. */
function readConfig(text: string | undefined): JsonObject {
  if (text === undefined) return {};
  try {
    return readObject(text, 'injection configuration');
  } catch (error) {
    if (text.includes('{{') && !/^templates?:/m.test(text)) return {};
    throw error;
  }
}

/**
 * Reads all settings.
 * @throws Error that names the text and the field that is wrong
 */
export function readSettings(sources: SettingsSources): ReadSettings {
  const warnings: string[] = [];
  const { compatibility = 'current', tag } = sources;
  const operator = readObject(sources.operator, 'IstioOperator');
  const spec = isObject(operator['spec']) ? operator['spec'] : {};
  const preset: JsonObject =
    compatibility === '1.8' ? values18 : tag === undefined ? {} : { global: { tag } };
  const config = readConfig(sources.injectConfig);
  const injected = config['injectedAnnotations'];
  const own = overlayValues(preset, readObject(sources.values, 'values'), new Set(['resources']));
  const withAnnotations = isObject(injected)
    ? overlayValues(own, { sidecarInjectorWebhook: { injectedAnnotations: injected } })
    : own;
  const values = readValues(withAnnotations, isObject(spec['values']) ? spec['values'] : {});
  const base: EffectiveMeshConfig =
    compatibility === '1.8'
      ? {
          ...defaultMeshConfig,
          defaultConfig: mergeProxyConfig(defaultMeshConfig.defaultConfig, proxyConfig18),
        }
      : defaultMeshConfig;
  const mesh = readMesh(base, readObject(sources.mesh, 'mesh configuration'), warnings);
  const overlay = isObject(spec['meshConfig']) ? readMesh(mesh, spec['meshConfig'], warnings) : mesh;
  const settings: InjectorSettings = {
    mesh: overlay,
    values,
    choice: readTemplates(config, sources.injectConfig, values),
    revision: sources.revision ?? values.values.revision,
    nativeSidecars: sources.nativeSidecars ?? false,
    ...(sources.compliancePolicy === undefined ? {} : { compliancePolicy: sources.compliancePolicy }),
    compatibility,
  };
  return { settings, policy: readPolicy(config, values), warnings };
}
