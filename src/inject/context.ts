/** What the injected pod is made from. */
import type { EffectiveMeshConfig, EffectiveProxyConfig } from '#config/mesh_config/defaults.ts';
import type { InterceptionMode } from '#config/mesh_config/proxy_config.ts';
import type { JsonObject } from './pod/shape.ts';
import type { ObjectMeta, PodSpec } from './pod/types.ts';
import type { Values } from './values.ts';

/** The object that makes the pod: its Deployment, Job and so on, or the pod itself. */
export interface Owner {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
}

/** Which Istio the pod is made for; 1.8 is the release with `JWT_POLICY` and `--serviceCluster`. */
export type Compatibility = 'current' | '1.8';

/** Everything that templates may use. */
export interface InjectionContext {
  /** Of the pod without what an earlier injection added. */
  readonly metadata: ObjectMeta;
  readonly spec: PodSpec;
  readonly owner: Owner;
  readonly mesh: EffectiveMeshConfig;
  /** Mesh, namespace and pod (`proxy.istio.io/config`) in one. */
  readonly proxyConfig: EffectiveProxyConfig;
  readonly values: Values;
  readonly rawValues: JsonObject;
  /** Empty: `default`. */
  readonly revision: string;
  readonly nativeSidecars: boolean;
  /** User and group of the proxy when the platform prescribes them (OpenShift). Absent: 1337. */
  readonly proxyUid?: number;
  readonly proxyGid?: number;
  /** `fips-140-2`, `fips-140-3`, `pqc`. Absent: none. */
  readonly compliancePolicy?: string;
  readonly compatibility: Compatibility;
}

/** User and group of the proxy where nothing else is said. */
export const defaultProxyUid = 1337;

/** An annotation of the pod, or the value that stands in for it. An empty annotation counts. */
export function annotation(context: InjectionContext, name: string, fallback: string | number = ''): string {
  const annotations = context.metadata.annotations ?? {};
  return String(Object.hasOwn(annotations, name) ? (annotations[name] ?? fallback) : fallback);
}

/** Whether the pod has an annotation, empty or not. */
export function hasAnnotation({ metadata }: InjectionContext, name: string): boolean {
  return Object.hasOwn(metadata.annotations ?? {}, name);
}

/** How inbound traffic reaches the proxy. */
export function interceptionMode(context: InjectionContext): InterceptionMode {
  return annotation(
    context,
    'sidecar.istio.io/interceptionMode',
    context.proxyConfig.interceptionMode,
  ) as InterceptionMode;
}

/** Whether the proxy is an init container that stays (Kubernetes 1.29 and later). */
export function isNativeSidecar(context: InjectionContext): boolean {
  const own = context.metadata.annotations?.['sidecar.istio.io/nativeSidecar'] ?? '';
  return own === '' ? context.nativeSidecars : own !== 'false';
}

/** Whether the application waits for the proxy. */
export function holdsApplication(context: InjectionContext): boolean {
  const { proxyConfig, values } = context;
  const wanted =
    proxyConfig.holdApplicationUntilProxyStarts === true ||
    values.global.proxy.holdApplicationUntilProxyStarts;
  return wanted && !isNativeSidecar(context);
}

/** The agent's port; 0: no probe of the proxy. */
export function statusPort(context: InjectionContext): string {
  return annotation(context, 'status.sidecar.istio.io/port', context.values.global.proxy.statusPort);
}

/** Names of the application's containers. */
export function applicationContainers({ spec }: InjectionContext): readonly string[] {
  return (spec.containers ?? []).map(({ name }) => name).filter((name) => name !== 'istio-proxy');
}

/** The mesh's trust domain; empty when the mesh has none. */
export function trustDomain({ mesh, values }: InjectionContext): string {
  return mesh.trustDomain === '' ? values.global.trustDomain : mesh.trustDomain;
}
