/** Schemas of selectors and targets, with Istio's rules. */
import type { Checker } from '../schema/checker.ts';
import { isLabelKey, isLabelValue } from '../schema/names.ts';
import { type Schema, list, map, object, oneOf, string } from '../schema/schema.ts';
import type { PolicyTargetReference, WorkloadMode, WorkloadSelector } from './selector.ts';

/** Labels of a selector: no wildcards, no empty keys. */
export function checkSelectorLabels(labels: Readonly<Record<string, string>>, at: Checker): void {
  const entries = Object.entries(labels);
  if (entries.length === 0) at.warn('no_effect', 'a selector without labels chooses every workload in scope');
  for (const [key, value] of entries) {
    if (key === '') at.error('invalid_label', 'label key cannot be empty', [key]);
    else if (key.includes('*') || value.includes('*')) {
      at.error('invalid_label', `wildcard is not supported in selector: "${key}=${value}"`, [key]);
    } else if (!isLabelKey(key)) at.mismatch('invalid_label', 'a label key such as "app"', key, [key]);
    else if (!isLabelValue(value))
      at.mismatch('invalid_label', 'a label value of up to 63 characters', value, [key]);
  }
}

/** `istio.type.v1beta1.WorkloadSelector`. */
export const workloadSelector: Schema<WorkloadSelector> = object<WorkloadSelector>({
  matchLabels: map(string(), { rule: checkSelectorLabels }),
});

const targets: readonly (readonly [group: string, kind: string])[] = [
  ['', 'Service'],
  ['networking.istio.io', 'ServiceEntry'],
  ['gateway.networking.k8s.io', 'Gateway'],
  ['gateway.networking.k8s.io', 'GatewayClass'],
];

/** `istio.type.v1beta1.PolicyTargetReference`. */
export const targetReference: Schema<PolicyTargetReference> = object<PolicyTargetReference>(
  {
    group: string({ maxLength: 253 }),
    kind: string({ maxLength: 63, minLength: 1, expected: 'a kind such as "Gateway"' }),
    name: string({ maxLength: 253, minLength: 1, expected: 'the name of an object' }),
    namespace: string({
      expected: 'no namespace (targets of other namespaces are not supported)',
      code: 'invalid_reference',
      test: (namespace) => namespace === '',
    }),
  },
  {
    required: ['kind', 'name'],
    rule(target, at) {
      const group = target.group === 'core' ? '' : (target.group ?? '');
      if (targets.some(([known, kind]) => known === group && kind === target.kind)) return;
      const expected = targets.map(([known, kind]) => (known === '' ? kind : `${known}/${kind}`)).join(', ');
      at.mismatch('invalid_reference', `a target of one of ${expected}`, `${group}/${target.kind}`);
    },
  },
);

/** At most 16 targets. */
export const targetReferences: Schema<readonly PolicyTargetReference[]> = list(targetReference, { max: 16 });

/** The fields of which at most one chooses what a policy is for. */
export const attachmentFields = ['selector', 'targetRef', 'targetRefs'] as const;

/** `istio.telemetry.v1alpha1.WorkloadMode`. */
export const workloadMode: Schema<WorkloadMode> = oneOf('CLIENT_AND_SERVER', 'CLIENT', 'SERVER');
