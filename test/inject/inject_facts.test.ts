/** Suite `inject-facts`: small decisions, through the webhook's function where it shows them, else through their own. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { checkAnnotations } from '#inject/annotations.ts';
import { pathVariables } from '#inject/cluster_info.ts';
import { appendMultusNetwork } from '#inject/multus.ts';
import { nativeSidecars } from '#inject/native_sidecars.ts';
import { serviceAttributes } from '#inject/otel_resource_attributes.ts';
import { rewritesProbes } from '#inject/probes.ts';
import {
  checkPrometheusAnnotations,
  mergesMetrics,
  scrapeConfiguration,
  securePort,
} from '#inject/prometheus.ts';
import { proxyImage } from '#inject/proxy_image.ts';
import { reviewPod } from '#inject/review.ts';
import { readSettings } from '#inject/settings.ts';
import { readValues } from '#inject/values.ts';
import { type Json, cases, listed, missing } from './cases.ts';
import { notPassing } from './not_passing.ts';

interface Case {
  readonly name: string;
  readonly group: string;
  readonly params: Json;
  readonly expectedResult: unknown;
}

type Texts = Readonly<Record<string, string>>;

function injects(namespace: string, metadata: Json, spec: Json, config: Json = {}): boolean {
  const { settings, policy } = readSettings({
    injectConfig: JSON.stringify({ policy: 'enabled', ...config }),
  });
  const object = { metadata, spec: { containers: [{ name: 'app', image: 'app' }], ...spec } };
  const review = {
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: { uid: 'u', namespace, object },
  };
  const { outcome } = reviewPod(review, '/inject', { injector: settings, policy });
  assert.ok(outcome === 'injected' || outcome === 'skipped');
  return outcome === 'injected';
}

/** How each group is answered. */
const groups: Readonly<Record<string, (params: Json) => unknown>> = {
  decision({
    policy,
    annotations,
    labels,
    alwaysInjectSelector,
    neverInjectSelector,
    hostNetwork,
    namespace,
  }) {
    const config = { policy, alwaysInjectSelector, neverInjectSelector };
    return injects(String(namespace), { annotations, labels } as Json, { hostNetwork }, config);
  },
  'ignored-namespace': ({ namespace }) => ({
    mayInject: injects(String(namespace), { labels: { 'sidecar.istio.io/inject': 'true' } }, {}),
  }),
  'path-env': ({ requestPath }) => pathVariables(String(requestPath)),
  'proxy-image'({ hub, tag, proxyConfigImageType, annotation }) {
    const { values } = readValues({ global: { hub: String(hub), tag: tag as string } });
    return proxyImage(values, (proxyConfigImageType as string | null) ?? undefined, annotation as Texts);
  },
  'multus-network': ({ existing, network }) => appendMultusNetwork(String(existing), String(network)),
  'otel-resource-attributes': (params) =>
    serviceAttributes(params as unknown as Parameters<typeof serviceAttributes>[0]),
  'prometheus-merge': ({ meshEnablePrometheusMerge, annotations }) =>
    mergesMetrics(meshEnablePrometheusMerge as boolean, annotations as Texts),
  'prometheus-scrape'({ annotations }) {
    const { scrape: _, ...rest } = scrapeConfiguration(annotations as Texts);
    return rest;
  },
  'prometheus-annotations': ({ podAnnotations, containers }) =>
    checkPrometheusAnnotations(podAnnotations as Texts, (containers as string[]).includes('istio-proxy')),
  'prometheus-secure-port'({ proxyEnv, podAnnotations, hasProxyContainer }) {
    const env = Object.entries(proxyEnv as Texts).map(([name, value]) => ({ name, value }));
    const proxy = hasProxyContainer === true ? { name: 'istio-proxy', env } : undefined;
    const name = 'prometheus.istio.io/secure-port';
    return { [name]: securePort(podAnnotations as Texts, proxy)[name] ?? null };
  },
  'native-sidecar-detection': ({ ENABLE_NATIVE_SIDECARS, kubeletVersions }) =>
    nativeSidecars(ENABLE_NATIVE_SIDECARS as string, kubeletVersions as string[]),
  'resource-annotation-validity': ({ value }) =>
    checkAnnotations({ 'sidecar.istio.io/proxyCPU': String(value) }).length === 0,
  'rewrite-probes': ({ rewriteAppHTTPProbe, annotations }) =>
    rewritesProbes(annotations as Texts, rewriteAppHTTPProbe as boolean),
};

const all = cases<Case>('inject-facts');
if (missing) test('suite inject-facts', { skip: missing });

describe('suite inject-facts', () => {
  for (const { name, group, params, expectedResult } of all)
    test(name, () =>
      listed(notPassing.get(`inject-facts/${name}`), () => {
        const answer = groups[group];
        assert.ok(answer !== undefined, `no answer for group ${group}`);
        const actual = answer(params);
        if (group !== 'prometheus-annotations') return assert.deepEqual(actual, expectedResult);
        const errors = actual as string[];
        const { errorContains } = expectedResult as { errorContains: string[] };
        if (errorContains.length === 0) assert.deepEqual(errors, []);
        for (const part of errorContains)
          assert.ok(errors.join('; ').includes(part), `${errors.join('; ')}: no ${part}`);
      }),
    );
});
