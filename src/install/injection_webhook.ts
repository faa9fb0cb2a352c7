/** The MutatingWebhookConfiguration that sends pods to the injector, with Istio's selectors. */
import type { Manifest } from './manifests.ts';

/** Of which control plane, and where it is. */
export interface WebhookOptions {
  /** Of the control plane. */
  readonly namespace: string;
  /** `default`, or the name of the revision. */
  readonly revision: string;
  /** Name of the control plane's Service. */
  readonly service: string;
  readonly labels: Readonly<Record<string, string>>;
}

const inject = 'sidecar.istio.io/inject';
const injection = 'istio-injection';
const rev = 'istio.io/rev';

type Expression = Readonly<Record<string, unknown>>;
const absent = (key: string): Expression => ({ key, operator: 'DoesNotExist' });
const among = (key: string, value: string): Expression => ({ key, operator: 'In', values: [value] });
const notRefused: Expression = { key: inject, operator: 'NotIn', values: ['false'] };

/** Pairs of selectors, of namespace and pod: at most one of them holds for a pod, so it is injected once. */
function pairs(revision: string): (readonly [prefix: string, namespace: Expression[], pod: Expression[]])[] {
  const ofRevision = [
    ['rev.namespace.', [among(rev, revision), absent(injection)], [notRefused]],
    ['rev.object.', [absent(rev), absent(injection)], [notRefused, among(rev, revision)]],
  ] as const;
  // Labels that name no revision mean the default one.
  const ofDefault = [
    ['namespace.', [among(injection, 'enabled')], [notRefused]],
    ['object.', [absent(injection), absent(rev)], [among(inject, 'true'), absent(rev)]],
  ] as const;
  return [...ofRevision, ...(revision === 'default' ? ofDefault : [])].map(([prefix, namespace, pod]) => [
    prefix,
    [...namespace],
    [...pod],
  ]);
}

/**
 * The webhooks of a revision. While no control plane answers, pods that want a sidecar are refused and others are
 * created. The control plane writes `caBundle`.
 */
export function injectionWebhook({ namespace, revision, service, labels }: WebhookOptions): Manifest {
  const suffix = revision === 'default' ? '' : `-${revision}`;
  const place = namespace === 'istio-system' ? '' : `-${namespace}`;
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: {
      name: `istio-sidecar-injector${suffix}${place}`,
      labels: { ...labels, app: 'sidecar-injector', [rev]: revision },
    },
    webhooks: pairs(revision).map(([prefix, namespaces, pods]) => ({
      name: `${prefix}sidecar-injector.istio.io`,
      clientConfig: { service: { name: service, namespace, path: '/inject', port: 443 } },
      sideEffects: 'None',
      rules: [
        { operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], scope: '*' },
      ],
      failurePolicy: 'Fail',
      reinvocationPolicy: 'Never',
      admissionReviewVersions: ['v1'],
      namespaceSelector: { matchExpressions: namespaces },
      objectSelector: { matchExpressions: pods },
    })),
  };
}
