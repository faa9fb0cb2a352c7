/** What a check finds: always with the path of the field, rooted at the object. */

/** One step of a path: a key, or an index that starts at 0. */
export type PathSegment = string | number;

/** Stable names of what can be wrong; docs and tools may rely on them. */
export const issueCodes = [
  // Reading
  'syntax',
  'limit',
  'duplicate_key',
  'duplicate_object',
  'unreadable',
  // Shape
  'wrong_type',
  'unknown_field',
  'unknown_value',
  'missing_field',
  'out_of_range',
  'mutually_exclusive',
  // Content
  'invalid_name',
  'invalid_label',
  'invalid_host',
  'invalid_address',
  'invalid_port',
  'invalid_duration',
  'invalid_regex',
  'invalid_header',
  'invalid_path',
  'invalid_protocol',
  'invalid_reference',
  'invalid_template',
  'invalid_value',
  'duplicate',
  'conflict',
  // Warnings
  'unsupported_kind',
  'deprecated',
  'no_effect',
  'unreachable',
] as const;
export type IssueCode = (typeof issueCodes)[number];

/** One finding. An error keeps the object out of force, a warning does not. */
export interface Issue {
  readonly severity: 'error' | 'warning';
  readonly code: IssueCode;
  /** For people, without position and path: `expected a number, found "abc"`. */
  readonly message: string;
  readonly path: readonly PathSegment[];
  /** What would be right, where that can be said shortly: `a number`. */
  readonly expected?: string;
}

/** `spec.http[0].match[0].headers["end-user"].exact`. */
export function formatPath(path: readonly PathSegment[]): string {
  let text = '';
  for (const segment of path) {
    if (typeof segment === 'number') text += `[${segment}]`;
    else if (/^[A-Za-z_][\w]*$/.test(segment)) text += text === '' ? segment : `.${segment}`;
    else text += `[${JSON.stringify(segment)}]`;
  }
  return text;
}

/** The opposite of formatPath; undefined when the text is not a path. */
export function parsePath(text: string): PathSegment[] | undefined {
  const path: PathSegment[] = [];
  const step = /\.?([A-Za-z_]\w*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/y;
  while (step.lastIndex < text.length) {
    const match = step.exec(text);
    if (match === null) return undefined;
    if (match[1] !== undefined) path.push(match[1]);
    else if (match[2] !== undefined) path.push(Number(match[2]));
    else path.push(JSON.parse(match[3] ?? '""') as string);
  }
  return path;
}
