/** `envoy.type.matcher.v3.StringMatcher` compiled to a function. */
import type { StringMatcher } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import { compileRegexMatcher } from './regex.ts';

export type StringPredicate = (value: string) => boolean;

/** Throws Error for a matcher without pattern, a bad regex or an extension. */
export function compileStringMatcher(matcher: StringMatcher): StringPredicate {
  const { matchPattern, ignoreCase } = matcher;
  if (matchPattern.case === 'safeRegex') {
    // As in Envoy, ignore_case has no effect on regular expressions.
    const regex = compileRegexMatcher(matchPattern.value);
    return (value) => regex.matches(value);
  }
  if (matchPattern.case === undefined) throw new Error('string matcher without pattern');
  if (matchPattern.case === 'custom') throw new Error('string matcher extensions are not supported');
  const pattern = ignoreCase ? matchPattern.value.toLowerCase() : matchPattern.value;
  const plain = plainPredicate(matchPattern.case, pattern);
  return ignoreCase ? (value) => plain(value.toLowerCase()) : plain;
}

function plainPredicate(kind: 'exact' | 'prefix' | 'suffix' | 'contains', pattern: string): StringPredicate {
  switch (kind) {
    case 'exact':
      return (value) => value === pattern;
    case 'prefix':
      return (value) => value.startsWith(pattern);
    case 'suffix':
      return (value) => value.endsWith(pattern);
    default:
      return (value) => value.includes(pattern);
  }
}
