/** Everything that an installation puts into a cluster, in the order in which it is applied. */
import { type Right, clusterRights, namespaceRights } from '#pilot/bootstrap/kubernetes_rights.ts';
import { customResources } from './custom_resources.ts';
import { injectionWebhook } from './injection_webhook.ts';

/** An object of Kubernetes as it is written. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** What may be chosen. */
export interface InstallOptions {
  readonly namespace: string;
  /** Registry and folder of the image. */
  readonly hub: string;
  readonly tag: string;
  /** `Always`, `IfNotPresent` or `Never`; of the control plane and of sidecars. */
  readonly imagePullPolicy: string;
  readonly replicas: number;
  /** `policy/v1` is served from Kubernetes 1.21 on. */
  readonly policyVersion: 'v1' | 'v1beta1';
}

/** Every object of an installation carries it; uninstalling removes a namespace only where it stands. */
export const ownerLabels = { 'app.kubernetes.io/managed-by': 'trysail' } as const;

/** Name of the control plane's objects. */
export const controlPlaneName = 'istiod';

/** Name of the ConfigMap that holds MeshConfig. */
export const meshConfigName = 'istio';

const rbac = 'rbac.authorization.k8s.io';

function rules(rights: readonly Right[]): object[] {
  // The reason is for people: it stands in docs/installation.md.
  return rights.map(({ reason: _reason, ...rule }) => rule);
}

function roles(namespace: string, labels: Readonly<Record<string, string>>): Manifest[] {
  const subjects = [{ kind: 'ServiceAccount', name: controlPlaneName, namespace }];
  const clusterName = `${controlPlaneName}-${namespace}`;
  const own = { name: controlPlaneName, namespace, labels };
  return [
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name: clusterName, labels },
      rules: rules(clusterRights),
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: clusterName, labels },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: clusterName },
      subjects,
    },
    { apiVersion: `${rbac}/v1`, kind: 'Role', metadata: own, rules: rules(namespaceRights) },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata: own,
      roleRef: { apiGroup: rbac, kind: 'Role', name: controlPlaneName },
      subjects,
    },
  ];
}

function fromField(name: string, fieldPath: string): object {
  return { name, valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath } } };
}

function container(options: InstallOptions): object {
  return {
    name: 'discovery',
    image: `${options.hub}/proxyv2:${options.tag}`,
    imagePullPolicy: options.imagePullPolicy,
    command: ['/usr/local/bin/pilot-discovery'],
    args: ['discovery'],
    env: [fromField('POD_NAME', 'metadata.name'), fromField('POD_NAMESPACE', 'metadata.namespace')],
    ports: [8080, 15012, 15014, 15017].map((containerPort) => ({ containerPort, protocol: 'TCP' })),
    readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 3, timeoutSeconds: 5 },
    resources: { requests: { cpu: '100m', memory: '256Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: 1337,
      runAsGroup: 1337,
    },
    volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
  };
}

/** All objects: namespace, kinds, rights, settings, service, and the control plane at the end. */
export function installManifests(options: InstallOptions): Manifest[] {
  const { namespace, hub, tag, imagePullPolicy } = options;
  const labels = ownerLabels;
  const own = (name: string) => ({ name, namespace, labels });
  const selector = { app: controlPlaneName };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } },
    ...customResources(labels),
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: own(controlPlaneName) },
    ...roles(namespace, labels),
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: own(meshConfigName), data: { mesh: '{}\n' } },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: own('istio-sidecar-injector'),
      data: {
        config: 'policy: enabled\n',
        values: `${JSON.stringify({ global: { hub, tag, imagePullPolicy } }, undefined, 2)}\n`,
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: own(controlPlaneName),
      spec: {
        selector,
        ports: [
          { name: 'https-dns', port: 15012, protocol: 'TCP' },
          { name: 'https-webhook', port: 443, targetPort: 15017, protocol: 'TCP' },
          { name: 'http-monitoring', port: 15014, protocol: 'TCP' },
        ],
      },
    },
    {
      apiVersion: `policy/${options.policyVersion}`,
      kind: 'PodDisruptionBudget',
      metadata: own(controlPlaneName),
      spec: { minAvailable: 1, selector: { matchLabels: selector } },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: own(controlPlaneName),
      spec: {
        replicas: options.replicas,
        selector: { matchLabels: selector },
        template: {
          metadata: { labels: { ...labels, ...selector, 'sidecar.istio.io/inject': 'false' } },
          spec: {
            serviceAccountName: controlPlaneName,
            containers: [container(options)],
            volumes: [{ name: 'tmp', emptyDir: {} }],
          },
        },
      },
    },
    // Last, so that it is the first to go: a webhook that nobody answers keeps pods from starting.
    injectionWebhook({ namespace, revision: 'default', service: controlPlaneName, labels }),
  ];
}
