/** Whether a pod is injected, and why: the order in which Istio's webhook asks. */
import { type LabelSelector, isEmptySelector, matches } from './selector.ts';
import type { Pod } from './pod/types.ts';

/** What the injector is told about all pods. */
export interface InjectionPolicy {
  /** `enabled`, `disabled`; any other value keeps all pods out. */
  readonly policy: string;
  readonly neverInjectSelector: readonly LabelSelector[];
  readonly alwaysInjectSelector: readonly LabelSelector[];
}

/** Injects what does not refuse. */
export const enabledPolicy: InjectionPolicy = {
  policy: 'enabled',
  neverInjectSelector: [],
  alwaysInjectSelector: [],
};

/** A decision, and what it followed from. */
export interface Decision {
  readonly inject: boolean;
  /** `host_network`, `ignored_namespace`, `label`, `annotation`, `never_selector`, `always_selector`, `policy`. */
  readonly cause: DecisionCause;
  /** For people. */
  readonly reason: string;
}
export type DecisionCause =
  | 'host_network'
  | 'ignored_namespace'
  | 'label'
  | 'annotation'
  | 'never_selector'
  | 'always_selector'
  | 'policy';

/** Namespaces of the cluster itself: nothing in them is ever injected. */
export const ignoredNamespaces: readonly string[] = [
  'kube-system',
  'kube-public',
  'kube-node-lease',
  'local-path-storage',
];

const injectKey = 'sidecar.istio.io/inject';

function firstMatch(
  selectors: readonly LabelSelector[],
  labels: Readonly<Record<string, string>>,
): LabelSelector | undefined {
  return selectors.find((selector) => !isEmptySelector(selector) && matches(selector, labels));
}

/** Decides for a pod of a namespace. */
export function decide(pod: Pod, namespace: string, policy: InjectionPolicy): Decision {
  const { labels = {}, annotations = {} } = pod.metadata ?? {};
  if (pod.spec?.hostNetwork === true)
    return { inject: false, cause: 'host_network', reason: 'the pod uses the network of its host' };
  if (ignoredNamespaces.includes(namespace))
    return { inject: false, cause: 'ignored_namespace', reason: `namespace ${namespace} is never injected` };
  const fromLabel = Object.hasOwn(labels, injectKey);
  const wish = fromLabel ? labels[injectKey] : annotations[injectKey];
  const cause = fromLabel ? 'label' : 'annotation';
  if (wish === 'true') return { inject: true, cause, reason: `${cause} ${injectKey} is true` };
  if (wish === 'false') return { inject: false, cause, reason: `${cause} ${injectKey} is false` };
  if (policy.policy !== 'enabled' && policy.policy !== 'disabled')
    return {
      inject: false,
      cause: 'policy',
      reason: `the injector's policy ${JSON.stringify(policy.policy)} is not known`,
    };
  if (firstMatch(policy.neverInjectSelector, labels) !== undefined)
    return {
      inject: false,
      cause: 'never_selector',
      reason: 'neverInjectSelector matches the labels of the pod',
    };
  if (firstMatch(policy.alwaysInjectSelector, labels) !== undefined)
    return {
      inject: true,
      cause: 'always_selector',
      reason: 'alwaysInjectSelector matches the labels of the pod',
    };
  const inject = policy.policy === 'enabled';
  return { inject, cause: 'policy', reason: `the injector's policy is ${policy.policy}` };
}
