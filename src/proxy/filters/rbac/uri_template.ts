/**
 * Path templates (envoy.extensions.path.match.uri_template.v3): `*` is one segment, `**` the rest (before a suffix of
 * literals at most), `{name}` a segment, `{name=a/*}` a pattern with a name.
 */
import { compileRegex } from '../../http/regex.ts';

/** Characters that may stand in a literal part (RFC 3986 pchar), without operators. */
const literal = /^[A-Za-z0-9\-._~%!$&'()+,;:@=]+$/;
const variableName = /^[A-Za-z][A-Za-z0-9_]*$/;
/** Bounds of Envoy: variables of a template, characters of a name. */
const maxVariables = 5;
const maxNameLength = 16;
/** Characters that one segment of a path may hold. */
const segmentClass = "[-A-Za-z0-9._~%!$&'()+,;:@=]";

function quote(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** Splits at slashes outside of braces. */
function splitSegments(text: string): string[] {
  const segments: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '{') depth++;
    else if (c === '}') depth--;
    else if (c === '/' && depth === 0) {
      segments.push(text.slice(from, i));
      from = i + 1;
    }
  }
  segments.push(text.slice(from));
  return segments;
}

interface Progress {
  readonly names: Set<string>;
  /** `**` was seen: only literals may follow. */
  glob: boolean;
}

function plainPattern(segment: string, progress: Progress): string {
  if (segment === '**') {
    if (progress.glob) throw new Error('more than one **');
    progress.glob = true;
    return `(?:${segmentClass}|/)*`;
  }
  if (segment === '*') {
    if (progress.glob) throw new Error('* behind **');
    return `${segmentClass}+`;
  }
  if (!literal.test(segment)) throw new Error(`bad segment '${segment}'`);
  return quote(segment);
}

function segmentPattern(segment: string, progress: Progress): string {
  if (!segment.startsWith('{')) return plainPattern(segment, progress);
  if (!segment.endsWith('}')) throw new Error(`bad segment '${segment}'`);
  const inner = segment.slice(1, -1);
  const equals = inner.indexOf('=');
  const name = equals < 0 ? inner : inner.slice(0, equals);
  if (!variableName.test(name) || name.length > maxNameLength) throw new Error(`bad variable name '${name}'`);
  if (progress.names.has(name)) throw new Error(`variable '${name}' stands twice`);
  progress.names.add(name);
  if (progress.names.size > maxVariables) throw new Error(`more than ${maxVariables} variables`);
  if (equals < 0) return plainPattern('*', progress);
  return inner
    .slice(equals + 1)
    .split('/')
    .map((part) => plainPattern(part, progress))
    .join('/');
}

/** True for paths (without query) that the template covers. Throws Error for a malformed one. */
export function compileUriTemplate(template: string): (path: string) => boolean {
  if (!template.startsWith('/')) throw new Error(`path template '${template}' does not begin with /`);
  const progress: Progress = { names: new Set(), glob: false };
  let pattern: string;
  try {
    pattern =
      template === '/'
        ? '/'
        : splitSegments(template.slice(1))
            .map((segment) => `/${segmentPattern(segment, progress)}`)
            .join('');
  } catch (error) {
    throw new Error(`path template '${template}': ${(error as Error).message}`, { cause: error });
  }
  const regex = compileRegex(pattern);
  return (path) => regex.matches(path);
}
