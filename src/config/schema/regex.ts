/** Regular expressions of users: RE2 syntax, as Envoy runs them. */
import { RE2JS } from 're2js';
import { type Schema, string } from './schema.ts';

/** Longest accepted pattern, in characters; a program is never smaller than its text, and Envoy bounds programs. */
const maxPatternLength = 1024;

/** What is wrong with a pattern; undefined when it compiles. */
export function regexError(pattern: string): string | undefined {
  if (pattern.length > maxPatternLength) return `longer than ${maxPatternLength} characters`;
  try {
    RE2JS.compile(pattern);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A regular expression in RE2 syntax. */
export const regex: Schema<string> = string({
  expected: 'a regular expression',
  rule(value, at) {
    const reason = regexError(value);
    if (reason !== undefined) {
      at.error(
        'invalid_regex',
        `expected a regular expression in RE2 syntax, found ${JSON.stringify(value.slice(0, 60))}: ${reason}`,
        [],
        'a regular expression in RE2 syntax',
      );
    }
  },
});
