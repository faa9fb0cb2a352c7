/** Arguments of the container that sets, or with the CNI plugin only checks, the rules of capture. */
import { type InjectionContext, annotation, defaultProxyUid, interceptionMode } from '../context.ts';
import { trafficCapture, uncapturedPorts } from '../traffic.ts';

function flag(name: string, value: string | undefined): string[] {
  return value === undefined ? [] : [name, value];
}

/** `istio-iptables` with its flags, in Istio's order. */
export function initArgs(context: InjectionContext): string[] {
  const { mesh, values, proxyUid = defaultProxyUid, compatibility } = context;
  const mode = interceptionMode(context);
  const traffic = trafficCapture(context);
  const { cni } = values.pilot;
  const args = [
    'istio-iptables',
    ...flag('-p', String(mesh.proxyListenPort)),
    ...flag('-z', String(mesh.proxyInboundListenPort)),
    // Under TPROXY the proxy runs as root; its group tells its traffic apart.
    ...flag('-u', String(mode === 'TPROXY' ? defaultProxyUid : proxyUid)),
    ...flag('-m', mode),
    ...flag('-i', traffic.includeOutboundIPRanges),
    ...flag('-x', traffic.excludeOutboundIPRanges),
    ...flag('-b', traffic.includeInboundPorts),
    ...flag('-d', uncapturedPorts(traffic)),
    ...flag('-q', traffic.includeOutboundPorts),
    ...flag('-o', traffic.excludeOutboundPorts),
    ...flag('-k', traffic.rerouteVirtualInterfaces),
    ...flag('-c', traffic.excludeInterfaces),
  ];
  if (compatibility !== '1.8') {
    const level = annotation(context, 'sidecar.istio.io/agentLogLevel', values.global.logging.level);
    args.push(`--log_output_level=${level}`);
    if (values.global.logAsJson) args.push('--log_as_json');
  }
  if (cni.enabled) args.push('--run-validation', '--skip-rule-apply');
  else if (values.global.proxy_init.forceApplyIptables) args.push('--force-apply');
  if (values.global.nativeNftables) args.push('--native-nftables');
  return args;
}
