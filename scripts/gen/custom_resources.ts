/** CustomResourceDefinitions of Istio's kinds: schemas from our validation, descriptions from our types. */
import { join } from 'node:path';
import { kinds } from '#config/kinds/kinds.ts';
import { workloadEntry } from '#config/kinds/service_entry/workload_entry.ts';
import { type JsonSchema, jsonSchema, structuralDialect } from '#config/schema/json_schema.ts';
import type { Schema } from '#config/schema/schema.ts';
import { TypeDocs } from './type_docs.ts';

/** A kind as the API server has to know it. */
interface Definition {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  /** The last one is stored. */
  readonly versions: readonly string[];
  /** Of the spec; absent: any object. */
  readonly spec?: Schema<unknown>;
}

function more(
  group: string,
  kind: string,
  plural: string,
  versions: string,
  shortName = '',
  spec?: Schema<unknown>,
): Definition {
  return {
    group: `${group}.istio.io`,
    kind,
    plural,
    versions: versions.split(' '),
    shortNames: shortName === '' ? [] : [shortName],
    ...(spec === undefined ? {} : { spec }),
  };
}

/** Kinds of Istio that YAML may hold and that the control plane does not read. */
const stored: readonly Definition[] = [
  more('networking', 'EnvoyFilter', 'envoyfilters', 'v1alpha3'),
  more('networking', 'ProxyConfig', 'proxyconfigs', 'v1beta1'),
  more('networking', 'WorkloadEntry', 'workloadentries', 'v1alpha3 v1beta1 v1', 'we', workloadEntry),
  more('networking', 'WorkloadGroup', 'workloadgroups', 'v1alpha3 v1beta1 v1', 'wg'),
  more('security', 'RequestAuthentication', 'requestauthentications', 'v1beta1 v1', 'ra'),
  more('extensions', 'WasmPlugin', 'wasmplugins', 'v1alpha1'),
];

/** Columns of `kubectl get` beside the name, as Istio has them; the age is the last one of each kind. */
const columns: Readonly<Record<string, readonly (readonly [name: string, jsonPath: string])[]>> = {
  VirtualService: [
    ['Gateways', '.spec.gateways'],
    ['Hosts', '.spec.hosts'],
  ],
  DestinationRule: [['Host', '.spec.host']],
  ServiceEntry: [
    ['Hosts', '.spec.hosts'],
    ['Location', '.spec.location'],
    ['Resolution', '.spec.resolution'],
  ],
  WorkloadEntry: [['Address', '.spec.address']],
  PeerAuthentication: [['Mode', '.spec.mtls.mode']],
  AuthorizationPolicy: [['Action', '.spec.action']],
};

function specOf({ shape }: Schema<unknown>): Schema<unknown> | undefined {
  return shape.type === 'object' ? shape.fields.get('spec') : undefined;
}

function definitions(): Definition[] {
  const read = kinds
    .filter(({ apiVersion }) => apiVersion.includes('.istio.io/'))
    .map(({ apiVersion, apiVersions, kind, plural, shortNames, body }): Definition => {
      const spec = specOf(body);
      return {
        group: apiVersion.split('/')[0] ?? '',
        kind,
        plural,
        shortNames,
        versions: apiVersions.map((version) => version.split('/')[1] ?? ''),
        ...(spec === undefined ? {} : { spec }),
      };
    });
  const known = new Set(read.map(({ kind }) => kind));
  return [...read, ...stored.filter(({ kind }) => !known.has(kind))];
}

/** The schema of a spec. */
function specSchema({ kind, spec }: Definition, docs: TypeDocs): JsonSchema {
  if (spec === undefined)
    return {
      type: 'object',
      description: `What is wanted of this ${kind}.`,
      'x-kubernetes-preserve-unknown-fields': true,
    };
  const folder = kind === 'WorkloadEntry' ? 'ServiceEntry' : kind;
  const file = `${folder.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase()}/types.ts`;
  return jsonSchema(spec, { ...structuralDialect, describe: (path) => docs.describe(kind, file, path) });
}

/** One definition per kind, ordered as the kinds are listed. */
export function customResources(labels: Readonly<Record<string, string>>): object[] {
  const docs = new TypeDocs(join(import.meta.dirname, '../../src/config/kinds'));
  return definitions().map((definition) => {
    const { group, kind, plural, shortNames, versions } = definition;
    const spec = specSchema(definition, docs);
    const status = {
      type: 'object',
      description: 'What the control plane says about the object.',
      'x-kubernetes-preserve-unknown-fields': true,
    };
    return {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: {
        name: `${plural}.${group}`,
        // Removing a release must not take all objects of the mesh along.
        annotations: { 'helm.sh/resource-policy': 'keep' },
        labels,
      },
      spec: {
        group,
        scope: 'Namespaced',
        names: {
          kind,
          listKind: `${kind}List`,
          plural,
          singular: kind.toLowerCase(),
          ...(shortNames.length === 0 ? {} : { shortNames: [...shortNames] }),
          categories: [
            'istio-io',
            group.split('.')[0] === 'networking' ? 'networking-istio-io' : `${group.replaceAll('.', '-')}`,
          ],
        },
        versions: versions.map((name, index) => ({
          name,
          served: true,
          storage: index === versions.length - 1,
          subresources: { status: {} },
          additionalPrinterColumns: [
            ...(columns[kind] ?? []).map(([column, jsonPath]) => ({
              name: column,
              type: 'string',
              jsonPath,
            })),
            { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
          ],
          schema: { openAPIV3Schema: { type: 'object', properties: { spec, status } } },
        })),
      },
    };
  });
}
