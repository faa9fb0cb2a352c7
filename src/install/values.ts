/** Values of an installation: what may be chosen, with Istio's names. Their defaults stand in `deploy/helm`. */
import {
  type Schema,
  anyObject,
  anything,
  boolean,
  integer,
  list,
  map,
  number,
  numberOrString,
  object,
  oneOf,
  string,
} from '#config/schema/schema.ts';

type Json = Readonly<Record<string, unknown>>;
type Texts = Readonly<Record<string, string>>;
/** A tag such as `1.0` is a number to YAML. */
type Tag = number | string;
/** Variables: `true` and `1` are written without quotes by most. */
type Variables = Readonly<Record<string, unknown>>;

interface Global {
  readonly hub?: string;
  readonly tag?: Tag;
  readonly variant?: string;
  readonly imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSecrets?: readonly string[];
  readonly logAsJson?: boolean;
  readonly logging?: Json;
  readonly priorityClassName?: string;
  readonly defaultPodDisruptionBudget?: { readonly enabled?: boolean };
  readonly operatorManageWebhooks?: boolean;
  readonly istioNamespace?: string;
  readonly caAddress?: string;
  readonly caName?: string;
  readonly pilotCertProvider?: string;
  readonly meshID?: string;
  readonly network?: string;
  readonly trustDomain?: string;
  readonly multiCluster?: { readonly clusterName?: string };
  readonly mountMtlsCerts?: boolean;
  readonly podDNSSearchNamespaces?: readonly string[];
  readonly nativeNftables?: boolean;
  readonly sts?: Json;
  readonly sds?: Json;
  readonly proxy?: Json;
  readonly proxy_init?: Json;
}

interface Pilot {
  readonly image?: string;
  readonly hub?: string;
  readonly tag?: Tag;
  readonly replicaCount?: number;
  readonly autoscaleEnabled?: boolean;
  readonly autoscaleMin?: number;
  readonly autoscaleMax?: number;
  readonly cpu?: { readonly targetAverageUtilization?: number };
  readonly rollingMaxSurge?: number | string;
  readonly rollingMaxUnavailable?: number | string;
  readonly resources?: Json;
  readonly env?: Variables;
  readonly extraContainerArgs?: readonly string[];
  readonly nodeSelector?: Texts;
  readonly affinity?: Json;
  readonly tolerations?: readonly Json[];
  readonly topologySpreadConstraints?: readonly Json[];
  readonly podLabels?: Texts;
  readonly podAnnotations?: Texts;
  readonly deploymentLabels?: Texts;
  readonly deploymentAnnotations?: Texts;
  readonly serviceAnnotations?: Texts;
  readonly serviceAccountAnnotations?: Texts;
  readonly gatewayCredentials?: boolean;
  readonly cni?: { readonly enabled?: boolean; readonly provider?: string };
}

interface Webhook {
  readonly enableNamespacesByDefault?: boolean;
  readonly reinvocationPolicy?: 'Never' | 'IfNeeded';
  readonly rewriteAppHTTPProbe?: boolean;
  readonly templates?: Texts;
  readonly defaultTemplates?: readonly string[];
  readonly alwaysInjectSelector?: readonly Json[];
  readonly neverInjectSelector?: readonly Json[];
  readonly injectedAnnotations?: Texts;
}

/** Values of chart `istiod`. */
export interface IstiodValues {
  readonly revision?: string;
  readonly revisionTags?: readonly string[];
  readonly global?: Global;
  readonly pilot?: Pilot;
  /** Checked by the mesh's own schema. */
  readonly meshConfig?: Json;
  readonly sidecarInjectorWebhook?: Webhook;
  /** Values that users share between charts. */
  readonly gateways?: Json;
}

/** Values of chart `base`. */
export interface BaseValues {
  readonly base?: { readonly enableCRDTemplates?: boolean };
}

interface GatewayService {
  readonly type?: 'LoadBalancer' | 'NodePort' | 'ClusterIP';
  readonly annotations?: Texts;
  readonly externalTrafficPolicy?: '' | 'Cluster' | 'Local';
  readonly loadBalancerIP?: string;
  readonly loadBalancerSourceRanges?: readonly string[];
  readonly ports?: readonly Json[];
}

/** Values of chart `gateway`. */
export interface GatewayValues {
  readonly name?: string;
  readonly revision?: string;
  readonly replicaCount?: number;
  readonly autoscaling?: {
    readonly enabled?: boolean;
    readonly minReplicas?: number;
    readonly maxReplicas?: number;
    readonly targetCPUUtilizationPercentage?: number;
  };
  readonly podDisruptionBudget?: { readonly enabled?: boolean };
  readonly labels?: Texts;
  readonly service?: GatewayService;
  readonly resources?: Json;
  readonly env?: Variables;
  readonly imagePullPolicy?: string;
  readonly imagePullSecrets?: readonly string[];
  readonly serviceAccount?: { readonly annotations?: Texts };
  readonly podAnnotations?: Texts;
  readonly nodeSelector?: Texts;
  readonly affinity?: Json;
  readonly tolerations?: readonly Json[];
  readonly topologySpreadConstraints?: readonly Json[];
  readonly terminationGracePeriodSeconds?: number;
}

const text = string();
const texts = map(text);
const names = list(text);
const objects = list(anyObject);
const enabled = object<{ readonly enabled?: boolean }>({ enabled: boolean });
const revisionName = string({
  expected: 'the name of a revision: a DNS label of up to 56 characters',
  test: (value) => /^(?:[a-z0-9](?:[-a-z0-9]{0,54}[a-z0-9])?)?$/.test(value),
});
const copies = integer({ min: 1, max: 100 });
const percent = integer({ min: 1, max: 1000 });
const variables: Schema<Variables> = map(anything);

/** Of chart `istiod`. */
export const istiodValues: Schema<IstiodValues> = object<IstiodValues>({
  revision: revisionName,
  revisionTags: list(revisionName),
  global: object<Global>({
    hub: text,
    tag: numberOrString,
    variant: text,
    imagePullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
    imagePullSecrets: names,
    logAsJson: boolean,
    logging: anyObject,
    priorityClassName: text,
    defaultPodDisruptionBudget: enabled,
    operatorManageWebhooks: boolean,
    istioNamespace: text,
    caAddress: text,
    caName: text,
    pilotCertProvider: text,
    meshID: text,
    network: text,
    trustDomain: text,
    multiCluster: object<{ readonly clusterName?: string }>({ clusterName: text }),
    mountMtlsCerts: boolean,
    podDNSSearchNamespaces: names,
    nativeNftables: boolean,
    sts: anyObject,
    sds: anyObject,
    proxy: anyObject,
    proxy_init: anyObject,
  }),
  pilot: object<Pilot>({
    image: text,
    hub: text,
    tag: numberOrString,
    replicaCount: copies,
    autoscaleEnabled: boolean,
    autoscaleMin: copies,
    autoscaleMax: copies,
    cpu: object<{ readonly targetAverageUtilization?: number }>({ targetAverageUtilization: percent }),
    rollingMaxSurge: numberOrString,
    rollingMaxUnavailable: numberOrString,
    resources: anyObject,
    env: variables,
    extraContainerArgs: names,
    nodeSelector: texts,
    affinity: anyObject,
    tolerations: objects,
    topologySpreadConstraints: objects,
    podLabels: texts,
    podAnnotations: texts,
    deploymentLabels: texts,
    deploymentAnnotations: texts,
    serviceAnnotations: texts,
    serviceAccountAnnotations: texts,
    gatewayCredentials: boolean,
    cni: object<{ readonly enabled?: boolean; readonly provider?: string }>({
      enabled: boolean,
      provider: text,
    }),
  }),
  meshConfig: anyObject,
  sidecarInjectorWebhook: object<Webhook>({
    enableNamespacesByDefault: boolean,
    reinvocationPolicy: oneOf('Never', 'IfNeeded'),
    rewriteAppHTTPProbe: boolean,
    templates: texts,
    defaultTemplates: names,
    alwaysInjectSelector: objects,
    neverInjectSelector: objects,
    injectedAnnotations: texts,
  }),
  gateways: anyObject,
});

/** Of chart `base`. */
export const baseValues: Schema<BaseValues> = object<BaseValues>({
  base: object<{ readonly enableCRDTemplates?: boolean }>({ enableCRDTemplates: boolean }),
});

/** Of chart `gateway`. */
export const gatewayValues: Schema<GatewayValues> = object<GatewayValues>({
  name: text,
  revision: revisionName,
  replicaCount: copies,
  autoscaling: object<NonNullable<GatewayValues['autoscaling']>>({
    enabled: boolean,
    minReplicas: copies,
    maxReplicas: copies,
    targetCPUUtilizationPercentage: percent,
  }),
  podDisruptionBudget: enabled,
  labels: texts,
  service: object<GatewayService>({
    type: oneOf('LoadBalancer', 'NodePort', 'ClusterIP'),
    annotations: texts,
    externalTrafficPolicy: oneOf('', 'Cluster', 'Local'),
    loadBalancerIP: text,
    loadBalancerSourceRanges: names,
    ports: objects,
  }),
  resources: anyObject,
  env: variables,
  imagePullPolicy: text,
  imagePullSecrets: names,
  serviceAccount: object<{ readonly annotations?: Texts }>({ annotations: texts }),
  podAnnotations: texts,
  nodeSelector: texts,
  affinity: anyObject,
  tolerations: objects,
  topologySpreadConstraints: objects,
  terminationGracePeriodSeconds: number({ min: 0 }),
});
