/** AuthorizationPolicies of a workload as RBAC filters: AUDIT, then DENY, then ALLOW, each one filter. */
import { create } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { type RBAC, RBAC_Action, RBACSchema } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { RBACSchema as HttpRbacSchema } from '#api/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts';
import { RBACSchema as NetworkRbacSchema } from '#api/gen/envoy/extensions/filters/network/rbac/v3/rbac_pb.ts';
import { annotation, httpFilter, networkFilter } from '#api/well_known.ts';
import type { Policy } from '../../model/authorization_policy_index.ts';
import type { WorkloadPolicies } from '../../model/authorization_policy_index.ts';
import { any } from '../wire.ts';
import { type AuthorizationProtocol, buildRule, matchNothing } from './rule.ts';

/** A filter by name, for an HTTP or a TCP chain. */
export interface AuthorizationFilter {
  readonly name: string;
  readonly typedConfig: Any;
}

/** Prefixes of what trial runs leave in statistics and dynamic metadata. */
const shadowPrefix = { allow: 'istio_dry_run_allow_', deny: 'istio_dry_run_deny_' } as const;

/** `stat_prefix` of network filters. */
export const tcpStatPrefix = 'tcp.';

/** Rules of a policy, by the names under which denials are reported. */
export interface NamedRules {
  readonly action: RBAC_Action;
  /** In front of each name. */
  readonly prefix: string;
  /** After each name. */
  readonly suffix: string;
  readonly trustDomains: readonly string[];
  readonly protocol: AuthorizationProtocol;
}

/** `ns[default]-policy[x]-rule[0]`. */
function ruleName(policy: Policy, index: number, options: NamedRules): string {
  const { namespace, name } = policy.metadata;
  return `${options.prefix}ns[${namespace}]-policy[${name}]-rule[${index}]${options.suffix}`;
}

/** The rules of all policies as one RBAC. */
export function buildRbac(policies: readonly Policy[], options: NamedRules): RBAC {
  const rbac = create(RBACSchema, { action: options.action });
  for (const policy of policies) {
    const rules = policy.spec.rules ?? [];
    if (rules.length === 0) rbac.policies[ruleName(policy, 0, options)] = matchNothing();
    for (const [index, rule] of rules.entries()) {
      const built = buildRule(rule, {
        protocol: options.protocol,
        onHttpField: options.action === RBAC_Action.ALLOW ? 'never' : 'ignore',
        policyNamespace: policy.metadata.namespace,
        trustDomains: options.trustDomains,
      });
      if (built !== undefined) rbac.policies[ruleName(policy, index, options)] = built;
    }
  }
  return rbac;
}

/** Wraps rules into the filter of a protocol. */
export function rbacFilter(
  protocol: AuthorizationProtocol,
  rules: RBAC | undefined,
  shadowRules: RBAC | undefined,
  shadowRulesStatPrefix: string,
): AuthorizationFilter {
  const fields = {
    ...(rules === undefined ? {} : { rules }),
    ...(shadowRules === undefined ? {} : { shadowRules }),
    shadowRulesStatPrefix,
  };
  return protocol === 'http'
    ? { name: httpFilter.rbac, typedConfig: any(HttpRbacSchema, fields) }
    : {
        name: networkFilter.rbac,
        typedConfig: any(NetworkRbacSchema, { ...fields, statPrefix: tcpStatPrefix }),
      };
}

function isDryRun(policy: Policy): boolean {
  return policy.metadata.annotations[annotation.dryRun] === 'true';
}

/** The filters of a workload, custom authorization left out; none when no policy chooses it. */
export function rbacFilters(
  policies: WorkloadPolicies,
  trustDomains: readonly string[],
  protocol: AuthorizationProtocol,
): AuthorizationFilter[] {
  const filters: AuthorizationFilter[] = [];
  const actions = [
    [RBAC_Action.LOG, policies.AUDIT],
    [RBAC_Action.DENY, policies.DENY],
    [RBAC_Action.ALLOW, policies.ALLOW],
  ] as const;
  for (const [action, all] of actions) {
    if (all.length === 0) continue;
    const options: NamedRules = { action, prefix: '', suffix: '', trustDomains, protocol };
    const trial = all.filter(isDryRun);
    const enforced = all.filter((policy) => !isDryRun(policy));
    filters.push(
      rbacFilter(
        protocol,
        enforced.length > 0 ? buildRbac(enforced, options) : undefined,
        trial.length > 0 ? buildRbac(trial, options) : undefined,
        action === RBAC_Action.DENY && trial.length > 0 ? shadowPrefix.deny : shadowPrefix.allow,
      ),
    );
  }
  return filters;
}
