/** Why a pod is, or is not, injected: what each installed webhook makes of the labels of pod and namespace. */
import { isList, isObject } from './pod/shape.ts';
import { type LabelSelector, matches, readSelector } from './selector.ts';

type Labels = Readonly<Record<string, string>>;

/** A MutatingWebhookConfiguration, as far as it matters. */
export interface InjectorWebhook {
  readonly name: string;
  /** Label `istio.io/rev`; empty without it. */
  readonly revision: string;
  readonly selectors: readonly { readonly namespace: LabelSelector; readonly object: LabelSelector }[];
}

/** The verdict of one webhook. */
export interface WebhookVerdict {
  readonly webhook: string;
  readonly revision: string;
  readonly injected: boolean;
  readonly reason: string;
}

/** Ends the name of every webhook that injects. */
const injectorSuffix = 'sidecar-injector.istio.io';
const namespaceKey = 'istio-injection';

/**
 * Reads a MutatingWebhookConfiguration; undefined when none of its webhooks injects.
 * @throws Error when a selector is wrong
 */
export function readInjectorWebhook(value: unknown): InjectorWebhook | undefined {
  if (!isObject(value) || !isList(value['webhooks'])) return undefined;
  const { metadata, webhooks } = value;
  const selectors = webhooks
    .filter((webhook) => isObject(webhook))
    .filter(({ name }) => typeof name === 'string' && name.endsWith(injectorSuffix))
    .map(({ namespaceSelector, objectSelector }) => ({
      namespace: readSelector(namespaceSelector),
      object: readSelector(objectSelector),
    }));
  if (selectors.length === 0) return undefined;
  const { name, labels } = isObject(metadata) ? metadata : {};
  const revision = isObject(labels) ? labels['istio.io/rev'] : undefined;
  return {
    name: typeof name === 'string' ? name : '',
    revision: typeof revision === 'string' ? revision : '',
    selectors,
  };
}

/** The label by which a selector that holds was decided; empty when it holds without any. */
function decidingLabel({ matchExpressions }: LabelSelector, labels: Labels): string {
  const found = matchExpressions.find(
    ({ key, operator }) => (operator === 'In' || operator === 'NotIn') && Object.hasOwn(labels, key),
  );
  return found === undefined ? '' : `${found.key}=${labels[found.key] ?? ''}`;
}

/** A label of the pod that keeps a webhook away which wants its namespace. */
function preventingLabel({ matchExpressions }: LabelSelector, labels: Labels): string | undefined {
  const found = matchExpressions.find(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (value === undefined) return false;
    return operator === 'DoesNotExist' || (operator === 'NotIn' && values.includes(value));
  });
  return found === undefined ? undefined : `${found.key}=${labels[found.key] ?? ''}`;
}

/** A selector that installations without a default revision use: it holds for nothing. */
function neverMatches({ matchLabels }: LabelSelector): boolean {
  return matchLabels['istio.io/deactivated'] === 'never-match';
}

function wantedLabels(selector: LabelSelector): string[] {
  return selector.matchExpressions
    .filter(({ operator }) => operator === 'In')
    .flatMap(({ key, values }) => values.map((value) => `${key}=${value}`));
}

function verdict(
  { selectors }: InjectorWebhook,
  podLabels: Labels,
  namespaceLabels: Labels,
): { injected: boolean; reason: string } {
  for (const { namespace, object } of selectors) {
    const inNamespace = matches(namespace, namespaceLabels);
    const inObject = matches(object, podLabels);
    if (inNamespace && inObject) {
      const reason = matchReason(decidingLabel(namespace, namespaceLabels), decidingLabel(object, podLabels));
      return { injected: true, reason };
    }
    if (inNamespace) {
      const label = preventingLabel(object, podLabels);
      if (label !== undefined)
        return { injected: false, reason: `Pod has ${label} label, preventing injection` };
    } else if (inObject) {
      const value = namespaceLabels[namespaceKey];
      if (value !== undefined && value !== 'enabled')
        return {
          injected: false,
          reason: `Namespace has ${namespaceKey}=${value} label, preventing injection`,
        };
    }
  }
  if (selectors.some(({ namespace, object }) => neverMatches(namespace) && neverMatches(object)))
    return { injected: false, reason: 'The injection webhook is deactivated, and will never match labels.' };
  const wanted = (part: 'namespace' | 'object'): string =>
    selectors.flatMap((selector) => wantedLabels(selector[part])).join(', ');
  return {
    injected: false,
    reason: `No matching namespace labels (${wanted('namespace')}) or pod labels (${wanted('object')})`,
  };
}

function matchReason(namespaceLabel: string, podLabel: string): string {
  if (namespaceLabel !== '' && podLabel !== '')
    return `Namespace label ${namespaceLabel} matches, and pod label ${podLabel} matches`;
  if (podLabel !== '') return `Pod label ${podLabel} matches`;
  const everywhere = 'Automatic injection is enabled in all namespaces';
  if (namespaceLabel === '') return `${everywhere}.`;
  const automatic = namespaceLabel.startsWith('kubernetes.io/metadata.name=') ? ` (${everywhere}).` : '';
  return `Namespace label ${namespaceLabel} matches${automatic}`;
}

/** One verdict per webhook, in their order. */
export function checkInject(
  webhooks: readonly InjectorWebhook[],
  podLabels: Labels,
  namespaceLabels: Labels,
): WebhookVerdict[] {
  return webhooks.map((webhook) => ({
    webhook: webhook.name,
    revision: webhook.revision,
    ...verdict(webhook, podLabels, namespaceLabels),
  }));
}
