/** The injector's settings: key `values` of ConfigMap `istio-sidecar-injector`, with Istio's names and defaults. */
import { checkShape } from './pod/check.ts';
import {
  type JsonObject,
  any,
  boolOrAbsent,
  intOrAbsent,
  isObject,
  list,
  map,
  object,
  quantity,
  textOrAbsent,
} from './pod/shape.ts';
import type { Lifecycle, ResourceRequirements } from './pod/types.ts';

/** `global.proxy`: the sidecar. */
export interface ProxyValues {
  readonly image: string;
  readonly clusterDomain: string;
  readonly logLevel: string;
  readonly componentLogLevel: string;
  readonly outlierLogPath: string;
  readonly privileged: boolean;
  readonly holdApplicationUntilProxyStarts: boolean;
  readonly includeIPRanges: string;
  readonly excludeIPRanges: string;
  readonly includeInboundPorts: string;
  readonly excludeInboundPorts: string;
  readonly includeOutboundPorts: string;
  readonly excludeOutboundPorts: string;
  /** Port of the agent; 0: no readiness probe. */
  readonly statusPort: number;
  readonly readinessInitialDelaySeconds: number;
  readonly readinessPeriodSeconds: number;
  readonly readinessFailureThreshold: number;
  readonly startupProbe: { readonly enabled: boolean; readonly failureThreshold: number };
  readonly resources: ResourceRequirements;
  readonly lifecycle?: Lifecycle;
  readonly seccompProfile: JsonObject;
  readonly tracer: string;
}

/** `global`: the mesh as one whole. */
export interface GlobalValues {
  readonly hub: string;
  /** Text, or a number that YAML made of it. */
  readonly tag: string | number;
  readonly variant: string;
  readonly imagePullPolicy: string;
  readonly imagePullSecrets: readonly string[];
  readonly istioNamespace: string;
  readonly caAddress: string;
  readonly caName: string;
  readonly pilotCertProvider: string;
  readonly logAsJson: boolean;
  readonly logging: { readonly level: string };
  readonly meshID: string;
  readonly network: string;
  readonly trustDomain: string;
  readonly multiCluster: { readonly clusterName: string };
  readonly mountMtlsCerts: boolean;
  /** Search domains of the pod's DNS; may hold template expressions. */
  readonly podDNSSearchNamespaces: readonly string[];
  readonly nativeNftables: boolean;
  readonly sts: { readonly servicePort: number };
  readonly sds: { readonly token: { readonly aud: string } };
  readonly proxy: ProxyValues;
  readonly proxy_init: { readonly image: string; readonly forceApplyIptables: boolean };
}

/** `sidecarInjectorWebhook`. */
export interface WebhookValues {
  readonly rewriteAppHTTPProbe: boolean;
  readonly injectedAnnotations: Readonly<Record<string, string>>;
  readonly templates: Readonly<Record<string, string>>;
  readonly defaultTemplates: readonly string[];
  readonly alwaysInjectSelector: readonly JsonObject[];
  readonly neverInjectSelector: readonly JsonObject[];
}

/** All values, with defaults filled in. */
export interface Values {
  readonly global: GlobalValues;
  readonly pilot: {
    readonly cni: { readonly enabled: boolean; readonly provider: string };
    readonly env: JsonObject;
  };
  readonly revision: string;
  readonly sidecarInjectorWebhook: WebhookValues;
}

/** Values as templates see them, and the same with types. */
export interface ReadValues {
  readonly values: Values;
  readonly raw: JsonObject;
}

const defaults: JsonObject = {
  global: {
    hub: 'trysail',
    tag: 'latest',
    variant: '',
    imagePullPolicy: '',
    imagePullSecrets: [],
    istioNamespace: 'istio-system',
    caAddress: '',
    caName: '',
    pilotCertProvider: 'istiod',
    logAsJson: false,
    logging: { level: 'default:info' },
    meshID: '',
    network: '',
    trustDomain: '',
    multiCluster: { clusterName: '' },
    mountMtlsCerts: false,
    podDNSSearchNamespaces: [],
    nativeNftables: false,
    sts: { servicePort: 0 },
    sds: { token: { aud: 'istio-ca' } },
    proxy: {
      image: 'proxyv2',
      clusterDomain: 'cluster.local',
      logLevel: 'warning',
      componentLogLevel: 'misc:error',
      outlierLogPath: '',
      privileged: false,
      holdApplicationUntilProxyStarts: false,
      includeIPRanges: '*',
      excludeIPRanges: '',
      includeInboundPorts: '*',
      excludeInboundPorts: '',
      includeOutboundPorts: '',
      excludeOutboundPorts: '',
      statusPort: 15_020,
      readinessInitialDelaySeconds: 0,
      readinessPeriodSeconds: 15,
      readinessFailureThreshold: 4,
      startupProbe: { enabled: true, failureThreshold: 600 },
      resources: {
        limits: { cpu: '2000m', memory: '1024Mi' },
        requests: { cpu: '100m', memory: '128Mi' },
      },
      seccompProfile: {},
      tracer: 'none',
    },
    proxy_init: { image: 'proxyv2', forceApplyIptables: false },
  },
  pilot: { cni: { enabled: false, provider: 'default' }, env: {} },
  revision: '',
  sidecarInjectorWebhook: {
    rewriteAppHTTPProbe: true,
    injectedAnnotations: {},
    templates: {},
    defaultTemplates: [],
    alwaysInjectSelector: [],
    neverInjectSelector: [],
  },
};

/** Objects that a user gives as a whole: no default shines through what they leave out. */
const wholes = new Set(['resources', 'seccompProfile', 'lifecycle', 'templates', 'injectedAnnotations']);

const valuesShape = object({
  global: object({
    hub: textOrAbsent,
    tag: any,
    variant: textOrAbsent,
    imagePullPolicy: textOrAbsent,
    imagePullSecrets: list(textOrAbsent),
    istioNamespace: textOrAbsent,
    caAddress: textOrAbsent,
    caName: textOrAbsent,
    pilotCertProvider: textOrAbsent,
    logAsJson: boolOrAbsent,
    logging: object({ level: textOrAbsent }),
    meshID: textOrAbsent,
    network: textOrAbsent,
    trustDomain: textOrAbsent,
    multiCluster: object({ clusterName: textOrAbsent }),
    mountMtlsCerts: boolOrAbsent,
    podDNSSearchNamespaces: list(textOrAbsent),
    nativeNftables: boolOrAbsent,
    sts: object({ servicePort: intOrAbsent }),
    sds: object({ token: object({ aud: textOrAbsent }) }),
    proxy: object({
      image: textOrAbsent,
      clusterDomain: textOrAbsent,
      logLevel: textOrAbsent,
      componentLogLevel: textOrAbsent,
      outlierLogPath: textOrAbsent,
      privileged: boolOrAbsent,
      holdApplicationUntilProxyStarts: boolOrAbsent,
      includeIPRanges: textOrAbsent,
      excludeIPRanges: textOrAbsent,
      includeInboundPorts: textOrAbsent,
      excludeInboundPorts: textOrAbsent,
      includeOutboundPorts: textOrAbsent,
      excludeOutboundPorts: textOrAbsent,
      statusPort: intOrAbsent,
      readinessInitialDelaySeconds: intOrAbsent,
      readinessPeriodSeconds: intOrAbsent,
      readinessFailureThreshold: intOrAbsent,
      startupProbe: object({ enabled: boolOrAbsent, failureThreshold: intOrAbsent }),
      resources: object({ limits: map(quantity), requests: map(quantity) }),
      lifecycle: object({}),
      seccompProfile: object({}),
      tracer: textOrAbsent,
    }),
    proxy_init: object({ image: textOrAbsent, forceApplyIptables: boolOrAbsent }),
  }),
  pilot: object({
    cni: object({ enabled: boolOrAbsent, provider: textOrAbsent }),
    env: object({}),
  }),
  revision: textOrAbsent,
  sidecarInjectorWebhook: object({
    rewriteAppHTTPProbe: boolOrAbsent,
    injectedAnnotations: map(textOrAbsent),
    templates: map(textOrAbsent),
    defaultTemplates: list(textOrAbsent),
    alwaysInjectSelector: list(object({})),
    neverInjectSelector: list(object({})),
  }),
});

/** Lays values over others as Helm does: objects merge, null takes away, all else is replaced. */
export function overlayValues(
  base: JsonObject,
  own: JsonObject,
  whole: ReadonlySet<string> = new Set(),
): JsonObject {
  const result = new Map(Object.entries(base));
  for (const [name, value] of Object.entries(own)) {
    const present = result.get(name);
    if (value === null) result.delete(name);
    else if (isObject(value) && isObject(present) && !whole.has(name))
      result.set(name, overlayValues(present, value, whole));
    else result.set(name, isObject(value) ? overlayValues({}, value) : value);
  }
  return Object.fromEntries(result);
}

/**
 * Completes values by defaults: `own` is the whole object of an injector; `overlay`, when given, lies over the result
 * as a user's settings of an installation do.
 * @throws Error naming every field of a wrong type
 */
export function readValues(own: JsonObject = {}, overlay: JsonObject = {}): ReadValues {
  const errors = checkShape(own, valuesShape, 'values').concat(checkShape(overlay, valuesShape, 'values'));
  if (errors.length > 0) throw new Error(errors.join('; '));
  const raw = overlayValues(overlayValues(defaults, own, wholes), overlay);
  // A null may have taken away what code below relies on; templates still see it gone.
  const values = overlayValues(defaults, raw, wholes) as unknown as Values;
  return { values, raw };
}
