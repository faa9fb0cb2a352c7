/** Earlier releases that a pod can be made for. */
import type { Compatibility } from './context.ts';
import type { JsonObject } from './pod/shape.ts';
import type { ProxyConfig } from '#config/mesh_config/proxy_config.ts';

/** Versions of `--compatibility-version`. */
export const compatibilityVersions: readonly Compatibility[] = ['current', '1.8'];

/** Values as Istio 1.8.1 installed them by default, as far as they differ. */
export const values18: JsonObject = {
  global: {
    hub: 'docker.io/istio',
    tag: '1.8.1',
    imagePullPolicy: 'Always',
    proxy: {
      readinessInitialDelaySeconds: 1,
      readinessPeriodSeconds: 2,
      readinessFailureThreshold: 30,
      resources: { limits: { cpu: '2000m', memory: '1024Mi' }, requests: { cpu: '10m', memory: '40Mi' } },
    },
  },
};

/** ProxyConfig as Istio 1.8.1 installed it by default, as far as it differs. */
export const proxyConfig18: ProxyConfig = { concurrency: 2, proxyMetadata: { DNS_AGENT: '' } };
