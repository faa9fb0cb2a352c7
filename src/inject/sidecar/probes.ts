/** Probes of the proxy container. */
import { type InjectionContext, annotation, statusPort } from '../context.ts';
import type { Container, Probe } from '../pod/types.ts';

/** The port at which the proxy answers for itself. */
const healthPort = 15_021;
const timeoutSeconds = 3;
const httpGet = { path: '/healthz/ready', port: healthPort } as const;

function readiness(context: InjectionContext): Probe {
  const { proxy } = context.values.global;
  const setting = (name: string, value: number): number =>
    Number(annotation(context, `readiness.status.sidecar.istio.io/${name}`, value));
  return {
    failureThreshold: setting('failureThreshold', proxy.readinessFailureThreshold),
    httpGet,
    initialDelaySeconds: setting('initialDelaySeconds', proxy.readinessInitialDelaySeconds),
    periodSeconds: setting('periodSeconds', proxy.readinessPeriodSeconds),
    timeoutSeconds,
  };
}

/** Readiness, and startup unless switched off or unknown to the release; none when the status port is 0. */
export function proxyProbes(context: InjectionContext): Pick<Container, 'readinessProbe' | 'startupProbe'> {
  if (statusPort(context) === '0') return {};
  const { enabled, failureThreshold } = context.values.global.proxy.startupProbe;
  return {
    readinessProbe: readiness(context),
    ...(enabled && context.compatibility !== '1.8'
      ? { startupProbe: { failureThreshold, httpGet, periodSeconds: 1, timeoutSeconds } }
      : {}),
  };
}
