/** The kinds that are followed in a cluster, where they stand there, and what is kept of their objects. */
import { type ApiResource, type KubeObject, apiResource } from '#kube/object.ts';
import { type Kind, kinds } from '../../kinds/kinds.ts';

/** Fields of an object beside apiVersion, kind and metadata. */
type Fields = Readonly<Record<string, unknown>>;

/** A kind of Kubernetes itself. */
export interface CoreKind {
  readonly kind: string;
  readonly resource: ApiResource;
  /** Which objects are of interest; default all. */
  readonly namespace?: string;
  readonly fieldSelector?: string;
  /** What is kept; undefined leaves the object out. Changes of anything else are no changes. */
  readonly trim: (object: KubeObject & Fields) => Fields | undefined;
  /** The control plane starts without it when it may not be read (403). */
  readonly optional?: boolean;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

/** Some fields of an object, those that are there. */
function pick(value: unknown, names: readonly string[]): Fields {
  const fields = fieldsOf(value);
  return Object.fromEntries(
    names.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]]),
  );
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

const nothing = (): Fields => ({});

/** Pods change often; of what changes, endpoints need addresses, readiness and ports. Pods that have ended are left out. */
function trimPod(object: Fields): Fields | undefined {
  const spec = fieldsOf(object['spec']);
  const status = fieldsOf(object['status']);
  if (status['phase'] === 'Succeeded' || status['phase'] === 'Failed') return undefined;
  const containers = (name: string): readonly Fields[] =>
    listOf(spec[name]).map((container) => pick(container, ['name', 'ports']));
  const ready = listOf(status['conditions']).filter((condition) => fieldsOf(condition)['type'] === 'Ready');
  return {
    spec: {
      ...pick(spec, ['serviceAccountName', 'nodeName', 'hostNetwork', 'hostname', 'subdomain']),
      containers: containers('containers'),
      ...(spec['initContainers'] === undefined ? {} : { initContainers: containers('initContainers') }),
    },
    status: {
      ...pick(status, ['phase', 'podIP', 'podIPs', 'hostIP']),
      conditions: ready.map((condition) => pick(condition, ['type', 'status'])),
    },
  };
}

/** Keys under which Secrets hold certificates of gateways. The authority's own Secrets are read apart, by name. */
const certificateKeys = ['tls.crt', 'tls.key', 'ca.crt', 'ca.crl', 'cert', 'key', 'cacert', 'crl'];

/** Secrets without certificates are nobody's business here; of those with them, only these keys are kept. */
function trimSecret(object: Fields): Fields | undefined {
  const data = pick(object['data'], certificateKeys);
  return Object.keys(data).length === 0 ? undefined : { ...pick(object, ['type']), data };
}

/** Secret types that hold no certificates and may be many or large. */
const otherSecretTypes = [
  'helm.sh/release.v1',
  'kubernetes.io/service-account-token',
  'kubernetes.io/dockerconfigjson',
  'kubernetes.io/dockercfg',
  'kubernetes.io/basic-auth',
  'kubernetes.io/ssh-auth',
  'bootstrap.kubernetes.io/token',
];

/** Kubernetes' own kinds, endpoints apart. @param namespace of the control plane and its ConfigMap. */
export function coreKinds(namespace: string, configMapName: string): readonly CoreKind[] {
  return [
    { kind: 'Namespace', resource: apiResource('v1', 'namespaces', false), trim: nothing },
    {
      kind: 'Node',
      resource: apiResource('v1', 'nodes', false),
      trim: ({ status }) => ({
        status: {
          ...pick(status, ['addresses']),
          nodeInfo: pick(fieldsOf(status)['nodeInfo'], ['kubeletVersion']),
        },
      }),
    },
    { kind: 'ServiceAccount', resource: apiResource('v1', 'serviceaccounts'), trim: nothing, optional: true },
    {
      kind: 'ConfigMap',
      resource: apiResource('v1', 'configmaps'),
      namespace,
      fieldSelector: `metadata.name=${configMapName}`,
      trim: (object) => pick(object, ['data']),
    },
    {
      kind: 'Secret',
      resource: apiResource('v1', 'secrets'),
      fieldSelector: otherSecretTypes.map((type) => `type!=${type}`).join(','),
      trim: trimSecret,
      optional: true,
    },
    {
      kind: 'Service',
      resource: apiResource('v1', 'services'),
      trim: (object) => pick(object, ['spec', 'status']),
    },
    { kind: 'Pod', resource: apiResource('v1', 'pods'), trim: trimPod },
  ];
}

/** Endpoints of a cluster that has no EndpointSlices. */
export const endpointsKind: CoreKind = {
  kind: 'Endpoints',
  resource: apiResource('v1', 'endpoints'),
  // Leader elections of old keep their state in annotations of Endpoints without subsets.
  trim: (object) => (object['subsets'] === undefined ? undefined : pick(object, ['subsets'])),
};

/** Versions of EndpointSlice that are read, best first. */
export const endpointSliceVersions = ['v1', 'v1beta1'] as const;

/** An endpoint of v1beta1 names node and zone in a map of topology labels. */
function endpointFromBeta(value: unknown): Fields {
  const { topology, ...endpoint } = fieldsOf(value);
  const labels = fieldsOf(topology);
  const zone = labels['topology.kubernetes.io/zone'];
  const nodeName = endpoint['nodeName'] ?? labels['kubernetes.io/hostname'];
  return {
    ...endpoint,
    ...(typeof nodeName === 'string' ? { nodeName } : {}),
    ...(typeof zone === 'string' ? { zone } : {}),
  };
}

/** EndpointSlices in a version of their API, brought to the form of v1. */
export function endpointSliceKind(version: string): CoreKind {
  return {
    kind: 'EndpointSlice',
    resource: apiResource(`discovery.k8s.io/${version}`, 'endpointslices'),
    trim(object) {
      const kept = pick(object, ['addressType', 'endpoints', 'ports']);
      if (version === 'v1') return kept;
      return { ...kept, endpoints: listOf(kept['endpoints']).map(endpointFromBeta) };
    },
  };
}

const kubernetesGroups = new Set(['', 'apps', 'batch', 'discovery.k8s.io']);

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '';
}

/** Kinds that stand in a cluster as custom resources. */
export const customKinds: readonly Kind[] = kinds.filter(
  ({ apiVersion }) => !kubernetesGroups.has(groupOf(apiVersion)),
);

/** Name of the definition of a custom kind: `virtualservices.networking.istio.io`. */
export function definitionName({ plural, apiVersion }: Kind): string {
  return `${plural}.${groupOf(apiVersion)}`;
}

/** The newest version of a custom kind that both sides know, undefined when there is none. */
export function customVersion(kind: Kind, served: readonly string[]): string | undefined {
  return kind.apiVersions.findLast((apiVersion) => served.includes(apiVersion.split('/')[1] ?? ''));
}
