/**
 * The injected pod. One pure function for `kube-inject` and the webhook: templates give parts of a pod, which are laid
 * over the user's, and a few steps that need the whole pod follow.
 */
import type { EffectiveMeshConfig, EffectiveProxyConfig } from '#config/mesh_config/defaults.ts';
import { mergeProxyConfig } from '#config/mesh_config/defaults.ts';
import { checkAnnotations } from './annotations.ts';
import { clusterVariables, withClusterVariables } from './cluster_info.ts';
import { type Compatibility, type InjectionContext, type Owner, interceptionMode } from './context.ts';
import { InjectionError } from './injection_error.ts';
import {
  addProxyEnv,
  changeProxy,
  containerLists,
  findContainer,
  findProxy,
  overlayPod,
} from './overlay/containers.ts';
import { reorderContainers } from './overlay/reorder.ts';
import { moveProxyToInit, reapplyUserContainers, removeStale } from './overlay/user_containers.ts';
import { canonical } from './pod/canonical.ts';
import { checkShape } from './pod/check.ts';
import { podShape } from './pod/pod_shape.ts';
import type { Json } from './pod/shape.ts';
import type { Pod } from './pod/types.ts';
import { readStatus, statusAnnotation, statusText, stripInjection } from './previous_injection.ts';
import { rewritePodProbes, rewritesProbes } from './probes.ts';
import { applyPrometheusMerge, checkPrometheusAnnotations, securePort } from './prometheus.ts';
import { readProxyConfigAnnotation } from './proxy_config_annotation.ts';
import { type TemplateChoice, chosenTemplates } from './templates/templates.ts';
import type { ProxyConfigs } from './proxy_configs.ts';
import type { ReadValues } from './values.ts';

/** What the injector is told, for all pods alike. */
export interface InjectorSettings {
  readonly mesh: EffectiveMeshConfig;
  readonly values: ReadValues;
  readonly choice: TemplateChoice;
  /** Empty: `default`. */
  readonly revision: string;
  readonly nativeSidecars: boolean;
  readonly compliancePolicy?: string;
  /** ProxyConfig objects of the cluster. Default none. */
  readonly proxyConfigs?: ProxyConfigs;
  /** Default `current`. */
  readonly compatibility?: Compatibility;
}

/** One pod to inject. */
export interface PodRequest {
  readonly pod: Pod;
  readonly owner: Owner;
  /** Variables of the webhook's URL. Default none. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Prescribed by the platform. */
  readonly proxyUid?: number;
  readonly proxyGid?: number;
}

function contextOf({ pod, owner, ...request }: PodRequest, settings: InjectorSettings): InjectionContext {
  const { mesh, values, revision, nativeSidecars, compliancePolicy, compatibility = 'current' } = settings;
  const { metadata = {}, spec = {} } = stripInjection(pod, mesh.defaultConfig.statusPort);
  const namespace = (metadata.namespace ?? owner.namespace) || 'default';
  const { base, workload } = settings.proxyConfigs?.find(
    mesh.defaultConfig,
    namespace,
    metadata.labels ?? {},
  ) ?? { base: mesh.defaultConfig };
  const own = readProxyConfigAnnotation(metadata.annotations ?? {});
  return {
    metadata: owner.namespace === '' ? metadata : { namespace: owner.namespace, ...metadata },
    spec,
    owner,
    mesh,
    proxyConfig: mergeProxyConfig(mergeProxyConfig(base, own), workload),
    values: values.values,
    rawValues: values.raw,
    revision,
    nativeSidecars,
    ...(request.proxyUid === undefined ? {} : { proxyUid: request.proxyUid }),
    ...(request.proxyGid === undefined ? {} : { proxyGid: request.proxyGid }),
    ...(compliancePolicy === undefined || compliancePolicy === '' ? {} : { compliancePolicy }),
    compatibility,
  };
}

/** Lays the templates over the pod, and over nothing, which tells what they add. */
function applyTemplates(
  pod: Pod,
  context: InjectionContext,
  choice: TemplateChoice,
): { readonly original: Pod; readonly merged: Pod; readonly added: Pod } {
  const overlays = chosenTemplates(choice, context.metadata.annotations ?? {}).map(([name, template]) => {
    try {
      return template(context);
    } catch (error) {
      throw new InjectionError([
        `template ${name}: ${error instanceof Error ? error.message : String(error)}`,
      ]);
    }
  });
  const added = overlays.reduce(overlayPod, {} as Pod);
  const native = findContainer(added, 'initContainers', 'istio-proxy') !== undefined;
  const original = native ? moveProxyToInit(pod) : pod;
  return { original, merged: overlays.reduce(overlayPod, removeStale(original, added)), added };
}

/** The agent's port for turned probes; a status port of 0 switches only the proxy's own probe off. */
function agentPort(pod: Pod, { statusPort }: EffectiveProxyConfig): number {
  const own = Number(pod.metadata?.annotations?.['status.sidecar.istio.io/port'] ?? statusPort);
  return own === 0 ? statusPort : own;
}

/** Whether the pod has an init container of the sidecar's name, and the sidecar comes as a container. */
function isProxyTwice(pod: Pod, added: Pod): boolean {
  return (
    findContainer(pod, 'initContainers', 'istio-proxy') !== undefined &&
    findContainer(added, 'containers', 'istio-proxy') !== undefined &&
    findContainer(added, 'initContainers', 'istio-proxy') === undefined
  );
}

/** Containers are told apart by their names. */
function checkNames({ spec = {} }: Pod): string[] {
  return containerLists.flatMap((list) =>
    (spec[list] ?? []).flatMap(({ name = '' }, index) =>
      name === '' ? [`spec.${list}[${index}].name: required`] : [],
    ),
  );
}

/**
 * The pod with its proxy.
 * @throws InjectionError when the pod's annotations or a template are wrong
 */
export function injectPod(request: PodRequest, settings: InjectorSettings): Pod {
  const wrong = checkShape(request.pod as unknown as Json, podShape);
  if (wrong.length > 0) throw new InjectionError(wrong);
  const pod = canonical(request.pod as unknown as Json, podShape) as unknown as Pod;
  const annotations = pod.metadata?.annotations ?? {};
  const problems = [...checkNames(pod), ...checkAnnotations(annotations)];
  if (problems.length > 0) throw new InjectionError(problems);
  const context = contextOf({ ...request, pod }, settings);
  const { mesh, choice, values } = settings;
  const { original, merged, added } = applyTemplates(pod, context, choice);
  const injectedBefore = readStatus(pod) !== undefined;
  if (!injectedBefore && isProxyTwice(pod, added))
    throw new InjectionError([
      'spec.initContainers: istio-proxy: the sidecar has this name and is injected among the containers; ' +
        'annotation sidecar.istio.io/nativeSidecar: "true" makes it the init container',
    ]);
  const hasProxy = findProxy(merged) !== undefined;
  const prometheus = checkPrometheusAnnotations(annotations, hasProxy);
  if (prometheus.length > 0 && !injectedBefore) throw new InjectionError(prometheus);

  let result = reapplyUserContainers(merged, original, added, interceptionMode(context) === 'TPROXY');
  const variables = clusterVariables(request.variables ?? {}, values.values, context.metadata.labels ?? {});
  result = withClusterVariables(result, variables);
  result = applyPrometheusMerge(result, mesh, addProxyEnv);
  if (
    hasProxy &&
    rewritesProbes(
      result.metadata?.annotations ?? {},
      values.values.sidecarInjectorWebhook.rewriteAppHTTPProbe,
    )
  )
    result = rewritePodProbes(result, agentPort(pod, mesh.defaultConfig), injectedBefore, changeProxy);
  result = {
    ...result,
    metadata: {
      ...result.metadata,
      annotations: {
        ...securePort(result.metadata?.annotations ?? {}, findProxy(result)),
        [statusAnnotation]: statusText(added, settings.revision),
        ...values.values.sidecarInjectorWebhook.injectedAnnotations,
      },
    },
  };
  const { proxyConfig } = context;
  const hold =
    proxyConfig.holdApplicationUntilProxyStarts === true ||
    values.values.global.proxy.holdApplicationUntilProxyStarts;
  return canonical(reorderContainers(result, hold) as unknown as Json, podShape) as unknown as Pod;
}
