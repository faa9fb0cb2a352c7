/** `istio-init`, which sets the rules of capture, or `istio-validation`, which checks those of the CNI plugin. */
import { type InjectionContext, defaultProxyUid, interceptionMode } from '../context.ts';
import type { Container, SecurityContext } from '../pod/types.ts';
import { initImage } from '../proxy_image.ts';
import { proxyMetadata } from '../sidecar/env.ts';
import { pullPolicy } from '../sidecar/pull_policy.ts';
import { proxyResources } from '../sidecar/resources.ts';
import { seccomp } from '../sidecar/security_context.ts';
import { initArgs } from './args.ts';

function securityContext(context: InjectionContext): SecurityContext {
  const { values, proxyUid = defaultProxyUid, proxyGid = defaultProxyUid } = context;
  const { privileged } = values.global.proxy;
  const checksOnly = values.pilot.cni.enabled;
  return {
    allowPrivilegeEscalation: privileged,
    capabilities: checksOnly ? { drop: ['ALL'] } : { add: ['NET_ADMIN', 'NET_RAW'], drop: ['ALL'] },
    privileged,
    readOnlyRootFilesystem: checksOnly,
    runAsGroup: checksOnly ? proxyGid : 0,
    runAsNonRoot: checksOnly,
    runAsUser: checksOnly ? proxyUid : 0,
    ...seccomp(context),
  };
}

/** The container, or none when nothing is captured. */
export function initContainer(context: InjectionContext): Container[] {
  if (interceptionMode(context) === 'NONE') return [];
  const env = proxyMetadata(context);
  return [
    {
      args: initArgs(context),
      ...(env.length > 0 ? { env } : {}),
      image: initImage(context),
      ...pullPolicy(context),
      name: context.values.pilot.cni.enabled ? 'istio-validation' : 'istio-init',
      resources: proxyResources(context),
      securityContext: securityContext(context),
    },
  ];
}
