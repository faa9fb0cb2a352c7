/** `envoy.type.matcher.v3.ValueMatcher` and `MetadataMatcher` over metadata, which is plain JSON here. */
import type { MetadataMatcher } from '#api/gen/envoy/type/matcher/v3/metadata_pb.ts';
import type { DoubleMatcher } from '#api/gen/envoy/type/matcher/v3/number_pb.ts';
import type { ValueMatcher } from '#api/gen/envoy/type/matcher/v3/value_pb.ts';
import { compileStringMatcher } from '../../http/string_matcher.ts';

/** Asks a value; undefined is one that is not there. */
export type ValuePredicate = (value: unknown) => boolean;

function doublePredicate({ matchPattern }: DoubleMatcher): ValuePredicate {
  switch (matchPattern.case) {
    case 'range': {
      const { start, end } = matchPattern.value;
      return (value) => typeof value === 'number' && value >= start && value < end;
    }
    case 'exact': {
      const wanted = matchPattern.value;
      return (value) => value === wanted;
    }
    default:
      throw new Error('number matcher without pattern');
  }
}

/** Throws Error for a matcher without pattern or with a bad one. */
export function compileValueMatcher(matcher: ValueMatcher | undefined): ValuePredicate {
  const pattern = matcher?.matchPattern;
  switch (pattern?.case) {
    case 'nullMatch':
      return (value) => value === null;
    case 'doubleMatch':
      return doublePredicate(pattern.value);
    case 'stringMatch': {
      const matches = compileStringMatcher(pattern.value);
      return (value) => typeof value === 'string' && matches(value);
    }
    case 'boolMatch': {
      const wanted = pattern.value;
      return (value) => value === wanted;
    }
    case 'presentMatch': {
      const wanted = pattern.value;
      return (value) => (value !== undefined) === wanted;
    }
    case 'listMatch': {
      const { matchPattern } = pattern.value;
      if (matchPattern.case === undefined) throw new Error('list matcher without pattern');
      const one = compileValueMatcher(matchPattern.value);
      return (value) => Array.isArray(value) && value.some(one);
    }
    case 'orMatch': {
      const each = pattern.value.valueMatchers.map(compileValueMatcher);
      return (value) => each.some((matches) => matches(value));
    }
    default:
      throw new Error('value matcher without pattern');
  }
}

/** Gives the metadata of one filter. */
export type MetadataSource<Subject> = (subject: Subject, filter: string) => unknown;

/** Follows the path of keys below the filter's metadata, then asks the value. */
export function compileMetadataMatcher<Subject>(
  matcher: MetadataMatcher,
  source: MetadataSource<Subject>,
): (subject: Subject) => boolean {
  const { filter, invert } = matcher;
  const keys = matcher.path.map(({ segment }) => {
    if (segment.case === undefined) throw new Error('metadata path segment without key');
    return segment.value;
  });
  const matches = compileValueMatcher(matcher.value);
  return (subject) => {
    let value = source(subject, filter);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string;
      if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) {
        value = undefined;
        break;
      }
      value = (value as Record<string, unknown>)[key];
    }
    return matches(value) !== invert;
  };
}
