/** AuthorizationPolicies, and which of them hold for a workload. */
import type { AuthorizationAction, AuthorizationPolicy } from '#config/kinds/authorization_policy/types.ts';
import type { ConfigStore } from '#config/store/store.ts';
import { type ConfigObject, configObjects } from './config_object.ts';
import { type Labels, selectorMatches } from './labels.ts';
import type { MeshIndex } from './mesh_index.ts';
import { append } from './multimap.ts';

export type Policy = ConfigObject<AuthorizationPolicy>;

/** All AuthorizationPolicies by namespace, oldest first. */
export interface AuthorizationPolicyIndex {
  readonly rootNamespace: string;
  readonly byNamespace: ReadonlyMap<string, readonly Policy[]>;
}

/** The policies of one workload by action. */
export type WorkloadPolicies = Readonly<Record<AuthorizationAction, readonly Policy[]>>;

/** Reads all AuthorizationPolicies. */
export function buildAuthorizationPolicyIndex(store: ConfigStore, mesh: MeshIndex): AuthorizationPolicyIndex {
  const byNamespace = new Map<string, Policy[]>();
  for (const policy of configObjects<AuthorizationPolicy>(store, 'AuthorizationPolicy')) {
    append(byNamespace, policy.metadata.namespace, policy);
  }
  return { rootNamespace: mesh.rootNamespace, byNamespace };
}

/** Whether a policy is attached to objects (gateways, services) and so not to workloads by label. */
function hasTargets(policy: Policy): boolean {
  return policy.spec.targetRef !== undefined || (policy.spec.targetRefs ?? []).length > 0;
}

/** Policies of the root namespace, then of the workload's, whose selector chooses the workload. */
export function policiesFor(
  index: AuthorizationPolicyIndex,
  namespace: string,
  labels: Labels,
): WorkloadPolicies {
  const out: Record<AuthorizationAction, Policy[]> = { ALLOW: [], DENY: [], AUDIT: [], CUSTOM: [] };
  for (const owner of new Set([index.rootNamespace, namespace])) {
    for (const policy of index.byNamespace.get(owner) ?? []) {
      if (hasTargets(policy) || !selectorMatches(policy.spec.selector?.matchLabels, labels)) continue;
      out[policy.spec.action ?? 'ALLOW'].push(policy);
    }
  }
  return out;
}
