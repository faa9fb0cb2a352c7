/** The ports of services that a proxy's own pod serves: what its inbound configuration is made of. */
import { allEndpoints, findPod } from './endpoint_index.ts';
import { hasLabels, selectorMatches } from './labels.ts';
import type { Proxy } from './proxy.ts';
import { proxyLabels } from './proxy_view.ts';
import type { PushContext } from './push_context.ts';
import type { Service, ServicePort } from './service.ts';

/** A port of a service, and the port of the pod behind it. */
export interface ServiceTarget {
  readonly service: Service;
  readonly port: ServicePort;
  readonly targetPort: number;
}

/** Ports of the services that choose the proxy's pod by selector, or list its address by hand. Oldest service first. */
export function serviceTargets(push: PushContext, proxy: Proxy): readonly ServiceTarget[] {
  const labels = proxyLabels(push, proxy);
  const pod = findPod(push.endpoints, proxy.namespace, proxy.podName, proxy.ipAddresses);
  const targets: ServiceTarget[] = [];
  for (const service of push.services.byNamespace.get(proxy.namespace) ?? []) {
    if (service.meshExternal) continue;
    if (hasLabels(service.selector)) {
      if (!selectorMatches(service.selector, labels)) continue;
      for (const port of service.ports) {
        const targetPort =
          typeof port.targetPort === 'number'
            ? port.targetPort
            : (pod?.namedPorts.get(port.targetPort) ?? proxy.namedPorts.get(port.targetPort));
        if (targetPort !== undefined) targets.push({ service, port, targetPort });
      }
      continue;
    }
    const endpoints = allEndpoints(push.endpoints, service);
    for (const port of service.ports) {
      const own = endpoints.get(port.name)?.find(({ address }) => proxy.ipAddresses.includes(address));
      if (own !== undefined) targets.push({ service, port, targetPort: own.port });
    }
  }
  return targets;
}
