/** AuthorizationPolicy (security.istio.io/v1): who may call what. */
import type { PolicyTargetReference, WorkloadSelector } from '../selector.ts';

/** Evaluated in the order CUSTOM, DENY, ALLOW; AUDIT never decides. */
export type AuthorizationAction = 'ALLOW' | 'DENY' | 'AUDIT' | 'CUSTOM';

/** `spec` of an AuthorizationPolicy. */
export interface AuthorizationPolicy {
  /** Absent, and no target: the namespace; in the root namespace, the mesh. */
  readonly selector?: WorkloadSelector;
  /** Not together with selector or targetRefs. */
  readonly targetRef?: PolicyTargetReference;
  /** Not together with selector or targetRef. At most 16. */
  readonly targetRefs?: readonly PolicyTargetReference[];
  /** The policy matches when one rule does. Absent: it never matches, so an ALLOW denies everything. */
  readonly rules?: readonly Rule[];
  /** Absent: ALLOW. */
  readonly action?: AuthorizationAction;
  /** Needed for CUSTOM: a name of MeshConfig.extensionProviders. */
  readonly provider?: { readonly name?: string };
}

/** Matches when from, to and when all do. An empty rule matches everything. */
export interface Rule {
  /** One of them. Absent: any source. */
  readonly from?: readonly { readonly source?: Source }[];
  /** One of them. Absent: any operation. */
  readonly to?: readonly { readonly operation?: Operation }[];
  /** All of them. Absent: no condition. */
  readonly when?: readonly Condition[];
}

/** Fields are joined by AND, values by OR; `*` matches presence, and stands at one end of a prefix or suffix. */
export interface Source {
  /** Identities of the peer certificate, without `spiffe://`. */
  readonly principals?: readonly string[];
  readonly notPrincipals?: readonly string[];
  /** `issuer/subject` of the token. */
  readonly requestPrincipals?: readonly string[];
  readonly notRequestPrincipals?: readonly string[];
  /** Namespaces of the peer certificate. */
  readonly namespaces?: readonly string[];
  readonly notNamespaces?: readonly string[];
  /** `namespace/name`, or the name in the policy's namespace; no wildcards. At most 16. */
  readonly serviceAccounts?: readonly string[];
  readonly notServiceAccounts?: readonly string[];
  /** Address of the packet's source: an address or a CIDR range. */
  readonly ipBlocks?: readonly string[];
  readonly notIpBlocks?: readonly string[];
  /** Address of the original caller, from X-Forwarded-For or the PROXY header. */
  readonly remoteIpBlocks?: readonly string[];
  readonly notRemoteIpBlocks?: readonly string[];
  /** Trust domains of the peer certificate. */
  readonly trustDomains?: readonly string[];
  readonly notTrustDomains?: readonly string[];
}

/** Fields are joined by AND, values by OR. Only ports apply to TCP. */
export interface Operation {
  /** Host headers, compared without case. */
  readonly hosts?: readonly string[];
  readonly notHosts?: readonly string[];
  /** Port numbers, as strings. */
  readonly ports?: readonly string[];
  readonly notPorts?: readonly string[];
  readonly methods?: readonly string[];
  readonly notMethods?: readonly string[];
  /** Paths; `*` at one end, or a template with `{*}` and `{**}`. */
  readonly paths?: readonly string[];
  readonly notPaths?: readonly string[];
}

/** A condition on one attribute. */
export interface Condition {
  /** Name of an attribute, `request.headers[x]`. Required. */
  readonly key?: string;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}
