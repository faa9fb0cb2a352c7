/** Resources of the proxy and init containers. */
import { type InjectionContext, annotation, hasAnnotation } from '../context.ts';
import type { ResourceRequirements } from '../pod/types.ts';

const cpuRequest = 'sidecar.istio.io/proxyCPU';
const memoryRequest = 'sidecar.istio.io/proxyMemory';
const cpuLimit = 'sidecar.istio.io/proxyCPULimit';
const memoryLimit = 'sidecar.istio.io/proxyMemoryLimit';

function amounts(context: InjectionContext, cpu: string, memory: string): Record<string, string> {
  return {
    ...(hasAnnotation(context, cpu) ? { cpu: annotation(context, cpu) } : {}),
    ...(hasAnnotation(context, memory) ? { memory: annotation(context, memory) } : {}),
  };
}

/** The annotations' amounts; where the pod has none of the four, those of `global.proxy.resources`. */
export function proxyResources(context: InjectionContext): ResourceRequirements {
  const requests = amounts(context, cpuRequest, memoryRequest);
  const limits = amounts(context, cpuLimit, memoryLimit);
  const hasRequests = Object.keys(requests).length > 0;
  const hasLimits = Object.keys(limits).length > 0;
  if (!hasRequests && !hasLimits) return context.values.global.proxy.resources;
  return { ...(hasLimits ? { limits } : {}), ...(hasRequests ? { requests } : {}) };
}
