/** Fixtures of the tests of calls: a cluster manager with one cluster. */
import type { TestContext } from 'node:test';
import { noSecrets } from '../../network/secret.ts';
import { ExtensionRegistry } from '../../registry.ts';
import { LiveClusterManager } from '../cluster_manager.ts';
import type { LoadBalancingPolicyExtension } from '../load_balancer.ts';
import { type ClusterInit, staticCluster } from '../testing.ts';

/** A manager with cluster `c` on these addresses; closed after the test. */
export function managerWith(
  t: TestContext,
  policy: LoadBalancingPolicyExtension,
  endpoints: readonly string[],
  more: ClusterInit = {},
): LiveClusterManager {
  const manager = new LiveClusterManager({
    registry: new ExtensionRegistry({ load_balancing_policy: [policy] }),
    sockets: { secrets: noSecrets },
  });
  manager.stage(staticCluster(endpoints, { lbPolicy: 0, ...more })).activate();
  t.after(() => manager.close());
  return manager;
}
