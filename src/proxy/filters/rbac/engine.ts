/**
 * `envoy.config.rbac.v3.RBAC` compiled once and asked per request or connection. On the hot path: no allocation, a loop
 * over policies in the order of their names, as Envoy keeps them.
 */
import { type Policy, type RBAC, RBAC_Action } from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { compilePermission } from './permission.ts';
import { compilePrincipal } from './principal.ts';
import { anyOf, RbacConfigError, type RbacMatcher, type RbacSubject } from './subject.ts';

/** Why `checked_condition`, `condition` and matcher trees are refused. */
const noCel = 'CEL conditions are not supported, write the rule with permissions and principals';

function compilePolicy(policy: Policy, where: string): RbacMatcher {
  if (policy.condition !== undefined) throw new RbacConfigError(`${where}.condition`, noCel);
  if (policy.checkedCondition !== undefined) throw new RbacConfigError(`${where}.checked_condition`, noCel);
  const { permissions, principals } = policy;
  if (permissions.length === 0) throw new RbacConfigError(`${where}.permissions`, 'is empty');
  if (principals.length === 0) throw new RbacConfigError(`${where}.principals`, 'is empty');
  const permission = anyOf(permissions.map((one, i) => compilePermission(one, `${where}.permissions[${i}]`)));
  const principal = anyOf(principals.map((one, i) => compilePrincipal(one, `${where}.principals[${i}]`)));
  return (subject) => permission(subject) && principal(subject);
}

/** Order of std::map: by bytes. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export class RbacEngine {
  readonly #action: RBAC_Action;
  readonly #names: readonly string[];
  readonly #policies: readonly RbacMatcher[];
  #prefix = '';
  /** By index of the policy plus one. */
  #metadata: Readonly<Record<string, unknown>>[] = [];

  /**
   * @param where place of the rules, for errors (`rules`, `shadow_rules`)
   * @throws RbacConfigError for what cannot be run, with its place
   */
  constructor(config: RBAC, where: string) {
    const { action } = config;
    if (action !== RBAC_Action.ALLOW && action !== RBAC_Action.DENY && action !== RBAC_Action.LOG)
      throw new RbacConfigError(`${where}.action`, `${action} is not supported`);
    const loggers = config.auditLoggingOptions?.loggerConfigs ?? [];
    const needed = loggers.find(({ isOptional }) => !isOptional);
    if (needed !== undefined)
      throw new RbacConfigError(
        `${where}.audit_logging_options`,
        `logger ${needed.auditLogger?.name ?? ''} is not implemented`,
      );
    this.#action = action;
    this.#names = Object.keys(config.policies).toSorted(byBytes);
    this.#policies = this.#names.map((name) =>
      compilePolicy(config.policies[name] as Policy, `${where}.policies[${JSON.stringify(name)}]`),
    );
  }

  /** True for rules that only mark requests for the access log. */
  get logs(): boolean {
    return this.#action === RBAC_Action.LOG;
  }

  /** Index of the first policy that matches, for `allows` and `nameOf`; -1 for none. */
  find(subject: RbacSubject): number {
    const policies = this.#policies;
    for (let i = 0; i < policies.length; i++) if ((policies[i] as RbacMatcher)(subject)) return i;
    return -1;
  }

  /** Whether a subject for which `find` gave the index may pass. */
  allows(index: number): boolean {
    if (this.#action === RBAC_Action.ALLOW) return index >= 0;
    return this.#action === RBAC_Action.LOG || index < 0;
  }

  /** Name of a policy; empty for none. */
  nameOf(index: number): string {
    return this.#names[index] ?? '';
  }

  /**
   * What the rules leave in dynamic metadata: one object per policy, made once.
   * @param prefix of the configuration, ending in `shadow_` or `enforced_`
   */
  metadataOf(prefix: string, index: number): Readonly<Record<string, unknown>> {
    if (this.#prefix !== prefix) {
      this.#prefix = prefix;
      this.#metadata = [];
    }
    return (this.#metadata[index + 1] ??= {
      ...(index < 0 ? {} : { [`${prefix}effective_policy_id`]: this.nameOf(index) }),
      [`${prefix}engine_result`]: this.allows(index) ? 'allowed' : 'denied',
    });
  }
}

/** `%RESPONSE_CODE_DETAILS%` or `%CONNECTION_TERMINATION_DETAILS%` of a denial; `none` when no policy matched. */
export function denialDetails(policy: string): string {
  return `rbac_access_denied_matched_policy[${policy === '' ? 'none' : policy.replace(/\s/g, '_')}]`;
}

/** Key and namespace in which the LOG action marks requests. */
export const accessLogHint = { filter: 'envoy.common', key: 'access_log_hint' } as const;
