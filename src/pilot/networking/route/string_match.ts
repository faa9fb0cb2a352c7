/** Matches of VirtualServices as Envoy's matchers. */
import { create } from '@bufbuild/protobuf';
import {
  type HeaderMatcher,
  HeaderMatcherSchema,
  type QueryParameterMatcher,
  QueryParameterMatcherSchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { StringMatcher } from '#api/gen/envoy/type/matcher/v3/string_pb.ts';
import type { StringMatch } from '#config/kinds/virtual_service/types.ts';
import { exactMatch, prefixMatch, regexMatch } from '../wire.ts';

/** A matcher for a value; undefined when the match only asks for presence. */
export function stringMatcher(match: StringMatch): StringMatcher | undefined {
  if (match.exact !== undefined) return exactMatch(match.exact);
  // A prefix that is empty, and a regular expression for everything, ask for presence only.
  if (match.prefix !== undefined && match.prefix !== '') return prefixMatch(match.prefix);
  if (match.regex !== undefined && match.regex !== '*' && match.regex !== '') return regexMatch(match.regex);
  return undefined;
}

/** A matcher for a header; `inverted` for withoutHeaders. */
export function headerMatcher(name: string, match: StringMatch, inverted = false): HeaderMatcher {
  const value = stringMatcher(match);
  return create(HeaderMatcherSchema, {
    name,
    headerMatchSpecifier:
      value === undefined ? { case: 'presentMatch', value: true } : { case: 'stringMatch', value },
    invertMatch: inverted,
    // A header that is missing does not have the value that must not be there.
    treatMissingHeaderAsEmpty: inverted && value !== undefined,
  });
}

/** A matcher for a query parameter. */
export function queryMatcher(name: string, match: StringMatch): QueryParameterMatcher {
  const value = stringMatcher(match);
  return create(QueryParameterMatcherSchema, {
    name,
    queryParameterMatchSpecifier:
      value === undefined ? { case: 'presentMatch', value: true } : { case: 'stringMatch', value },
  });
}
