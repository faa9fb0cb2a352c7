/** Template `sidecar`: the proxy beside the application, and the container that captures the pod's traffic. */
import { type InjectionContext, isNativeSidecar } from '../context.ts';
import { initContainer } from '../init_container/init_container.ts';
import { sidecarAnnotations, sidecarLabels } from '../pod_metadata.ts';
import type { Container, PodOverlay } from '../pod/types.ts';
import { sidecarImage } from '../proxy_image.ts';
import { proxyArgs } from '../sidecar/args.ts';
import { proxyEnv } from '../sidecar/env.ts';
import { proxyLifecycle } from '../sidecar/lifecycle.ts';
import { proxyProbes } from '../sidecar/probes.ts';
import { pullPolicy } from '../sidecar/pull_policy.ts';
import { proxyResources } from '../sidecar/resources.ts';
import { proxySecurityContext } from '../sidecar/security_context.ts';
import { sidecarMounts, sidecarVolumes } from '../volumes.ts';
import { renderValue } from './render.ts';
import { templateData } from './template_data.ts';

/** The port at which Prometheus finds the proxy's own metrics. */
const metricsPort = { containerPort: 15_090, name: 'http-envoy-prom', protocol: 'TCP' } as const;

/** Container `istio-proxy`. */
function proxyContainer(context: InjectionContext): Container {
  const { readinessProbe, startupProbe } = proxyProbes(context);
  return {
    args: proxyArgs(context),
    env: proxyEnv(context),
    image: sidecarImage(context),
    ...pullPolicy(context),
    ...proxyLifecycle(context),
    name: 'istio-proxy',
    ports: [metricsPort],
    ...(readinessProbe === undefined ? {} : { readinessProbe }),
    resources: proxyResources(context),
    ...(isNativeSidecar(context) ? { restartPolicy: 'Always' } : {}),
    securityContext: proxySecurityContext(context),
    ...(startupProbe === undefined ? {} : { startupProbe }),
    volumeMounts: sidecarMounts(context),
  };
}

/** Secrets for pulling the proxy's image. */
export function pullSecrets({ values }: InjectionContext): {
  readonly imagePullSecrets?: readonly { name: string }[];
} {
  const names = values.global.imagePullSecrets;
  return names.length === 0 ? {} : { imagePullSecrets: names.map((name) => ({ name })) };
}

/** Further search domains for names (`global.podDNSSearchNamespaces`). */
function dnsConfig(context: InjectionContext): {
  readonly dnsConfig?: { readonly searches: readonly string[] };
} {
  const searches = context.values.global.podDNSSearchNamespaces.map((source) =>
    renderValue(source, 'podDNSSearchNamespaces', () => templateData(context)),
  );
  return searches.length === 0 ? {} : { dnsConfig: { searches } };
}

/** The overlay. */
export function sidecarTemplate(context: InjectionContext): PodOverlay {
  const proxy = proxyContainer(context);
  const init = initContainer(context);
  return {
    metadata: { annotations: sidecarAnnotations(context), labels: sidecarLabels(context) },
    spec: {
      ...(isNativeSidecar(context)
        ? { initContainers: [...init, proxy] }
        : { containers: [proxy], initContainers: init }),
      ...(context.compatibility === '1.8' ? { securityContext: { fsGroup: 1337 } } : {}),
      volumes: sidecarVolumes(context),
      ...dnsConfig(context),
      ...pullSecrets(context),
    },
  };
}
