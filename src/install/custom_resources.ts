/** CustomResourceDefinitions of Istio's kinds: what is stored is what was written, the control plane judges it. */
import { kinds } from '#config/kinds/kinds.ts';
import type { Manifest } from './manifests.ts';

/** A kind as the API server has to know it. */
interface Definition {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  /** The last one is stored. */
  readonly versions: readonly string[];
}

function more(group: string, kind: string, plural: string, versions: string, short = ''): Definition {
  return {
    group: `${group}.istio.io`,
    kind,
    plural,
    versions: versions.split(' '),
    shortNames: short === '' ? [] : [short],
  };
}

/** Kinds of Istio that YAML may hold and that the control plane does not read yet. */
const stored: readonly Definition[] = [
  more('networking', 'EnvoyFilter', 'envoyfilters', 'v1alpha3'),
  more('networking', 'ProxyConfig', 'proxyconfigs', 'v1beta1'),
  more('networking', 'WorkloadEntry', 'workloadentries', 'v1alpha3 v1beta1 v1', 'we'),
  more('networking', 'WorkloadGroup', 'workloadgroups', 'v1alpha3 v1beta1 v1', 'wg'),
  more('security', 'RequestAuthentication', 'requestauthentications', 'v1beta1 v1', 'ra'),
  more('extensions', 'WasmPlugin', 'wasmplugins', 'v1alpha1'),
];

function definitions(): Definition[] {
  const read = kinds
    .filter(({ apiVersion }) => apiVersion.includes('.istio.io/'))
    .map(({ apiVersion, apiVersions, kind, plural, shortNames }) => ({
      group: apiVersion.split('/')[0] ?? '',
      kind,
      plural,
      shortNames,
      versions: apiVersions.map((version) => version.split('/')[1] ?? ''),
    }));
  const known = new Set(read.map(({ kind }) => kind));
  return [...read, ...stored.filter(({ kind }) => !known.has(kind))];
}

/** One definition per kind, ordered as the kinds are listed. */
export function customResources(labels: Readonly<Record<string, string>>): Manifest[] {
  return definitions().map(({ group, kind, plural, shortNames, versions }) => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        ...(shortNames.length === 0 ? {} : { shortNames: [...shortNames] }),
        categories: ['istio-io'],
      },
      versions: versions.map((name, index) => ({
        name,
        served: true,
        storage: index === versions.length - 1,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                description: `What is wanted of this ${kind}; the control plane checks it.`,
                'x-kubernetes-preserve-unknown-fields': true,
              },
              status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        },
      })),
    },
  }));
}
