/** Template `gateway`: the user's own `istio-proxy` container becomes a gateway; nothing is captured. */
import type { InjectionContext } from '../context.ts';
import { canonicalLabels, revisionAnnotations } from '../pod_metadata.ts';
import type { Json, JsonObject } from '../pod/shape.ts';
import type { PodOverlay, PodSpec } from '../pod/types.ts';
import { sidecarImage } from '../proxy_image.ts';
import { proxyArgs } from '../sidecar/args.ts';
import { proxyEnv } from '../sidecar/env.ts';
import { proxyProbes } from '../sidecar/probes.ts';
import { pullPolicy } from '../sidecar/pull_policy.ts';
import { sidecarMounts, sidecarVolumes } from '../volumes.ts';
import { pullSecrets } from './sidecar.ts';

/** Lets a gateway that is not root listen on ports below 1024. */
const lowPorts: Json = { sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }] };

function podSecurity(values: JsonObject): NonNullable<PodSpec['securityContext']> {
  const gateways = values['gateways'];
  const own =
    typeof gateways === 'object' && gateways !== null
      ? (gateways as JsonObject)['securityContext']
      : undefined;
  const given = typeof own === 'object' && own !== null && Object.keys(own).length > 0;
  return (given ? own : lowPorts) as NonNullable<PodSpec['securityContext']>;
}

/** The overlay. */
export function gatewayTemplate(context: InjectionContext): PodOverlay {
  const { proxyUid = 1337, proxyGid = 1337 } = context;
  const { lifecycle } = context.values.global.proxy;
  const { readinessProbe } = proxyProbes(context);
  return {
    metadata: { annotations: revisionAnnotations(context), labels: canonicalLabels(context) },
    spec: {
      containers: [
        {
          args: proxyArgs(context, 'router'),
          env: proxyEnv(context),
          image: sidecarImage(context),
          ...pullPolicy(context),
          ...(lifecycle === undefined ? {} : { lifecycle }),
          name: 'istio-proxy',
          ports: [{ containerPort: 15_090, name: 'http-envoy-prom', protocol: 'TCP' }],
          ...(readinessProbe === undefined ? {} : { readinessProbe }),
          securityContext: {
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            privileged: false,
            readOnlyRootFilesystem: true,
            runAsGroup: proxyGid,
            runAsNonRoot: true,
            runAsUser: proxyUid,
          },
          volumeMounts: sidecarMounts(context),
        },
      ],
      securityContext: podSecurity(context.rawValues),
      volumes: sidecarVolumes(context),
      ...pullSecrets(context),
    },
  };
}
