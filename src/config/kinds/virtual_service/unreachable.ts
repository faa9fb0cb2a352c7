/** Warns of HTTP rules that no request can reach. */
import type { Checker } from '../../schema/checker.ts';
import type { HTTPMatchRequest, HTTPRoute } from './types.ts';

/** A match as text that is equal for equal matches, whatever the order of keys. Its name does not count. */
function canonical(match: HTTPMatchRequest): string {
  const sort = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sort);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, field]) => field !== undefined && field !== null)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, field]) => [key, sort(field)]),
    );
  };
  return JSON.stringify(sort({ ...match, name: undefined }));
}

function isEverything(match: HTTPMatchRequest): boolean {
  const { uri, name: _, ...rest } = match;
  return Object.keys(rest).length === 0 && (uri === undefined || uri.prefix === '/');
}

/** Reports rules behind one that takes everything, and conditions that an earlier rule already has. */
export function warnUnreachable(http: readonly HTTPRoute[], at: Checker): void {
  const seen = new Map<string, number>();
  let catchAll = -1;
  for (const [index, route] of http.entries()) {
    const name = (route.name ?? '') === '' ? `#${index}` : `"${route.name}"`;
    const matches = route.match ?? [];
    if (catchAll !== -1) {
      const reason =
        matches.length === 0
          ? 'only the last rule can have no matches'
          : `rule #${catchAll} takes every request`;
      at.warn('unreachable', `virtualService rule ${name} not used (${reason})`, ['http', index]);
      continue;
    }
    const repeated = matches.filter((match) => seen.has(canonical(match)));
    if (matches.length > 0 && repeated.length === matches.length) {
      at.warn('unreachable', `virtualService rule ${name} not used (all matches used by prior rules)`, [
        'http',
        index,
      ]);
    } else if (repeated.length > 0) {
      const position = matches.findIndex((match) => seen.has(canonical(match)));
      const earlier = seen.get(canonical(matches[position] ?? {})) ?? 0;
      at.warn(
        'unreachable',
        `match #${position} of virtualService rule ${name} is not used (duplicates a match in rule #${earlier})`,
        ['http', index, 'match', position],
      );
    }
    for (const match of matches) if (!seen.has(canonical(match))) seen.set(canonical(match), index);
    if (matches.length === 0 || matches.some(isEverything)) catchAll = index;
  }
}
