/**
 * Probes of the application turned towards the agent: the kubelet has no mesh certificate, so that the agent asks in
 * its place. What was asked before travels in `ISTIO_KUBE_APP_PROBERS`.
 */
import { parseBool } from './annotations.ts';
import { orderedJson } from './pod/canonical.ts';
import { containerShape } from './pod/pod_shape.ts';
import type { Json, JsonObject } from './pod/shape.ts';
import type { Action, Container, EnvVar, Lifecycle, Pod, PodSpec, Probe } from './pod/types.ts';

/** Holds the probes as a JSON object by path. */
export const probersVariable = 'ISTIO_KUBE_APP_PROBERS';

/** Whether probes are turned: the annotation, or the injector's setting. */
export function rewritesProbes(annotations: Readonly<Record<string, string>>, setting: boolean): boolean {
  return parseBool(annotations['sidecar.istio.io/rewriteAppHTTPProbers']) ?? setting;
}

/** Where the kubelet asks in place of the application. */
const paths = {
  livenessProbe: (container: string) => `/app-health/${container}/livez`,
  readinessProbe: (container: string) => `/app-health/${container}/readyz`,
  startupProbe: (container: string) => `/app-health/${container}/startupz`,
  postStart: (container: string) => `/app-lifecycle/${container}/poststartz`,
  preStop: (container: string) => `/app-lifecycle/${container}/prestopz`,
} as const;

/** A port by number or name; undefined for a name that the container does not have. */
function portNumber(port: number | string, { ports = [] }: Container): number | undefined {
  if (typeof port === 'number') return port;
  const named = ports.find(({ name }) => name === port)?.containerPort;
  return named ?? (/^\d{1,5}$/.test(port) ? Number(port) : undefined);
}

/** The question as the agent reads it, or undefined when it is none for the agent. */
function prober(
  action: Action & Pick<Probe, 'timeoutSeconds'>,
  container: Container,
): JsonObject | undefined {
  const timeout =
    action.timeoutSeconds === undefined || action.timeoutSeconds === 0
      ? {}
      : { timeoutSeconds: action.timeoutSeconds };
  const { httpGet, tcpSocket, grpc } = action;
  if (httpGet !== undefined) {
    const port = portNumber(httpGet.port, container);
    return port === undefined
      ? undefined
      : ({ httpGet: { ...httpGet, port }, ...timeout } as unknown as JsonObject);
  }
  if (tcpSocket !== undefined) {
    const port = portNumber(tcpSocket.port, container);
    return port === undefined
      ? undefined
      : ({ tcpSocket: { ...tcpSocket, port }, ...timeout } as unknown as JsonObject);
  }
  return grpc === undefined ? undefined : ({ grpc, ...timeout } as unknown as JsonObject);
}

/** The kubelet's new question: the same headers and times, at the agent, in plaintext. */
function towardsAgent<T extends Action>(action: T, path: string, port: number): T {
  const { httpGet, tcpSocket: _, grpc: __, ...rest } = action;
  const scheme = httpGet?.scheme === 'HTTPS' ? { scheme: 'HTTP' } : {};
  return { ...rest, httpGet: { ...httpGet, path, port, ...scheme } } as unknown as T;
}

interface Rewritten {
  readonly container: Container;
  readonly probers: ReadonlyMap<string, JsonObject>;
}

function rewriteContainer(container: Container, agentPort: number): Rewritten {
  const probers = new Map<string, JsonObject>();
  const turned = <T extends Action>(action: T | undefined, path: string): T | undefined => {
    if (action === undefined) return undefined;
    // An earlier injection has turned it.
    if (action.httpGet?.path === path && action.httpGet.port === agentPort) return action;
    const question = prober(action, container);
    if (question === undefined) return action;
    probers.set(path, question);
    return towardsAgent(action, path, agentPort);
  };
  const changed: Partial<Record<keyof typeof paths, Probe>> = {};
  for (const field of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    const probe = turned(container[field], paths[field](container.name));
    if (probe !== undefined) changed[field] = probe;
  }
  const hooks: { -readonly [K in keyof Lifecycle]: Lifecycle[K] } = {};
  for (const field of ['postStart', 'preStop'] as const) {
    const hook = turned(container.lifecycle?.[field], paths[field](container.name));
    if (hook !== undefined) hooks[field] = hook;
  }
  const lifecycle =
    container.lifecycle === undefined ? {} : { lifecycle: { ...container.lifecycle, ...hooks } };
  return { container: { ...container, ...changed, ...lifecycle }, probers };
}

const proberShape = containerShape.fields['readinessProbe'] ?? containerShape;

/** JSON by path; each question with its fields in Kubernetes' order. */
function probersText(probers: ReadonlyMap<string, Json>): string {
  const items = [...probers].sort(([first], [second]) => (first < second ? -1 : 1));
  return `{${items.map(([path, question]) => `${JSON.stringify(path)}:${orderedJson(question, proberShape)}`).join(',')}}`;
}

function parsed(text: string | undefined): [string, Json][] {
  try {
    return Object.entries(JSON.parse(text ?? '{}') as Record<string, Json>);
  } catch {
    // Not what injection wrote: the new ones replace it.
    return [];
  }
}

/** The proxy's environment with the probers; those of an earlier injection stay when they are still asked for. */
function withProbers(
  env: readonly EnvVar[],
  probers: ReadonlyMap<string, JsonObject>,
  injectedBefore: boolean,
): readonly EnvVar[] {
  const present = env.findIndex(({ name }) => name === probersVariable);
  const before = injectedBefore ? parsed(env[present]?.value) : [];
  const value = probersText(new Map<string, Json>([...before, ...probers]));
  if (!injectedBefore || present === -1) return [...env, { name: probersVariable, value }];
  return env.map((item, index) => (index === present ? { name: probersVariable, value } : item));
}

/** Turns the probes of all containers but the proxy's. `agentPort` is where the agent answers. */
export function rewritePodProbes(
  pod: Pod,
  agentPort: number,
  injectedBefore: boolean,
  changeProxy: (pod: Pod, change: (proxy: Container) => Container) => Pod,
): Pod {
  const probers = new Map<string, JsonObject>();
  const rewrite = (containers: readonly Container[]): readonly Container[] =>
    containers.map((container) => {
      if (container.name === 'istio-proxy') return container;
      const rewritten = rewriteContainer(container, agentPort);
      for (const [path, question] of rewritten.probers) probers.set(path, question);
      return rewritten.container;
    });
  const spec: PodSpec = pod.spec ?? {};
  const rewritten: Pod = {
    ...pod,
    spec: {
      ...spec,
      ...(spec.containers === undefined ? {} : { containers: rewrite(spec.containers) }),
      ...(spec.initContainers === undefined ? {} : { initContainers: rewrite(spec.initContainers) }),
    },
  };
  if (probers.size === 0) return rewritten;
  return changeProxy(rewritten, (proxy) => ({
    ...proxy,
    env: withProbers(proxy.env ?? [], probers, injectedBefore),
  }));
}
