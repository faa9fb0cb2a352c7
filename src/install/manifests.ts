/** Everything that an installation puts into a cluster, in the order in which it is applied. */
import { type Release, loadChart, renderChart } from './chart.ts';
import { type InstallValues, gatewayName } from './read_values.ts';

/** An object of Kubernetes as it is written. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** What is installed, and where. */
export interface InstallOptions {
  /** Of the control plane. */
  readonly namespace: string;
  /** Version of Kubernetes, `v1.20.2`. */
  readonly kubeVersion: string;
  readonly values: InstallValues;
}

/** Version of Kubernetes that `manifest generate` assumes: of the newest APIs that the charts use. */
export const defaultKubeVersion = 'v1.31.0';

/** Every object of an installation carries it; uninstalling removes only what does. */
export const ownerLabel = { name: 'app.kubernetes.io/managed-by', value: 'trysail' } as const;

/** Names the namespace of the control plane that an object belongs to. */
export const installationLabel = 'install.trysail.io/namespace';

/** Names of what a revision has for itself. */
export function namesOf(revision: string): { readonly controlPlane: string; readonly meshConfig: string } {
  const suffix = revision === '' || revision === 'default' ? '' : `-${revision}`;
  return { controlPlane: `istiod${suffix}`, meshConfig: `istio${suffix}` };
}

/** Kinds in the order of their application. Webhooks are last: one that nobody answers keeps pods from starting. */
const order = [
  'Namespace',
  'CustomResourceDefinition',
  'ServiceAccount',
  'ConfigMap',
  'ClusterRole',
  'ClusterRoleBinding',
  'Role',
  'RoleBinding',
  'Service',
  'PodDisruptionBudget',
  'Deployment',
  'HorizontalPodAutoscaler',
  'MutatingWebhookConfiguration',
];

function inOrder(manifests: readonly Manifest[]): Manifest[] {
  return manifests.toSorted((first, second) => order.indexOf(first.kind) - order.indexOf(second.kind));
}

function releaseOf({ namespace, kubeVersion }: InstallOptions, name: string): Release {
  return { name, namespace, service: ownerLabel.value, kubeVersion };
}

/** The control plane: namespace, kinds, rights, settings, service, deployment, webhooks. @throws Error */
export function controlPlaneManifests(options: InstallOptions): Manifest[] {
  const { namespace, values } = options;
  const labels = { [ownerLabel.name]: ownerLabel.value, [installationLabel]: namespace };
  return inOrder([
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } },
    ...renderChart(loadChart('base'), values.base, releaseOf(options, 'istio-base')),
    ...renderChart(loadChart('istiod'), values.istiod, releaseOf(options, 'istiod')),
  ]);
}

/** The ingress gateway, if one is wanted. It needs the control plane: its pods are made by injection. @throws Error */
export function gatewayManifests(options: InstallOptions): Manifest[] {
  const { gateway } = options.values;
  if (gateway === undefined) return [];
  return inOrder(renderChart(loadChart('gateway'), gateway, releaseOf(options, gatewayName)));
}

/** All objects. @throws Error */
export function installManifests(options: InstallOptions): Manifest[] {
  return [...controlPlaneManifests(options), ...gatewayManifests(options)];
}
