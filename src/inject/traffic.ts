/** Which traffic of the pod is captured: annotations of the pod over the injector's values. */
import { type InjectionContext, annotation, hasAnnotation, statusPort } from './context.ts';

const prefix = 'traffic.sidecar.istio.io/';
/** Ports of the proxy that are never captured. */
const ownPorts = '15090,15021';

/** Capture of one pod, each as `istio-iptables` reads it; undefined: the flag is left out. */
export interface TrafficCapture {
  readonly includeOutboundIPRanges: string;
  readonly excludeOutboundIPRanges: string;
  readonly includeInboundPorts: string;
  readonly excludeInboundPorts: string;
  readonly includeOutboundPorts: string | undefined;
  readonly excludeOutboundPorts: string | undefined;
  readonly rerouteVirtualInterfaces: string | undefined;
  readonly excludeInterfaces: string | undefined;
}

/** The user's excluded ports and the agent's own, which the kubelet must reach. */
function excludedInboundPorts(context: InjectionContext): string {
  const own = annotation(
    context,
    `${prefix}excludeInboundPorts`,
    context.values.global.proxy.excludeInboundPorts,
  );
  const agent = statusPort(context);
  const ports = own.split(',').map((port) => port.trim());
  if (agent === '' || agent === '0' || ports.includes(agent)) return own;
  return own === '' ? agent : `${own},${agent}`;
}

function optional(context: InjectionContext, name: string, fallback = ''): string | undefined {
  return hasAnnotation(context, name) || fallback !== '' ? annotation(context, name, fallback) : undefined;
}

/** Reads annotations and values. */
export function trafficCapture(context: InjectionContext): TrafficCapture {
  const { proxy } = context.values.global;
  const virtual = 'istio.io/reroute-virtual-interfaces';
  return {
    includeOutboundIPRanges: annotation(context, `${prefix}includeOutboundIPRanges`, proxy.includeIPRanges),
    excludeOutboundIPRanges: annotation(context, `${prefix}excludeOutboundIPRanges`, proxy.excludeIPRanges),
    includeInboundPorts: annotation(context, `${prefix}includeInboundPorts`, proxy.includeInboundPorts),
    excludeInboundPorts: excludedInboundPorts(context),
    includeOutboundPorts: optional(context, `${prefix}includeOutboundPorts`, proxy.includeOutboundPorts),
    excludeOutboundPorts: optional(context, `${prefix}excludeOutboundPorts`, proxy.excludeOutboundPorts),
    rerouteVirtualInterfaces: optional(
      context,
      hasAnnotation(context, virtual) ? virtual : `${prefix}kubevirtInterfaces`,
    ),
    excludeInterfaces: optional(context, `${prefix}excludeInterfaces`),
  };
}

/** Value of `-d`: the proxy's ports, then those of `excludedInboundPorts`. */
export function uncapturedPorts({ excludeInboundPorts }: TrafficCapture): string {
  return excludeInboundPorts === '' ? ownPorts : `${ownPorts},${excludeInboundPorts}`;
}
