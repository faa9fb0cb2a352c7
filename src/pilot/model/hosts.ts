/** Host names of the mesh: completion of short names, and wildcards as Istio compares them (`*`, `*.example.com`). */

/** Completes a name without dots to a name of the namespace; wildcards, addresses and dotted names stay. */
export function resolveHost(host: string, namespace: string, domainSuffix: string): string {
  if (host === '' || host.includes('.') || host.includes('*') || host.includes(':')) return host;
  return `${host}.${namespace}.svc.${domainSuffix}`;
}

/** Whether two names, each of which may be a wildcard, have a name in common. */
export function hostsOverlap(a: string, b: string): boolean {
  const aWild = a.startsWith('*');
  const bWild = b.startsWith('*');
  if (!aWild && !bWild) return a === b;
  if (aWild && bWild) {
    const longer = a.length >= b.length ? a : b;
    const shorter = a.length >= b.length ? b : a;
    return longer.endsWith(shorter.slice(1));
  }
  return aWild ? b.endsWith(a.slice(1)) : a.endsWith(b.slice(1));
}

/** Whether every name that `inner` stands for is also one of `outer`. */
export function hostWithin(inner: string, outer: string): boolean {
  if (!outer.startsWith('*')) return inner === outer;
  const suffix = outer.slice(1);
  return inner.startsWith('*') ? inner.slice(1).endsWith(suffix) : inner.endsWith(suffix);
}

/** Orders names so that the most specific comes first: exact names, then wildcards from long to short. */
export function compareSpecificity(a: string, b: string): number {
  const aWild = a.startsWith('*');
  const bWild = b.startsWith('*');
  if (aWild !== bWild) return aWild ? 1 : -1;
  if (a.length !== b.length) return b.length - a.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
