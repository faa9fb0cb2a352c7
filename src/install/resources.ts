/** The kinds of objects that an installation consists of, as the API server names them. */
import { type ApiResource, type KubeObject, apiResource } from '#kube/object.ts';
import { type Manifest, installationLabel, ownerLabel } from './manifests.ts';

/** Each kind: its versions, newest first; its plural; whether it stands in a namespace. In the order of removal. */
const installed: readonly (readonly [
  kind: string,
  apiVersions: string,
  plural: string,
  namespaced: boolean,
])[] = [
  // First: a webhook that nobody answers keeps pods from starting.
  ['MutatingWebhookConfiguration', 'admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', false],
  ['HorizontalPodAutoscaler', 'autoscaling/v2 autoscaling/v2beta2', 'horizontalpodautoscalers', true],
  ['Deployment', 'apps/v1', 'deployments', true],
  ['PodDisruptionBudget', 'policy/v1 policy/v1beta1', 'poddisruptionbudgets', true],
  ['Service', 'v1', 'services', true],
  ['RoleBinding', 'rbac.authorization.k8s.io/v1', 'rolebindings', true],
  ['Role', 'rbac.authorization.k8s.io/v1', 'roles', true],
  ['ClusterRoleBinding', 'rbac.authorization.k8s.io/v1', 'clusterrolebindings', false],
  ['ClusterRole', 'rbac.authorization.k8s.io/v1', 'clusterroles', false],
  ['ConfigMap', 'v1', 'configmaps', true],
  ['ServiceAccount', 'v1', 'serviceaccounts', true],
  ['CustomResourceDefinition', 'apiextensions.k8s.io/v1', 'customresourcedefinitions', false],
  ['Namespace', 'v1', 'namespaces', false],
];

/** What is removed only when all is purged: kinds with their objects, and the namespace. */
export const keptKinds: ReadonlySet<string> = new Set(['CustomResourceDefinition', 'Namespace']);

/** Kinds in the order of removal, each with its resources, newest first. */
export const removalOrder: readonly { readonly kind: string; readonly resources: readonly ApiResource[] }[] =
  installed.map(([kind, apiVersions, plural, namespaced]) => ({
    kind,
    resources: apiVersions.split(' ').map((apiVersion) => apiResource(apiVersion, plural, namespaced)),
  }));

/** Where an object stands. @throws Error for a kind that is not part of installations */
export function resourceOf({ apiVersion, kind }: Manifest): ApiResource {
  const known = installed.find(([name]) => name === kind);
  if (known === undefined) throw new Error(`${kind} is not installed by this program`);
  return apiResource(apiVersion, known[2], known[3]);
}

/** Whether an object was made by an installation. */
export function isOurs({ metadata }: KubeObject): boolean {
  return metadata.labels?.[ownerLabel.name] === ownerLabel.value;
}

/** Chooses the objects of one installation, or of one of its revisions. */
export function installationSelector(namespace: string, revision?: string): string {
  const labels = [`${ownerLabel.name}=${ownerLabel.value}`, `${installationLabel}=${namespace}`];
  return [...labels, ...(revision === undefined ? [] : [`istio.io/rev=${revision}`])].join(',');
}
