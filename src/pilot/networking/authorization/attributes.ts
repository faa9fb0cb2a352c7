/** Attributes that policies speak of: each becomes a principal (who) or a permission (what) of Envoy's RBAC. */
import { create } from '@bufbuild/protobuf';
import {
  type Permission,
  PermissionSchema,
  type Principal,
  PrincipalSchema,
} from '#api/gen/envoy/config/rbac/v3/rbac_pb.ts';
import { buildCidr } from '../address.ts';
import {
  claimMatcher,
  metadataMatcher,
  pathPermission,
  principalByName,
  principalByNamespace,
  principalByServiceAccount,
  principalByTrustDomain,
  rbacHeader,
  requestPrincipal,
  textOrListValue,
  textValue,
  valueMatcher,
} from './matchers.ts';
import { expandPrincipals } from './trust_domain.ts';

/** What attributes are resolved against. */
export interface AttributeContext {
  readonly policyNamespace: string;
  /** The mesh's trust domains; empty: principals are taken as they are. */
  readonly trustDomains: readonly string[];
}

/** How values of an attribute are matched. `httpOnly` ones do not exist on TCP. */
export type Attribute =
  | {
      readonly kind: 'principal';
      readonly httpOnly: boolean;
      readonly match: (values: readonly string[], context: AttributeContext) => Principal;
    }
  | {
      readonly kind: 'permission';
      readonly httpOnly: boolean;
      readonly match: (values: readonly string[], context: AttributeContext) => Permission;
    };

type Each<T> = (value: string, context: AttributeContext) => T;

function anyPrincipal(each: Each<Principal>) {
  return (values: readonly string[], context: AttributeContext) =>
    create(PrincipalSchema, {
      identifier: { case: 'orIds', value: { ids: values.map((value) => each(value, context)) } },
    });
}

function anyPermission(each: Each<Permission>) {
  return (values: readonly string[], context: AttributeContext) =>
    create(PermissionSchema, {
      rule: { case: 'orRules', value: { rules: values.map((value) => each(value, context)) } },
    });
}

function principal(each: Each<Principal>, httpOnly = false): Attribute {
  return { kind: 'principal', httpOnly, match: anyPrincipal(each) };
}

function permission(each: Each<Permission>, httpOnly = false): Attribute {
  return { kind: 'permission', httpOnly, match: anyPermission(each) };
}

function headerPrincipal(name: string): Attribute {
  return principal(
    (value) => create(PrincipalSchema, { identifier: { case: 'header', value: rbacHeader(name, value) } }),
    true,
  );
}

function claim(path: readonly string[]): Attribute {
  return {
    kind: 'principal',
    httpOnly: true,
    match: (values) =>
      create(PrincipalSchema, {
        identifier: { case: 'metadata', value: claimMatcher(path, textOrListValue(values)) },
      }),
  };
}

const destinationPort = permission((value) =>
  create(PermissionSchema, { rule: { case: 'destinationPort', value: Number(value) } }),
);
const principals: Attribute = {
  kind: 'principal',
  httpOnly: false,
  match: (values, context) =>
    anyPrincipal(principalByName)(expandPrincipals(values, context.trustDomains), context),
};
const serviceAccounts = principal((value, { policyNamespace }) =>
  principalByServiceAccount(value, policyNamespace),
);
const requestPrincipals = principal(requestPrincipal, true);
const sourceIp = principal((value) =>
  create(PrincipalSchema, { identifier: { case: 'directRemoteIp', value: buildCidr(value) } }),
);
const remoteIp = principal((value) =>
  create(PrincipalSchema, { identifier: { case: 'remoteIp', value: buildCidr(value) } }),
);

/** Fields of `from.source`, in the order in which they stand in the result. */
export const sourceAttributes = {
  principals,
  requestPrincipals,
  namespaces: principal(principalByNamespace),
  serviceAccounts,
  trustDomains: principal(principalByTrustDomain),
  remoteIpBlocks: remoteIp,
  ipBlocks: sourceIp,
} as const satisfies Readonly<Record<string, Attribute>>;

/** Fields of `to.operation`, in the order in which they stand in the result. */
export const operationAttributes = {
  // Names of hosts know no case.
  hosts: permission(
    (value) =>
      create(PermissionSchema, { rule: { case: 'header', value: rbacHeader(':authority', value, true) } }),
    true,
  ),
  methods: permission(
    (value) => create(PermissionSchema, { rule: { case: 'header', value: rbacHeader(':method', value) } }),
    true,
  ),
  paths: permission(pathPermission, true),
  ports: destinationPort,
} as const satisfies Readonly<Record<string, Attribute>>;

const namedConditions: Readonly<Record<string, Attribute>> = {
  'source.ip': sourceIp,
  'remote.ip': remoteIp,
  'source.namespace': sourceAttributes.namespaces,
  'source.principal': principals,
  'source.serviceAccount': serviceAccounts,
  'source.trustDomain': sourceAttributes.trustDomains,
  'request.auth.principal': requestPrincipals,
  'request.auth.audiences': claim(['aud']),
  'request.auth.presenter': claim(['azp']),
  'destination.ip': permission((value) =>
    create(PermissionSchema, { rule: { case: 'destinationIp', value: buildCidr(value) } }),
  ),
  'destination.port': destinationPort,
  'connection.sni': permission((value) =>
    create(PermissionSchema, { rule: { case: 'requestedServerName', value: valueMatcher(value) } }),
  ),
};

/** The parts in brackets: `request.auth.claims[a][b]` gives a and b. */
function brackets(key: string): readonly string[] {
  return [...key.matchAll(/\[([^\]]*)\]/g)].map((match) => match[1] ?? '');
}

/** The attribute of a condition's key; undefined for keys that nobody knows. */
export function conditionAttribute(key: string): Attribute | undefined {
  const named = namedConditions[key];
  if (named !== undefined) return named;
  const path = brackets(key);
  const [first] = path;
  if (first === undefined) return undefined;
  if (key.startsWith('request.headers[')) return headerPrincipal(first);
  if (key.startsWith('request.auth.claims[')) return claim(path);
  if (!key.startsWith('experimental.envoy.filters.')) return undefined;
  const filter = key.slice('experimental.'.length, key.indexOf('['));
  return {
    kind: 'permission',
    httpOnly: false,
    match: (values) =>
      create(PermissionSchema, {
        rule: { case: 'metadata', value: metadataMatcher(filter, path, textValue(values)) },
      }),
  };
}
