/** Principals of policies in all trust domains that count as the mesh's own (MeshConfig.trustDomainAliases). */

/** The trust domain that a policy means when it says `cluster.local`, whatever the mesh is called. */
const defaultTrustDomain = 'cluster.local';

/** The trust domain of `td/ns/NAMESPACE/sa/ACCOUNT`; undefined for other texts. */
function trustDomainOf(principal: string): string | undefined {
  const parts = principal.split('/');
  return parts.length >= 5 ? parts[0] : undefined;
}

/** Whether a name, or one with a wildcard at one end, covers a trust domain. */
function covers(pattern: string, domain: string): boolean {
  if (pattern === '*') return true;
  if (pattern.startsWith('*')) return domain.endsWith(pattern.slice(1));
  if (pattern.endsWith('*')) return domain.startsWith(pattern.slice(0, -1));
  return pattern === domain;
}

/**
 * Each principal in each of the trust domains, without repetition. A principal of a domain that is none of them stays as it
 * is, and so does one whose wildcard already covers the domain.
 */
export function expandPrincipals(
  principals: readonly string[],
  trustDomains: readonly string[],
): readonly string[] {
  const out = new Set<string>();
  for (const principal of principals) {
    const domain = trustDomainOf(principal);
    const own =
      domain !== undefined &&
      (domain === defaultTrustDomain || trustDomains.some((candidate) => covers(domain, candidate)));
    if (!own || trustDomains.length === 0) {
      out.add(principal);
      continue;
    }
    for (const candidate of trustDomains) {
      out.add(covers(domain, candidate) ? principal : candidate + principal.slice(domain.length));
    }
  }
  return [...out];
}
