/**
 * Containers that both the user and a template declare: the user's settings lie over the template's, and are kept in
 * `proxy.istio.io/overrides` for the next injection.
 */
import {
  type InjectionStatus,
  type Overrides,
  overridesAnnotation,
  overridesText,
  readOverrides,
  readStatus,
} from '../previous_injection.ts';
import type { Container, Pod } from '../pod/types.ts';
import {
  type ContainerList,
  changeContainer,
  containerLists,
  findContainer,
  findProxy,
  overlayContainer,
  withContainers,
} from './containers.ts';

/** Image of a container that the template shall fill in. */
const autoImage = 'auto';

/**
 * The user's container as it lies over the template's, without `image: auto`: the one that was kept, or the one in the
 * pod. Undefined for what an earlier injection made, of which the template knows better.
 */
function userContainer(
  original: Pod,
  list: ContainerList,
  name: string,
  status: InjectionStatus | undefined,
  kept: Overrides,
): Container | undefined {
  const injected = status?.[list].includes(name) === true;
  const own =
    kept[list].find((container) => container.name === name) ??
    (injected ? undefined : findContainer(original, list, name));
  if (own === undefined) return undefined;
  const { image, ...rest } = own;
  return image === autoImage || image === '' || image === undefined ? rest : { ...rest, image };
}

/** Lays the user's containers over those of the template, and keeps them for the next time. */
export function reapplyUserContainers(merged: Pod, original: Pod, added: Pod, tproxy: boolean): Pod {
  const status = readStatus(original);
  const kept = readOverrides(original);
  const found: Record<ContainerList, Container[]> = { containers: [], initContainers: [] };
  let pod = merged;
  for (const list of containerLists) {
    for (const { name } of added.spec?.[list] ?? []) {
      const own = userContainer(original, list, name, status, kept);
      if (own === undefined) continue;
      found[list].push(own);
      pod = changeContainer(pod, list, name, (container) => overlayContainer(container, own));
    }
  }
  const any = found.containers.length + found.initContainers.length > 0;
  if (any && status === undefined) {
    const annotations = { ...pod.metadata?.annotations, [overridesAnnotation]: overridesText(found) };
    pod = { ...pod, metadata: { ...pod.metadata, annotations } };
  }
  return followUser(pod, findProxy(original), tproxy);
}

/**
 * Capture must know the proxy by its user: when the user's container names another than ours, the init container's
 * `-u` follows, and the container that only checks runs as the same user and group.
 */
function followUser(pod: Pod, proxy: Container | undefined, tproxy: boolean): Pod {
  const { runAsUser, runAsGroup } = proxy?.securityContext ?? {};
  if (runAsUser === undefined && runAsGroup === undefined) return pod;
  const name = ['istio-init', 'istio-validation'].find(
    (candidate) => findContainer(pod, 'initContainers', candidate) !== undefined,
  );
  if (name === undefined) return pod;
  // Under TPROXY the proxy stays root, whatever the user says.
  const forced = tproxy && runAsUser !== undefined ? forceRoot(pod) : pod;
  return changeContainer(forced, 'initContainers', name, (init) => ({
    ...init,
    ...(name === 'istio-validation'
      ? {
          securityContext: {
            ...init.securityContext,
            ...(runAsUser === undefined || tproxy ? {} : { runAsUser }),
            ...(runAsGroup === undefined ? {} : { runAsGroup }),
          },
        }
      : {}),
    ...(runAsUser === undefined || runAsUser === 0 ? {} : { args: withUser(init.args ?? [], runAsUser) }),
  }));
}

function withUser(args: readonly string[], user: number): readonly string[] {
  const flag = args.indexOf('-u');
  return flag === -1 ? args : args.map((arg, index) => (index === flag + 1 ? String(user) : arg));
}

function forceRoot(pod: Pod): Pod {
  const list: ContainerList =
    findContainer(pod, 'containers', 'istio-proxy') === undefined ? 'initContainers' : 'containers';
  return changeContainer(pod, list, 'istio-proxy', (container) => ({
    ...container,
    securityContext: { ...container.securityContext, runAsUser: 0 },
  }));
}

/**
 * A native proxy is an init container; a proxy that the user, or an earlier injection, has among the containers goes
 * there first.
 */
export function moveProxyToInit(pod: Pod): Pod {
  const proxy = findContainer(pod, 'containers', 'istio-proxy');
  if (proxy === undefined) return pod;
  const containers = (pod.spec?.containers ?? []).filter((container) => container !== proxy);
  return withContainers(withContainers(pod, 'containers', containers), 'initContainers', [
    ...(pod.spec?.initContainers ?? []),
    proxy,
  ]);
}

/** Takes away what an earlier injection added and this one does not. */
export function removeStale(pod: Pod, added: Pod): Pod {
  const status = readStatus(pod);
  if (status === undefined) return pod;
  const { spec = {} } = pod;
  const stays = (list: keyof InjectionStatus, name = ''): boolean =>
    !status[list].includes(name) || (added.spec?.[list] ?? []).some((item) => item.name === name);
  return {
    ...pod,
    spec: {
      ...spec,
      ...(spec.containers === undefined
        ? {}
        : { containers: spec.containers.filter(({ name }) => stays('containers', name)) }),
      ...(spec.initContainers === undefined
        ? {}
        : { initContainers: spec.initContainers.filter(({ name }) => stays('initContainers', name)) }),
      ...(spec.volumes === undefined
        ? {}
        : { volumes: spec.volumes.filter(({ name }) => stays('volumes', name)) }),
      ...(spec.imagePullSecrets === undefined
        ? {}
        : { imagePullSecrets: spec.imagePullSecrets.filter(({ name }) => stays('imagePullSecrets', name)) }),
    },
  };
}
