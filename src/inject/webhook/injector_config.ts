/** The injector's settings while it runs: texts come and change, a broken one leaves the last good settings in force. */
import { type Logger, silentLogger } from '#base/log.ts';
import type { KubeClient } from '#kube/client.ts';
import { type KubeObject, apiResources } from '#kube/object.ts';
import { Reflector } from '#kube/reflector.ts';
import { type ReadSettings, type SettingsSources, readSettings } from '../settings.ts';

/** Name of the ConfigMap of a revision, and its keys. */
export const injectorConfigMap = {
  nameOf: (revision: string): string =>
    revision === '' || revision === 'default'
      ? 'istio-sidecar-injector'
      : `istio-sidecar-injector-${revision}`,
  configKey: 'config',
  valuesKey: 'values',
} as const;

/** Holds the settings in force. */
export class InjectorConfig {
  readonly #log: Logger;
  #sources: SettingsSources;
  #current: ReadSettings | undefined;
  #error = '';

  /** @param sources the texts at the start; without any, the built-in defaults. */
  constructor(sources: SettingsSources, log: Logger = silentLogger) {
    this.#sources = sources;
    this.#log = log.scope('injection');
    this.#read();
  }

  /** Undefined while the texts never were good: nothing is to be injected by a guess. */
  get current(): ReadSettings | undefined {
    return this.#current;
  }

  /** What is wrong with the texts as they are now; empty when they are in force. */
  get error(): string {
    return this.#error;
  }

  /** Takes over all texts. The same ones again are no change. */
  update(sources: SettingsSources): void {
    const names = new Set([...Object.keys(sources), ...Object.keys(this.#sources)]) as Set<
      keyof SettingsSources
    >;
    if ([...names].every((name) => sources[name] === this.#sources[name])) return;
    this.#sources = sources;
    this.#read();
    if (this.#error === '') this.#log.info('injector configuration in force');
  }

  #read(): void {
    try {
      this.#current = readSettings(this.#sources);
      this.#error = '';
      for (const warning of this.#current.warnings) this.#log.warn(warning);
    } catch (error) {
      this.#error = error instanceof Error ? error.message : String(error);
      this.#log.error('injector configuration is wrong, the last good one stays', { reason: this.#error });
    }
  }
}

/** Texts of the injector's ConfigMap; both absent when there is none. */
export interface InjectorTexts {
  readonly injectConfig?: string;
  readonly values?: string;
}

/** Follows the ConfigMap of a revision. */
export function followInjectorConfigMap(options: {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly revision: string;
  readonly onTexts: (texts: InjectorTexts) => void;
  readonly log?: Logger;
}): { synced(): Promise<void>; close(): Promise<void> } {
  const { client, namespace, revision, onTexts, log } = options;
  const name = injectorConfigMap.nameOf(revision);
  const reflector = new Reflector<InjectorTexts>({
    client,
    resource: apiResources.configMaps,
    namespace,
    fieldSelector: `metadata.name=${name}`,
    ...(log === undefined ? {} : { log }),
    read(object) {
      const { data = {} } = object as KubeObject & { readonly data?: Readonly<Record<string, string>> };
      const { [injectorConfigMap.configKey]: injectConfig, [injectorConfigMap.valuesKey]: values } = data;
      return {
        ...(injectConfig === undefined ? {} : { injectConfig }),
        ...(values === undefined ? {} : { values }),
      };
    },
    onChanges: () => onTexts(reflector.get(namespace, name) ?? {}),
  });
  reflector.start();
  return { synced: () => reflector.synced(), close: () => reflector.close() };
}
