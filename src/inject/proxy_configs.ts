/**
 * ProxyConfig objects as the injector sees them: which of them are in force for a pod, and how they lie over the mesh's
 * settings. The pod's annotation `proxy.istio.io/config` stands above the namespace and below what selects the pod.
 */
import type { ProxyConfigObject } from '#config/kinds/proxy_config/types.ts';
import { type EffectiveProxyConfig, mergeProxyConfig } from '#config/mesh_config/defaults.ts';
import type { ProxyConfig } from '#config/mesh_config/proxy_config.ts';

/** One object. */
export interface ScopedProxyConfig {
  readonly name: string;
  readonly namespace: string;
  /** Milliseconds since the epoch: of several with the same scope the oldest is in force. */
  readonly creationTimestamp: number;
  readonly spec: ProxyConfigObject;
}

/** Settings of one pod before its annotation is read. */
export interface PodProxyConfig {
  /** Mesh, root namespace and namespace in one. */
  readonly base: EffectiveProxyConfig;
  /** Of the object that selects the pod: above the pod's annotation. */
  readonly workload?: ProxyConfig;
}

function compareAge(a: ScopedProxyConfig, b: ScopedProxyConfig): number {
  const byTime = a.creationTimestamp - b.creationTimestamp;
  return byTime !== 0 ? byTime : a.name < b.name ? -1 : Number(a.name > b.name);
}

function settingsOf({ spec }: ScopedProxyConfig): ProxyConfig {
  const { concurrency, environmentVariables, image } = spec;
  return {
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(environmentVariables === undefined ? {} : { proxyMetadata: environmentVariables }),
    ...(image === undefined ? {} : { image }),
  };
}

function labelsOf({ spec }: ScopedProxyConfig): [string, string][] {
  return Object.entries(spec.selector?.matchLabels ?? {});
}

/** All objects, ordered once; asked for each pod. */
export class ProxyConfigs {
  readonly #rootNamespace: string;
  readonly #byNamespace = new Map<string, ScopedProxyConfig[]>();

  constructor(objects: readonly ScopedProxyConfig[], rootNamespace: string) {
    this.#rootNamespace = rootNamespace;
    for (const object of objects.toSorted(compareAge)) {
      const list = this.#byNamespace.get(object.namespace);
      if (list === undefined) this.#byNamespace.set(object.namespace, [object]);
      else list.push(object);
    }
  }

  #ofNamespace(namespace: string): ProxyConfig {
    const found = this.#byNamespace.get(namespace)?.find((object) => labelsOf(object).length === 0);
    return found === undefined ? {} : settingsOf(found);
  }

  /** What is in force for a pod with these labels. */
  find(
    mesh: EffectiveProxyConfig,
    namespace: string,
    labels: Readonly<Record<string, string>>,
  ): PodProxyConfig {
    let base = mergeProxyConfig(mesh, this.#ofNamespace(this.#rootNamespace));
    if (namespace !== this.#rootNamespace) base = mergeProxyConfig(base, this.#ofNamespace(namespace));
    const own = this.#byNamespace.get(namespace)?.find((object) => {
      const wanted = labelsOf(object);
      return (
        wanted.length > 0 &&
        wanted.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)
      );
    });
    return own === undefined ? { base } : { base, workload: settingsOf(own) };
  }
}
