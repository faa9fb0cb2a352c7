/**
 * Path normalization as Envoy's (HttpConnectionManager.normalize_path, merge_slashes, path_with_escaped_slashes_action):
 * escaped slashes first, then the canonical form of RFC 3986 6.2 (unreserved escapes decoded, backslash to slash, dot
 * segments removed), then slashes merged. The query stays as it is; a fragment, which no client sends, is refused.
 */

/** What to do with `%2F` and `%5C` in a path. */
export type EscapedSlashesAction = 'keep' | 'reject' | 'redirect' | 'forward';

export interface PathOptions {
  readonly normalize: boolean;
  readonly mergeSlashes: boolean;
  readonly escapedSlashes: EscapedSlashesAction;
}

/** The new path, or why the request cannot go on. */
export type PathResult =
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 'redirect'; readonly path: string }
  | { readonly kind: 'reject' };

/** 1: may change the path when normalizing; 2: fragment; 4: query. */
const special = new Uint8Array(128);
for (const c of '%\\"<>^`{|}') special[c.charCodeAt(0)] = 1;
special[35] = 2;
special[63] = 4;

/** True when the path is certainly in its final form: the common case, decided in one scan. */
export function isPlainPath(path: string): boolean {
  let previous = 0;
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    const kind = special[c] as number;
    if (kind === 4) return !path.includes('#', i);
    if (kind !== 0 || (previous === 47 && (c === 46 || c === 47))) return false;
    previous = c;
  }
  return true;
}

/** Applies the options to a path with query. */
export function normalizePath(original: string, options: PathOptions): PathResult {
  if (original.includes('#')) return { kind: 'reject' };
  const question = original.indexOf('?');
  const query = question < 0 ? '' : original.slice(question);
  let path = question < 0 ? original : original.slice(0, question);
  let redirect = false;
  if (options.escapedSlashes !== 'keep' && /%2f|%5c/i.test(path)) {
    if (options.escapedSlashes === 'reject') return { kind: 'reject' };
    path = path.replace(/%2f/gi, '/').replace(/%5c/gi, '\\');
    redirect = options.escapedSlashes === 'redirect';
  }
  if (options.normalize) {
    const canonical = canonicalize(path);
    if (canonical === undefined) return { kind: 'reject' };
    path = canonical;
  }
  // As Envoy: slashes with nothing between them become two, not one.
  if (options.mergeSlashes) path = /^\/{2,}$/.test(path) ? '//' : path.replace(/\/{2,}/g, '/');
  return { kind: redirect ? 'redirect' : 'path', path: path + query };
}

/** Undefined for an escaped NUL and for paths that do not start with a slash. */
function canonicalize(path: string): string | undefined {
  if (path[0] !== '/' && path[0] !== '\\') return undefined;
  if (path.includes('%00')) return undefined;
  const text = path
    .replace(/%([0-9a-fA-F]{2})/g, (escape, hex: string) => {
      const c = String.fromCharCode(Number.parseInt(hex, 16));
      return /[A-Za-z0-9._~-]/.test(c) ? c : escape;
    })
    .replaceAll('\\', '/')
    .replace(/["<>^`{|}]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return removeDotSegments(text);
}

/** RFC 3986 5.2.4; a segment such as `..;x` counts as `..`: servers that know path parameters read it so. */
function removeDotSegments(path: string): string {
  const segments = path.split('/');
  const out: string[] = [];
  const last = segments.length - 1;
  for (let i = 1; i <= last; i++) {
    const segment = segments[i] as string;
    const semicolon = segment.indexOf(';');
    const name = semicolon < 0 ? segment : segment.slice(0, semicolon);
    if (name === '.' || name === '..') {
      if (name === '..') out.pop();
      if (i === last) out.push('');
    } else out.push(segment);
  }
  return `/${out.join('/')}`;
}
