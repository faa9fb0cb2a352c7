/** `envoy.config.route.v3.HeaderMatcher` compiled to functions: for routes, retries, faults, RBAC and rate limits. */
import type { HeaderMatcher } from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { HeaderMap } from './header_map.ts';
import { compileRegexMatcher } from './regex.ts';
import { compileStringMatcher, type StringPredicate } from './string_matcher.ts';

export type HeaderPredicate = (headers: HeaderMap) => boolean;

/** True when one of the values of a repeated header matches. */
function someValue(headers: HeaderMap, name: string, matches: StringPredicate): boolean {
  const { names, values } = headers;
  for (let i = names.indexOf(name); i >= 0; i = names.indexOf(name, i + 1))
    if (matches(values[i] as string)) return true;
  return false;
}

/**
 * One matcher. Values of a repeated header are asked one by one: one that matches is enough, and none may where the matcher
 * is inverted. Throws Error for an empty name or a bad pattern.
 */
export function compileHeaderMatcher(matcher: HeaderMatcher): HeaderPredicate {
  const lower = matcher.name.toLowerCase();
  const name = lower === 'host' ? ':authority' : lower;
  if (name === '') throw new Error('header matcher without name');
  const { headerMatchSpecifier: specifier, invertMatch, treatMissingHeaderAsEmpty } = matcher;
  if (specifier.case === undefined || specifier.case === 'presentMatch') {
    const wanted = (specifier.value ?? true) !== invertMatch;
    return treatMissingHeaderAsEmpty ? () => wanted : (headers) => headers.has(name) === wanted;
  }
  const matches = valuePredicate(specifier);
  if (name.startsWith(':'))
    return (headers) => {
      const value = headers.get(name) ?? (treatMissingHeaderAsEmpty ? '' : undefined);
      // A missing header never matches, inverted or not.
      return value !== undefined && matches(value) !== invertMatch;
    };
  return (headers) => {
    if (headers.names.includes(name)) return someValue(headers, name, matches) !== invertMatch;
    return treatMissingHeaderAsEmpty && matches('') !== invertMatch;
  };
}

type Specifier = Exclude<
  HeaderMatcher['headerMatchSpecifier'],
  { case: undefined } | { case: 'presentMatch' }
>;

function valuePredicate(specifier: Specifier): StringPredicate {
  switch (specifier.case) {
    case 'exactMatch': {
      const wanted = specifier.value;
      return (value) => value === wanted;
    }
    case 'prefixMatch': {
      const prefix = specifier.value;
      return (value) => value.startsWith(prefix);
    }
    case 'suffixMatch': {
      const suffix = specifier.value;
      return (value) => value.endsWith(suffix);
    }
    case 'containsMatch': {
      const part = specifier.value;
      return (value) => value.includes(part);
    }
    case 'safeRegexMatch': {
      const regex = compileRegexMatcher(specifier.value);
      return (value) => regex.matches(value);
    }
    case 'rangeMatch': {
      const { start, end } = specifier.value;
      return (value) => {
        if (!/^[+-]?\d{1,19}$/.test(value)) return false;
        const number = BigInt(value.startsWith('+') ? value.slice(1) : value);
        return number >= start && number < end;
      };
    }
    case 'stringMatch':
      return compileStringMatcher(specifier.value);
  }
}

/** All of a list must match; undefined for an empty list, which matches everything. */
export function compileHeaderMatchers(matchers: readonly HeaderMatcher[]): HeaderPredicate | undefined {
  if (matchers.length === 0) return undefined;
  const [first, ...rest] = matchers.map(compileHeaderMatcher);
  if (first === undefined || rest.length === 0) return first;
  return (headers) => first(headers) && rest.every((predicate) => predicate(headers));
}
