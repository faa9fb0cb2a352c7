/** Label sets and how selectors choose them. */

export type Labels = Readonly<Record<string, string>>;

/** Whether all labels of the selector are present with the same values. An empty or absent selector matches all. */
export function selectorMatches(selector: Labels | undefined, labels: Labels): boolean {
  if (selector === undefined) return true;
  for (const key in selector) if (labels[key] !== selector[key]) return false;
  return true;
}

/** Whether the selector names at least one label. */
export function hasLabels(selector: Labels | undefined): selector is Labels {
  if (selector === undefined) return false;
  for (const _ in selector) return true;
  return false;
}

/** The labels whose keys are in `keys`, as one canonical text. Equal texts cannot be told apart by those keys. */
export function labelFingerprint(labels: Labels, keys: ReadonlySet<string>): string {
  const parts: string[] = [];
  for (const key of keys) {
    const value = labels[key];
    if (value !== undefined) parts.push(`${key}=${value}`);
  }
  return parts.sort().join(',');
}

/** Labels and annotations of Kubernetes and Istio that the mesh reads from pods, nodes and services. */
export const wellKnownLabels = {
  tlsMode: 'security.istio.io/tlsMode',
  canonicalName: 'service.istio.io/canonical-name',
  canonicalRevision: 'service.istio.io/canonical-revision',
  network: 'topology.istio.io/network',
  cluster: 'topology.istio.io/cluster',
  region: 'topology.kubernetes.io/region',
  zone: 'topology.kubernetes.io/zone',
  subzone: 'topology.istio.io/subzone',
  locality: 'topology.istio.io/locality',
  oldLocality: 'istio-locality',
  hostname: 'kubernetes.io/hostname',
  exportTo: 'networking.istio.io/exportTo',
  serviceName: 'kubernetes.io/service-name',
} as const;
