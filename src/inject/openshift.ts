/** OpenShift gives each namespace its own users and groups; the proxy takes the last of them. */

type Annotations = Readonly<Record<string, string>>;

const users = 'openshift.io/sa.scc.uid-range';

/** `START/SIZE` or `START-END`. */
function lastOf(block: string): number | undefined {
  const match = /^(\d{1,10})([/-])(\d{1,10})$/.exec(block.trim());
  if (match === null) return undefined;
  const [start, end] = [Number(match[1]), Number(match[3])];
  const last = match[2] === '/' ? start + end - 1 : end;
  return last >= start && last <= 4_294_967_294 ? last : undefined;
}

/** User and group for the proxy by the annotations of its namespace; nothing outside OpenShift. */
export function openShiftIds(annotations: Annotations): {
  readonly proxyUid?: number;
  readonly proxyGid?: number;
} {
  const user = lastOf(annotations[users] ?? '');
  // A namespace without groups of its own has those of its users' numbers.
  const groups = annotations['openshift.io/sa.scc.supplemental-groups'] ?? annotations[users] ?? '';
  const group = lastOf(groups.split(',')[0] ?? '');
  return {
    ...(user === undefined ? {} : { proxyUid: user }),
    ...(group === undefined ? {} : { proxyGid: group }),
  };
}
