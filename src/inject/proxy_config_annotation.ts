/** Annotation `proxy.istio.io/config`: the pod's own ProxyConfig, as YAML. */
import { parseDocument } from 'yaml';
import type { ProxyConfig } from '#config/mesh_config/proxy_config.ts';
import { proxyConfig } from '#config/mesh_config/proxy_config_schema.ts';
import { Checker } from '#config/schema/checker.ts';
import { formatPath } from '#config/schema/issue.ts';
import { withoutNulls } from '#config/schema/schema.ts';
import { yamlOptions } from '#config/yaml/options.ts';
import { InjectionError } from './injection_error.ts';

const name = 'proxy.istio.io/config';
/** Longest text, in characters. */
const maxLength = 65_536;

/**
 * The settings, or undefined without the annotation.
 * @throws InjectionError naming every wrong field
 */
export function readProxyConfigAnnotation(
  annotations: Readonly<Record<string, string>>,
): ProxyConfig | undefined {
  const text = annotations[name];
  if (text === undefined) return undefined;
  const wrong = (problem: string): InjectionError => new InjectionError([`annotation ${name}: ${problem}`]);
  if (text.length > maxLength) throw wrong(`expected at most ${maxLength} characters`);
  const document = parseDocument(text, yamlOptions());
  const [error] = document.errors;
  if (error !== undefined) throw wrong(error.message);
  let value: unknown;
  try {
    value = withoutNulls(document.toJS({ maxAliasCount: 100 }) ?? {});
  } catch (cause) {
    throw wrong(cause instanceof Error ? cause.message : String(cause));
  }
  const checker = new Checker({ name: '', namespace: '' });
  proxyConfig.check(value, checker);
  const errors = checker.issues.filter(({ severity }) => severity === 'error');
  if (errors.length === 0) return value as ProxyConfig;
  throw new InjectionError(
    errors.map(({ path, message }) => {
      const at = formatPath(path);
      return `annotation ${name}: ${at === '' ? message : `${at}: ${message}`}`;
    }),
  );
}
