/** What the control plane may do in a cluster, and why: the rules of its ClusterRole and Role, no more than it uses. */
import { customKinds } from '#config/store/kube/followed_kinds.ts';

/** One rule of RBAC (rbac.authorization.k8s.io PolicyRule) with its reason. */
export interface Right {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly reason: string;
}

const read = ['get', 'list', 'watch'];

/** Groups of our custom kinds with their plurals. */
function customRights(): Right[] {
  const byGroup = new Map<string, string[]>();
  for (const { apiVersion, plural } of customKinds) {
    const group = apiVersion.split('/')[0] ?? '';
    byGroup.set(group, [...(byGroup.get(group) ?? []), plural]);
  }
  return [...byGroup].map(([group, resources]) => ({
    apiGroups: [group],
    resources,
    verbs: read,
    reason: 'configuration of the mesh',
  }));
}

/** Rights in all namespaces. */
export const clusterRights: readonly Right[] = [
  {
    apiGroups: [''],
    resources: ['namespaces', 'nodes', 'pods', 'services', 'endpoints', 'serviceaccounts'],
    verbs: read,
    reason: 'services, their endpoints and where they run',
  },
  {
    apiGroups: ['discovery.k8s.io'],
    resources: ['endpointslices'],
    verbs: read,
    reason: 'endpoints of services',
  },
  {
    apiGroups: [''],
    resources: ['secrets'],
    verbs: read,
    reason: 'certificates of gateways; left out, the control plane runs without them',
  },
  ...customRights(),
  {
    apiGroups: ['apiextensions.k8s.io'],
    resources: ['customresourcedefinitions'],
    verbs: read,
    reason: 'which kinds of configuration the cluster has',
  },
  {
    apiGroups: [''],
    resources: ['configmaps'],
    verbs: ['list', 'watch', 'create', 'patch'],
    reason: 'istio-ca-root-cert in every namespace, and the ConfigMap of the mesh',
  },
  {
    apiGroups: ['admissionregistration.k8s.io'],
    resources: ['mutatingwebhookconfigurations'],
    verbs: ['list', 'watch', 'patch'],
    reason: 'caBundle of the injection webhook',
  },
  {
    apiGroups: ['authentication.k8s.io'],
    resources: ['tokenreviews'],
    verbs: ['create'],
    reason: 'proxies prove who they are by their account token',
  },
  {
    apiGroups: [''],
    resources: ['events'],
    verbs: ['create'],
    reason: 'tells, at the object, that configuration is not in force',
  },
];

/** Rights in the namespace of the control plane. */
export const namespaceRights: readonly Right[] = [
  {
    apiGroups: [''],
    resources: ['secrets'],
    verbs: ['get', 'create', 'update'],
    reason: 'the authority: reads cacerts, keeps istio-ca-secret',
  },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    verbs: ['get', 'create', 'update'],
    reason: 'one of several control planes writes at a time',
  },
];
