/** Light checks of Kubernetes' kinds: the shape of the fields that the mesh reads. Other fields pass unseen. */
import type { LabelSelector, LabelSelectorRequirement } from '../../mesh_config/types.ts';
import type { Checker } from '../../schema/checker.ts';
import { isAddress, isDnsLabel, labels, port } from '../../schema/names.ts';
import {
  type Fields,
  type ObjectOptions,
  type Schema,
  boolean,
  integer,
  list,
  map,
  numberOrString,
  object,
  oneOf,
  string,
} from '../../schema/schema.ts';
import { podSpec } from './pod.ts';
import type {
  ConfigMapBody,
  EndpointSliceBody,
  EndpointsAddress,
  EndpointsBody,
  NamespaceBody,
  NodeBody,
  ObjectReference,
  PodBody,
  PodStatus,
  PodTemplateSpec,
  SecretBody,
  ServiceAccountBody,
  ServiceBody,
  ServiceSpec,
  ServiceSpecPort,
  WorkloadBody,
  WorkloadSpec,
} from './types.ts';

function part<T extends object>(fields: Fields<T>, options: ObjectOptions<T> = {}): Schema<T> {
  return object<T>(fields, { ...options, open: true });
}

/** Any object; nothing of it is read. */
const unread: Schema<Readonly<Record<string, unknown>>> = part<Record<string, unknown>>({});

const transport = oneOf('TCP', 'UDP', 'SCTP');

const servicePort = part<ServiceSpecPort>(
  {
    name: string({
      expected: 'a port name such as "http"',
      code: 'invalid_name',
      test: (name) => name === '' || isDnsLabel(name),
    }),
    port,
    targetPort: numberOrString,
    protocol: transport,
    appProtocol: string(),
    nodePort: port,
  },
  { required: ['port'] },
);

const policy = oneOf('Cluster', 'Local');

const serviceSpec = part<ServiceSpec>(
  {
    type: oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
    clusterIP: string({
      expected: 'an address or "None"',
      code: 'invalid_address',
      test: (text) => text === '' || text === 'None' || isAddress(text),
    }),
    clusterIPs: list(string()),
    ports: list(servicePort, { rule: checkServicePorts }),
    selector: labels,
    externalName: string(),
    externalIPs: list(string()),
    publishNotReadyAddresses: boolean,
    sessionAffinity: oneOf('None', 'ClientIP'),
    internalTrafficPolicy: policy,
    externalTrafficPolicy: policy,
    trafficDistribution: string(),
    ipFamilies: list(string()),
    ipFamilyPolicy: string(),
  },
  {
    rule(spec, at) {
      if (spec.type === 'ExternalName' && (spec.externalName ?? '') === '') {
        at.error('missing_field', 'required for ExternalName: externalName', ['externalName']);
      } else if (
        spec.type !== 'ExternalName' &&
        spec.clusterIP !== 'None' &&
        (spec.ports ?? []).length === 0
      ) {
        at.error('missing_field', 'required: at least one port', ['ports']);
      }
    },
  },
);

function checkServicePorts(ports: readonly ServiceSpecPort[], at: Checker): void {
  const names = new Set<string>();
  for (const [index, { name = '' }] of ports.entries()) {
    if (name === '' && ports.length > 1)
      at.error('missing_field', 'required with several ports: name', [index, 'name']);
    if (name !== '' && names.has(name))
      at.error('duplicate', `duplicate port name "${name}"`, [index, 'name']);
    names.add(name);
  }
}

/** Body of a Service. */
export const serviceBody: Schema<ServiceBody> = part<ServiceBody>(
  { spec: serviceSpec, status: unread },
  { required: ['spec'] },
);

/** Body of a Pod. */
export const podBody: Schema<PodBody> = part<PodBody>({
  spec: podSpec,
  status: part<PodStatus>({
    phase: string(),
    podIP: string(),
    podIPs: list(part<{ ip: string }>({ ip: string() })),
    hostIP: string(),
    conditions: list(part<{ type: string; status: string }>({ type: string(), status: string() })),
  }),
});

const requirement = part<LabelSelectorRequirement>(
  {
    key: string(),
    operator: oneOf('In', 'NotIn', 'Exists', 'DoesNotExist'),
    values: list(string()),
  },
  { required: ['key', 'operator'] },
);

/** A label selector of Kubernetes. */
export const labelSelector: Schema<LabelSelector> = part<LabelSelector>({
  matchLabels: labels,
  matchExpressions: list(requirement),
});

const template = part<PodTemplateSpec>(
  {
    metadata: part<NonNullable<PodTemplateSpec['metadata']>>({ labels, annotations: map(string()) }),
    spec: podSpec,
  },
  { required: ['spec'] },
);

/** Body of a Deployment, StatefulSet, DaemonSet or ReplicaSet. */
export const workloadBody: Schema<WorkloadBody> = part<WorkloadBody>(
  {
    spec: part<WorkloadSpec>(
      { replicas: integer({ min: 0 }), selector: labelSelector, template, serviceName: string() },
      {
        required: ['selector', 'template'],
        rule({ selector, template: pods }, at) {
          for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
            if (pods?.metadata?.labels?.[key] === value) continue;
            at.error(
              'conflict',
              `the selector asks for ${key}=${value}, which the template's labels do not have`,
              ['selector', 'matchLabels', key],
            );
          }
        },
      },
    ),
  },
  { required: ['spec'] },
);

/** Body of a Namespace. */
export const namespaceBody: Schema<NamespaceBody> = part<NamespaceBody>({ spec: unread });
/** Body of a ServiceAccount. */
export const serviceAccountBody: Schema<ServiceAccountBody> = part<ServiceAccountBody>({
  automountServiceAccountToken: boolean,
});
/** Body of a ConfigMap. */
export const configMapBody: Schema<ConfigMapBody> = part<ConfigMapBody>({
  data: map(string()),
  binaryData: map(string()),
});

/** A string whose content must not show up in messages. */
const secret: Schema<string> = {
  expected: 'a string',
  shape: { type: 'string' },
  check(value, at) {
    if (typeof value !== 'string') at.error('wrong_type', 'expected a string', [], 'a string');
  },
};
/** Body of a Secret. Its values never stand in messages. */
export const secretBody: Schema<SecretBody> = part<SecretBody>({
  type: string(),
  data: map(secret),
  stringData: map(secret),
});

const reference = part<ObjectReference>({ kind: string(), namespace: string(), name: string() });
const endpointsAddress = part<EndpointsAddress>(
  {
    ip: string({ expected: 'an address', code: 'invalid_address', test: isAddress }),
    hostname: string(),
    nodeName: string(),
    targetRef: reference,
  },
  { required: ['ip'] },
);

type EndpointsSubset = NonNullable<EndpointsBody['subsets']>[number];
type EndpointsPort = NonNullable<EndpointsSubset['ports']>[number];

/** Body of Endpoints. */
export const endpointsBody: Schema<EndpointsBody> = part<EndpointsBody>({
  subsets: list(
    part<EndpointsSubset>({
      addresses: list(endpointsAddress),
      notReadyAddresses: list(endpointsAddress),
      ports: list(part<EndpointsPort>({ name: string(), port, protocol: transport }, { required: ['port'] })),
    }),
  ),
});

type SliceEndpoint = NonNullable<EndpointSliceBody['endpoints']>[number];
type SlicePort = NonNullable<EndpointSliceBody['ports']>[number];

/** Body of an EndpointSlice. */
export const endpointSliceBody: Schema<EndpointSliceBody> = part<EndpointSliceBody>({
  addressType: oneOf('IPv4', 'IPv6', 'FQDN'),
  endpoints: list(
    part<SliceEndpoint>(
      {
        addresses: list(string()),
        conditions: part<NonNullable<SliceEndpoint['conditions']>>({
          ready: boolean,
          serving: boolean,
          terminating: boolean,
        }),
        hostname: string(),
        nodeName: string(),
        zone: string(),
        targetRef: reference,
      },
      { required: ['addresses'] },
    ),
  ),
  ports: list(part<SlicePort>({ name: string(), port, protocol: transport, appProtocol: string() })),
});

/** Body of a Node. */
export const nodeBody: Schema<NodeBody> = part<NodeBody>({
  status: part<NonNullable<NodeBody['status']>>({
    addresses: list(part<{ type: string; address: string }>({ type: string(), address: string() })),
    nodeInfo: part<{ readonly kubeletVersion?: string }>({ kubeletVersion: string() }),
  }),
});
