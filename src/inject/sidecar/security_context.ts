/** Security context of the proxy container. */
import { type InjectionContext, annotation, defaultProxyUid, interceptionMode } from '../context.ts';
import type { SecurityContext } from '../pod/types.ts';

/** `seccompProfile` of the values, when there is one. */
export function seccomp({ values }: InjectionContext): Pick<SecurityContext, 'seccompProfile'> {
  const { seccompProfile } = values.global.proxy;
  return Object.keys(seccompProfile).length === 0 ? {} : { seccompProfile };
}

/** As little as the mode of capture allows: TPROXY and low ports need root with one capability each. */
export function proxySecurityContext(context: InjectionContext): SecurityContext {
  const { values, proxyConfig, proxyUid = defaultProxyUid, proxyGid = defaultProxyUid } = context;
  if (proxyConfig.proxyMetadata['IPTABLES_TRACE_LOGGING'] === 'true') {
    return {
      allowPrivilegeEscalation: true,
      capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
      privileged: true,
      readOnlyRootFilesystem: true,
      runAsGroup: proxyGid,
      runAsNonRoot: false,
      runAsUser: 0,
      ...seccomp(context),
    };
  }
  const { privileged } = values.global.proxy;
  const added: string[] = [];
  if (interceptionMode(context) === 'TPROXY') added.push('NET_ADMIN');
  if (annotation(context, 'sidecar.istio.io/capNetBindService') === 'true') added.push('NET_BIND_SERVICE');
  const root = added.length > 0;
  return {
    allowPrivilegeEscalation: privileged,
    capabilities: { ...(root ? { add: added } : {}), drop: ['ALL'] },
    privileged,
    readOnlyRootFilesystem: true,
    runAsGroup: root ? defaultProxyUid : proxyGid,
    runAsNonRoot: !root,
    runAsUser: root ? 0 : proxyUid,
    ...seccomp(context),
  };
}
