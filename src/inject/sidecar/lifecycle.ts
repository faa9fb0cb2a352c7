/** Hooks of the proxy container. */
import { type InjectionContext, holdsApplication, isNativeSidecar, statusPort } from '../context.ts';
import type { Lifecycle } from '../pod/types.ts';

/** Of the values; or the wait that holds the application; or, for native sidecars, the start of draining. */
export function proxyLifecycle(context: InjectionContext): { readonly lifecycle?: Lifecycle } {
  const own = context.values.global.proxy.lifecycle;
  if (own !== undefined && Object.keys(own).length > 0) return { lifecycle: own };
  if (holdsApplication(context))
    return { lifecycle: { postStart: { exec: { command: ['pilot-agent', 'wait'] } } } };
  if (!isNativeSidecar(context)) return {};
  // Kubernetes ends native sidecars after the application: draining begins when the pod's end begins.
  const command = ['pilot-agent', 'request', `--debug-port=${statusPort(context)}`, 'POST', 'drain'];
  return { lifecycle: { preStop: { exec: { command } } } };
}
