/** Values whose rendering by Helm is recorded: `node scripts/gen/helm_recordings.ts` writes them anew. */
import { join } from 'node:path';
import { fromYaml } from '#inject/go_template/functions/encoding.ts';
import type { JsonObject } from '#inject/pod/shape.ts';
import type { Manifest } from './manifests.ts';

/** One rendering of one chart. */
export interface HelmCase {
  readonly name: string;
  readonly chart: 'base' | 'istiod' | 'gateway';
  readonly release: string;
  readonly namespace: string;
  readonly kubeVersion: string;
  readonly values: JsonObject;
}

function of(
  chart: HelmCase['chart'],
  name: string,
  values: JsonObject,
  kubeVersion = 'v1.31.0',
  namespace = 'istio-system',
): HelmCase {
  const release = chart === 'gateway' ? 'istio-ingressgateway' : chart === 'base' ? 'istio-base' : chart;
  return { name: `${chart}-${name}`, chart, release, namespace, kubeVersion, values };
}

/** All cases. */
export const helmCases: readonly HelmCase[] = [
  of('base', 'without-kinds', { base: { enableCRDTemplates: false } }),
  of('istiod', 'defaults', {}),
  of('istiod', 'kubernetes-1.20', { pilot: { autoscaleEnabled: true, autoscaleMax: 3 } }, 'v1.20.2'),
  of('istiod', 'kubernetes-1.22', { pilot: { autoscaleEnabled: true } }, 'v1.22.4'),
  of(
    'istiod',
    'revision',
    {
      revision: 'canary',
      revisionTags: ['prod', 'default'],
      sidecarInjectorWebhook: { enableNamespacesByDefault: true, reinvocationPolicy: 'IfNeeded' },
    },
    'v1.28.0',
    'mesh-b',
  ),
  of('istiod', 'pilot', {
    global: {
      hub: 'registry.example/mesh',
      tag: 1.5,
      imagePullPolicy: 'Never',
      imagePullSecrets: ['one', 'two'],
      logAsJson: true,
      priorityClassName: 'system-cluster-critical',
      defaultPodDisruptionBudget: { enabled: false },
      multiCluster: { clusterName: 'east' },
      proxy: {
        clusterDomain: 'mesh.example',
        holdApplicationUntilProxyStarts: true,
        resources: { limits: { cpu: 2, memory: '1Gi' }, requests: { cpu: '10m' } },
      },
    },
    pilot: {
      hub: 'registry.example/own',
      tag: 'debug',
      replicaCount: 3,
      rollingMaxSurge: 1,
      rollingMaxUnavailable: 0,
      gatewayCredentials: true,
      env: { ENABLE_NATIVE_SIDECARS: true, PILOT_PUSH_THROTTLE: 100, TEXT: 'a: "b" #c' },
      extraContainerArgs: ['--tlsName', 'mesh.example'],
      nodeSelector: { 'kubernetes.io/os': 'linux' },
      affinity: {
        podAntiAffinity: {
          preferredDuringSchedulingIgnoredDuringExecution: [
            {
              weight: 100,
              podAffinityTerm: {
                topologyKey: 'kubernetes.io/hostname',
                labelSelector: { matchLabels: { app: 'istiod' } },
              },
            },
          ],
        },
      },
      tolerations: [{ key: 'edge', operator: 'Exists', effect: 'NoSchedule' }],
      topologySpreadConstraints: [
        { maxSkew: 1, topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway' },
      ],
      podLabels: { team: 'mesh' },
      podAnnotations: { note: 'yes' },
      deploymentLabels: { number: '007' },
      deploymentAnnotations: { date: '2026-01-02' },
      serviceAnnotations: { octal: '0o17' },
      serviceAccountAnnotations: { role: 'arn:aws:iam::1:role/a' },
      resources: { limits: { memory: '1Gi' }, requests: { cpu: 0.5 } },
    },
  }),
  of('istiod', 'mesh', {
    meshConfig: {
      accessLogFile: '/dev/stdout',
      accessLogFormat: '[%START_TIME%] "%REQ(:METHOD)%" <%PROTOCOL%> & more\n',
      enablePrometheusMerge: false,
      outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' },
      rootNamespace: 'mesh-root',
      defaultConfig: {
        concurrency: 0,
        holdApplicationUntilProxyStarts: true,
        proxyMetadata: { FLAG: 'true' },
      },
      extensionProviders: [{ name: 'otel', envoyOtelAls: { service: 'otel.example', port: 4317 } }],
    },
    global: { operatorManageWebhooks: true },
    sidecarInjectorWebhook: {
      rewriteAppHTTPProbe: false,
      injectedAnnotations: { 'example.com/note': 'x' },
      defaultTemplates: ['sidecar', 'own'],
      templates: { own: 'spec:\n  containers:\n  - name: istio-proxy\n    workingDir: {{ .Values.dir }}\n' },
      neverInjectSelector: [{ matchLabels: { job: 'batch' } }],
    },
  }),
  of('gateway', 'defaults', {}),
  of(
    'gateway',
    'kubernetes-1.20',
    { autoscaling: { enabled: true }, podDisruptionBudget: { enabled: true } },
    'v1.20.2',
  ),
  of(
    'gateway',
    'own',
    {
      name: 'edge',
      revision: 'canary',
      replicaCount: 2,
      labels: { app: 'edge', istio: 'edge' },
      service: {
        type: 'NodePort',
        annotations: { 'example.com/lb': 'internal' },
        externalTrafficPolicy: 'Local',
        loadBalancerSourceRanges: ['10.0.0.0/8'],
        ports: [{ name: 'tls', port: 15443, targetPort: 15443, nodePort: 30443 }],
      },
      env: { ISTIO_META_ROUTER_MODE: 'sni-dnat', NUMBER: 1 },
      imagePullPolicy: 'Never',
      imagePullSecrets: ['one'],
      serviceAccount: { annotations: { a: 'b' } },
      podAnnotations: { a: 'true' },
      podDisruptionBudget: { enabled: true },
      autoscaling: { enabled: true, minReplicas: 2, maxReplicas: 9, targetCPUUtilizationPercentage: 60 },
      nodeSelector: { edge: 'true' },
      tolerations: [{ operator: 'Exists' }],
      terminationGracePeriodSeconds: 90,
    },
    'v1.29.0',
    'edge',
  ),
];

/** Texts of a ConfigMap as what they say: YAML can be written in several ways. */
function readTexts(data: unknown): unknown {
  return Object.fromEntries(
    Object.entries(data as Record<string, string>).map(([key, text]) => [key, fromYaml(text)]),
  );
}

/**
 * What is compared: objects by kind and name, without what changes for other reasons: our version, and rules of roles,
 * which are made from src/pilot/bootstrap/kubernetes_rights.ts.
 */
export function comparable(manifests: readonly Manifest[], version: string): unknown {
  const entries = manifests.map(({ rules, data, ...manifest }) => [
    `${manifest.kind} ${manifest.metadata.name}`,
    {
      ...manifest,
      ...(rules === undefined ? {} : { rules: 'rules' }),
      ...(data === undefined ? {} : { data: readTexts(data) }),
    },
  ]);
  const text = JSON.stringify(
    Object.fromEntries(entries.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1))),
  );
  return JSON.parse(text.replaceAll(version, 'VERSION')) as unknown;
}

/** Where a case is recorded. */
export function recordingOf({ name }: HelmCase): string {
  return join(import.meta.dirname, 'testdata', `${name}.json`);
}
