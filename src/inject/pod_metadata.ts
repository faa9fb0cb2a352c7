/** Labels and annotations that injection gives a pod. */
import { type InjectionContext, annotation, applicationContainers, interceptionMode } from './context.ts';
import { appendMultusNetwork } from './multus.ts';
import { trafficCapture } from './traffic.ts';

/** Longest value of a label. */
const maxLabelLength = 63;

/** The first that is not empty. */
function firstOf(...values: readonly (string | undefined)[]): string {
  return values.find((value) => value !== undefined && value !== '') ?? '';
}

/** `service.istio.io/canonical-name` and `-revision`, from the labels that name a workload, or its owner. */
export function canonicalLabels({ metadata, owner }: InjectionContext): Record<string, string> {
  const labels = metadata.labels ?? {};
  const name = firstOf(
    labels['service.istio.io/canonical-name'],
    labels['app.kubernetes.io/name'],
    labels['app'],
    owner.name,
  );
  return {
    'service.istio.io/canonical-name': name.slice(0, maxLabelLength).replace(/-$/, ''),
    'service.istio.io/canonical-revision': firstOf(
      labels['service.istio.io/canonical-revision'],
      labels['app.kubernetes.io/version'],
      labels['version'],
      'latest',
    ),
  };
}

/** Labels of a pod with a sidecar. */
export function sidecarLabels(context: InjectionContext): Record<string, string> {
  const labels = context.metadata.labels ?? {};
  const tunnel = context.proxyConfig.proxyMetadata['ISTIO_META_ENABLE_HBONE'] === 'true';
  return {
    ...(context.compatibility === '1.8' ? { 'istio.io/rev': firstOf(context.revision, 'default') } : {}),
    'security.istio.io/tlsMode': firstOf(labels['security.istio.io/tlsMode'], 'istio'),
    ...(tunnel
      ? { 'networking.istio.io/tunnel': firstOf(labels['networking.istio.io/tunnel'], 'http') }
      : {}),
    ...canonicalLabels(context),
  };
}

/** `istio.io/rev`, and the container that kubectl takes when none is named. */
export function revisionAnnotations(context: InjectionContext): Record<string, string> {
  const result: Record<string, string> = { 'istio.io/rev': firstOf(context.revision, 'default') };
  const [container] = applicationContainers(context);
  if (container === undefined) return result;
  for (const name of [
    'kubectl.kubernetes.io/default-container',
    'kubectl.kubernetes.io/default-logs-container',
  ])
    result[name] = annotation(context, name, container);
  return result;
}

/** With the CNI plugin the annotations carry what the init container's arguments carry without it. */
function captureAnnotations(context: InjectionContext): Record<string, string> {
  const { cni } = context.values.pilot;
  if (!cni.enabled) return {};
  const traffic = trafficCapture(context);
  const result: Record<string, string> = {};
  const networks = 'k8s.v1.cni.cncf.io/networks';
  if (cni.provider === 'multus')
    result[networks] = appendMultusNetwork(annotation(context, networks), 'default/istio-cni');
  result['sidecar.istio.io/interceptionMode'] = interceptionMode(context);
  const set = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') result[name] = value;
  };
  set('traffic.sidecar.istio.io/includeOutboundIPRanges', traffic.includeOutboundIPRanges);
  set('traffic.sidecar.istio.io/excludeOutboundIPRanges', traffic.excludeOutboundIPRanges);
  set('traffic.sidecar.istio.io/includeInboundPorts', traffic.includeInboundPorts);
  result['traffic.sidecar.istio.io/excludeInboundPorts'] = traffic.excludeInboundPorts;
  if (traffic.includeOutboundPorts !== undefined)
    result['traffic.sidecar.istio.io/includeOutboundPorts'] = traffic.includeOutboundPorts;
  if (traffic.excludeOutboundPorts !== undefined)
    result['traffic.sidecar.istio.io/excludeOutboundPorts'] = traffic.excludeOutboundPorts;
  for (const name of [
    'traffic.sidecar.istio.io/kubevirtInterfaces',
    'istio.io/reroute-virtual-interfaces',
    'traffic.sidecar.istio.io/excludeInterfaces',
  ])
    set(name, annotation(context, name));
  return result;
}

/** Annotations of a pod with a sidecar. */
export function sidecarAnnotations(context: InjectionContext): Record<string, string> {
  if (context.compatibility === '1.8') return captureAnnotations(context);
  return { ...revisionAnnotations(context), ...captureAnnotations(context) };
}
