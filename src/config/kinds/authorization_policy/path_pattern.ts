/** Paths of AuthorizationPolicy: exact, prefix `/a*`, suffix `*.html`, presence `*`, or a template `/a/{*}/b/{**}`. */
import type { Checker } from '../../schema/checker.ts';

/** True for a path with `{*}` or `{**}` in it. */
export function isPathTemplate(path: string): boolean {
  return path.includes('{*}') || path.includes('{**}');
}

/** Reports a template that Envoy's path matcher would not take. */
export function checkPathPattern(path: string, at: Checker): void {
  if (!/[{}]/.test(path)) return;
  const expected = 'a path, or a template whose braces are whole segments {*} or {**}';
  if (!isPathTemplate(path)) return at.mismatch('invalid_path', expected, path);
  let anyDepth = 0;
  for (const segment of path.split('/')) {
    if (segment === '{**}') anyDepth++;
    else if (segment !== '{*}' && /[{}*]/.test(segment)) return at.mismatch('invalid_path', expected, path);
    else if (segment === '{*}' && anyDepth > 0) {
      return at.mismatch('invalid_path', 'a template without operators after {**}', path);
    }
  }
  if (anyDepth > 1) at.mismatch('invalid_path', 'a template with at most one {**}', path);
}
