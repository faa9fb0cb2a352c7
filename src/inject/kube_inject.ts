/** `kube-inject`: a manifest in, the same manifest with injected pods out. */
import type { InjectorSettings } from './inject_pod.ts';
import { type InjectionPolicy, enabledPolicy } from './policy.ts';
import { injectObject } from './workload/inject_object.ts';
import { readManifest, toYaml } from './workload/yaml_text.ts';

/** The result of one manifest. */
export interface InjectedManifest {
  readonly text: string;
  /** What was left out, and why. */
  readonly warnings: readonly string[];
}

/**
 * Injects every workload of a manifest. Other documents keep their text; the order stays.
 * @throws Error when a document cannot be read, or an object cannot be injected
 */
export function injectManifest(
  text: string,
  file: string,
  settings: InjectorSettings,
  policy: InjectionPolicy = enabledPolicy,
): InjectedManifest {
  const warnings: string[] = [];
  const documents = readManifest(text, file).map((document) => {
    const result = injectObject(document.value, settings, policy);
    warnings.push(...result.warnings);
    return result.changed ? toYaml(result.value) : document.text;
  });
  return { text: documents.join('---\n'), warnings };
}
