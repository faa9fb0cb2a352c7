/** One rule of an AuthorizationPolicy as one policy of Envoy's RBAC. */
import { create } from '@bufbuild/protobuf';
import {
  type Permission,
  PermissionSchema,
  type Policy,
  PolicySchema,
  type Principal,
  PrincipalSchema,
} from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import type { Condition, Operation, Rule, Source } from '#config/kinds/authorization_policy/types.ts';
import {
  type Attribute,
  type AttributeContext,
  conditionAttribute,
  operationAttributes,
  sourceAttributes,
} from './attributes.ts';

export type AuthorizationProtocol = 'http' | 'tcp';

/** What rules are built for. */
export interface RuleContext extends AttributeContext {
  readonly protocol: AuthorizationProtocol;
  /**
   * What becomes of a field that does not exist on TCP: a rule that allows never matches, as nobody has shown that it
   * would; one that denies matches without the field, as nobody has shown that it would not.
   */
  readonly onHttpField: 'never' | 'ignore';
}

/** Values that an attribute must have, and must not have. */
interface Term {
  readonly attribute: Attribute;
  readonly values: readonly string[];
  readonly notValues: readonly string[];
}

function sourceTerms(source: Source | undefined): Term[] {
  if (source === undefined) return [];
  return [
    {
      attribute: sourceAttributes.principals,
      values: source.principals ?? [],
      notValues: source.notPrincipals ?? [],
    },
    {
      attribute: sourceAttributes.requestPrincipals,
      values: source.requestPrincipals ?? [],
      notValues: source.notRequestPrincipals ?? [],
    },
    {
      attribute: sourceAttributes.namespaces,
      values: source.namespaces ?? [],
      notValues: source.notNamespaces ?? [],
    },
    {
      attribute: sourceAttributes.serviceAccounts,
      values: source.serviceAccounts ?? [],
      notValues: source.notServiceAccounts ?? [],
    },
    {
      attribute: sourceAttributes.trustDomains,
      values: source.trustDomains ?? [],
      notValues: source.notTrustDomains ?? [],
    },
    {
      attribute: sourceAttributes.remoteIpBlocks,
      values: source.remoteIpBlocks ?? [],
      notValues: source.notRemoteIpBlocks ?? [],
    },
    {
      attribute: sourceAttributes.ipBlocks,
      values: source.ipBlocks ?? [],
      notValues: source.notIpBlocks ?? [],
    },
  ];
}

function operationTerms(operation: Operation | undefined): Term[] {
  if (operation === undefined) return [];
  return [
    {
      attribute: operationAttributes.hosts,
      values: operation.hosts ?? [],
      notValues: operation.notHosts ?? [],
    },
    {
      attribute: operationAttributes.methods,
      values: operation.methods ?? [],
      notValues: operation.notMethods ?? [],
    },
    {
      attribute: operationAttributes.paths,
      values: operation.paths ?? [],
      notValues: operation.notPaths ?? [],
    },
    {
      attribute: operationAttributes.ports,
      values: operation.ports ?? [],
      notValues: operation.notPorts ?? [],
    },
  ];
}

/** Terms of the conditions; undefined when a key is unknown: then nothing can be said of the rule. */
function conditionTerms(conditions: readonly Condition[]): Term[] | undefined {
  const terms: Term[] = [];
  for (const { key = '', values = [], notValues = [] } of conditions) {
    const attribute = conditionAttribute(key);
    if (attribute === undefined) return undefined;
    terms.push({ attribute, values, notValues });
  }
  return terms;
}

function isUsed(term: Term): boolean {
  return term.values.length > 0 || term.notValues.length > 0;
}

/** Terms that hold on the protocol; undefined when the rule can never match. */
function applicable(terms: readonly Term[], context: RuleContext): Term[] | undefined {
  const used = terms.filter(isUsed);
  if (context.protocol === 'http') return used;
  const kept = used.filter(({ attribute }) => !attribute.httpOnly);
  return kept.length < used.length && context.onHttpField === 'never' ? undefined : kept;
}

function allPrincipals(terms: readonly Term[], context: RuleContext): Principal {
  const ids: Principal[] = [];
  for (const { attribute, values, notValues } of terms) {
    if (attribute.kind !== 'principal') continue;
    if (values.length > 0) ids.push(attribute.match(values, context));
    if (notValues.length > 0) {
      const value = attribute.match(notValues, context);
      ids.push(create(PrincipalSchema, { identifier: { case: 'notId', value } }));
    }
  }
  if (ids.length === 0) ids.push(create(PrincipalSchema, { identifier: { case: 'any', value: true } }));
  return create(PrincipalSchema, { identifier: { case: 'andIds', value: { ids } } });
}

function allPermissions(terms: readonly Term[], context: RuleContext): Permission {
  const rules: Permission[] = [];
  for (const { attribute, values, notValues } of terms) {
    if (attribute.kind !== 'permission') continue;
    if (values.length > 0) rules.push(attribute.match(values, context));
    if (notValues.length > 0) {
      const value = attribute.match(notValues, context);
      rules.push(create(PermissionSchema, { rule: { case: 'notRule', value } }));
    }
  }
  if (rules.length === 0) rules.push(create(PermissionSchema, { rule: { case: 'any', value: true } }));
  return create(PermissionSchema, { rule: { case: 'andRules', value: { rules } } });
}

/** The rule as a policy; undefined when it can never match on the protocol. */
export function buildRule(rule: Rule, context: RuleContext): Policy | undefined {
  const conditions = conditionTerms(rule.when ?? []);
  if (conditions === undefined) {
    // Validation keeps such rules out; an unknown condition must neither open nor be overlooked.
    return context.onHttpField === 'never' ? undefined : matchAll();
  }
  const principals: Principal[] = [];
  const permissions: Permission[] = [];
  for (const { source } of rule.from === undefined || rule.from.length === 0
    ? [{}]
    : (rule.from as FromList)) {
    const terms = applicable([...sourceTerms(source), ...conditions], context);
    if (terms === undefined) return undefined;
    principals.push(allPrincipals(terms, context));
  }
  for (const { operation } of rule.to === undefined || rule.to.length === 0 ? [{}] : (rule.to as ToList)) {
    const terms = applicable([...operationTerms(operation), ...conditions], context);
    if (terms === undefined) return undefined;
    permissions.push(allPermissions(terms, context));
  }
  return create(PolicySchema, { permissions, principals });
}

type FromList = readonly { readonly source?: Source }[];
type ToList = readonly { readonly operation?: Operation }[];

/** Matches everything. */
function matchAll(): Policy {
  return create(PolicySchema, {
    permissions: [{ rule: { case: 'any', value: true } }],
    principals: [{ identifier: { case: 'any', value: true } }],
  });
}

/** Matches nothing: what a policy without rules comes to. */
export function matchNothing(): Policy {
  return create(PolicySchema, {
    permissions: [{ rule: { case: 'notRule', value: { rule: { case: 'any', value: true } } } }],
    principals: [{ identifier: { case: 'notId', value: { identifier: { case: 'any', value: true } } } }],
  });
}
