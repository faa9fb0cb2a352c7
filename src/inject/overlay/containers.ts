/** Changes of single containers of a pod. */
import { containerShape, podShape } from '../pod/pod_shape.ts';
import { strategicMerge } from '../pod/merge.ts';
import type { JsonObject } from '../pod/shape.ts';
import type { Container, EnvVar, Pod } from '../pod/types.ts';

/** The lists of a pod that hold containers. */
export type ContainerList = 'containers' | 'initContainers';
export const containerLists: readonly ContainerList[] = ['containers', 'initContainers'];

/** The container of a name in one list. */
export function findContainer(pod: Pod, list: ContainerList, name: string): Container | undefined {
  return pod.spec?.[list]?.find((container) => container.name === name);
}

/** The proxy's container: among the application's, or native beside the init containers. */
export function findProxy(pod: Pod): Container | undefined {
  return (
    findContainer(pod, 'containers', 'istio-proxy') ?? findContainer(pod, 'initContainers', 'istio-proxy')
  );
}

/** Replaces the containers of a list. */
export function withContainers(pod: Pod, list: ContainerList, containers: readonly Container[]): Pod {
  return { ...pod, spec: { ...pod.spec, [list]: containers } };
}

/** Changes the container of a name in one list, when it is there. */
export function changeContainer(
  pod: Pod,
  list: ContainerList,
  name: string,
  change: (container: Container) => Container,
): Pod {
  const containers = pod.spec?.[list];
  if (containers?.some((container) => container.name === name) !== true) return pod;
  return withContainers(
    pod,
    list,
    containers.map((container) => (container.name === name ? change(container) : container)),
  );
}

/** Changes the proxy's container, wherever it is. */
export function changeProxy(pod: Pod, change: (proxy: Container) => Container): Pod {
  const list =
    findContainer(pod, 'containers', 'istio-proxy') === undefined ? 'initContainers' : 'containers';
  return changeContainer(pod, list, 'istio-proxy', change);
}

/** Adds variables at the end of the proxy's environment. */
export function addProxyEnv(pod: Pod, added: readonly EnvVar[]): Pod {
  if (added.length === 0) return pod;
  return changeProxy(pod, (proxy) => ({ ...proxy, env: [...(proxy.env ?? []), ...added] }));
}

/** Lays a template over a pod. */
export function overlayPod(pod: Pod, overlay: JsonObject): Pod {
  return strategicMerge(pod as unknown as JsonObject, overlay, podShape) as unknown as Pod;
}

/** Lays a container's settings over another's. */
export function overlayContainer(container: Container, overlay: Container): Container {
  return strategicMerge(
    container as unknown as JsonObject,
    overlay as unknown as JsonObject,
    containerShape,
  ) as unknown as Container;
}

/** Moves the container of a name to one end of its list. */
export function moveContainer(
  containers: readonly Container[],
  name: string,
  to: 'first' | 'last',
): readonly Container[] {
  const moved = containers.find((container) => container.name === name);
  if (moved === undefined) return containers;
  const rest = containers.filter((container) => container !== moved);
  return to === 'first' ? [moved, ...rest] : [...rest, moved];
}
