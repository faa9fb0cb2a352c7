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
