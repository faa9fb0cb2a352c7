/** The order of containers, in which Kubernetes starts them. */
import type { Pod } from '../pod/types.ts';
import { findContainer, moveContainer, withContainers } from './containers.ts';

/**
 * The proxy last, so that kubectl takes the application's container; first when the application waits for it. Native:
 * capture, proxy, then the user's init containers, which thereby are in the mesh. Otherwise the check of the CNI
 * plugin's rules first, and capture last, lest init containers lose their network.
 */
export function reorderContainers(pod: Pod, hold: boolean): Pod {
  let result = pod;
  const { containers, initContainers } = pod.spec ?? {};
  if (containers !== undefined)
    result = withContainers(
      result,
      'containers',
      moveContainer(containers, 'istio-proxy', hold ? 'first' : 'last'),
    );
  if (initContainers === undefined) return result;
  const native = findContainer(pod, 'initContainers', 'istio-proxy') !== undefined;
  const moves = native
    ? ([
        ['enable-core-dump', 'first'],
        ['istio-proxy', 'first'],
        ['istio-validation', 'first'],
        ['istio-init', 'first'],
      ] as const)
    : ([
        ['istio-validation', 'first'],
        ['istio-init', 'last'],
        ['enable-core-dump', 'last'],
      ] as const);
  const ordered = moves.reduce((list, [name, to]) => moveContainer(list, name, to), initContainers);
  return withContainers(result, 'initContainers', ordered);
}
