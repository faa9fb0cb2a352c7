/** `envoy.config.route.v3.RouteMatch` compiled to a function of the request. */
import type {
  QueryParameterMatcher,
  RouteMatch,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { TlsInfo } from '../network/connection.ts';
import type { RuntimeValues } from '../network/runtime.ts';
import { compileShare } from '../network/runtime_fraction.ts';
import { isGrpcRequest } from '../http/grpc.ts';
import { compileHeaderMatchers } from '../http/header_matcher.ts';
import type { RequestHeaderMap } from '../http/header_map.ts';
import { compileRegexMatcher } from '../http/regex.ts';
import { compileStringMatcher } from '../http/string_matcher.ts';

/** What a match may look at. One object serves many matches. */
export interface MatchInput {
  readonly headers: RequestHeaderMap;
  /** Path without query. */
  path: string;
  /** In [0, 1); drawn for each fraction. */
  random(): number;
  readonly tls: TlsInfo | undefined;
}

export type MatchPredicate = (input: MatchInput) => boolean;

/** Rewrites the matched part of a path for `prefix_rewrite`; a regex matches all of it. */
export type PrefixRewrite = (path: string, replacement: string) => string;

export interface CompiledMatch {
  readonly matches: MatchPredicate;
  readonly replacePrefix: PrefixRewrite;
}

/** Path without query and fragment. */
export function pathOnly(path: string): string {
  const question = path.indexOf('?');
  return question < 0 ? path : path.slice(0, question);
}

function compilePath(match: RouteMatch): { readonly test: MatchPredicate; readonly prefixLength: number } {
  const { pathSpecifier: specifier } = match;
  const fold = match.caseSensitive === false;
  switch (specifier.case) {
    case 'prefix': {
      if (specifier.value === '/' || specifier.value === '')
        return { test: (input) => input.headers.method !== 'CONNECT', prefixLength: specifier.value.length };
      const prefix = fold ? specifier.value.toLowerCase() : specifier.value;
      return {
        test: fold
          ? (input) => input.path.toLowerCase().startsWith(prefix)
          : (input) => input.path.startsWith(prefix),
        prefixLength: prefix.length,
      };
    }
    case 'path': {
      const path = fold ? specifier.value.toLowerCase() : specifier.value;
      return {
        test: fold ? (input) => input.path.toLowerCase() === path : (input) => input.path === path,
        prefixLength: path.length,
      };
    }
    case 'pathSeparatedPrefix': {
      const prefix = fold ? specifier.value.toLowerCase() : specifier.value;
      if (prefix.endsWith('/')) throw new Error('path_separated_prefix must not end with /');
      return {
        test: (input) => {
          const path = fold ? input.path.toLowerCase() : input.path;
          return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/');
        },
        prefixLength: prefix.length,
      };
    }
    case 'safeRegex': {
      const regex = compileRegexMatcher(specifier.value);
      return { test: (input) => regex.matches(input.path), prefixLength: -1 };
    }
    case 'connectMatcher':
      return { test: (input) => input.headers.method === 'CONNECT', prefixLength: -1 };
    case 'pathMatchPolicy':
      throw new Error(`path_match_policy ${specifier.value.name} is not supported`);
    default:
      throw new Error('route match without a path specifier');
  }
}

/** First value of a parameter in a path with query; undefined when it is absent. */
export function queryParameter(path: string, name: string): string | undefined {
  const question = path.indexOf('?');
  if (question < 0) return undefined;
  for (const pair of path.slice(question + 1).split('&')) {
    const equals = pair.indexOf('=');
    if ((equals < 0 ? pair : pair.slice(0, equals)) === name) return equals < 0 ? '' : pair.slice(equals + 1);
  }
  return undefined;
}

function compileQuery(matcher: QueryParameterMatcher): (path: string) => boolean {
  const { name, queryParameterMatchSpecifier: specifier } = matcher;
  if (specifier.case === 'stringMatch') {
    const test = compileStringMatcher(specifier.value);
    return (path) => {
      const value = queryParameter(path, name);
      return value !== undefined && test(value);
    };
  }
  const wanted = specifier.value ?? true;
  return (path) => (queryParameter(path, name) !== undefined) === wanted;
}

/** All of a list must match a path with its query; an empty list matches everything. */
export function compileQueryMatchers(matchers: readonly QueryParameterMatcher[]): (path: string) => boolean {
  const tests = matchers.map(compileQuery);
  return (path) => tests.every((test) => test(path));
}

/** First value of a cookie; undefined when it is absent. */
export function cookieValue(headers: RequestHeaderMap, name: string): string | undefined {
  for (const header of headers.getAll('cookie')) {
    for (const pair of header.split(';')) {
      const equals = pair.indexOf('=');
      if (equals > 0 && pair.slice(0, equals).trim() === name) {
        const value = pair.slice(equals + 1).trim();
        return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
      }
    }
  }
  return undefined;
}

/** Throws Error for what is malformed or not supported. Without `runtime` fractions have their defaults. */
export function compileRouteMatch(match: RouteMatch, runtime?: RuntimeValues): CompiledMatch {
  const { test, prefixLength } = compilePath(match);
  const conditions: MatchPredicate[] = [];
  if (match.runtimeFraction !== undefined) {
    const share = compileShare(match.runtimeFraction, 1, runtime);
    conditions.push((input) => input.random() < share());
  }
  if (match.grpc !== undefined) conditions.push(({ headers }) => isGrpcRequest(headers));
  const headers = compileHeaderMatchers(match.headers);
  if (headers !== undefined) conditions.push((input) => headers(input.headers));
  if (match.queryParameters.length > 0) {
    const query = compileQueryMatchers(match.queryParameters);
    conditions.push(({ headers }) => query(headers.path));
  }
  for (const cookie of match.cookies) {
    if (cookie.stringMatch === undefined) throw new Error('cookie matcher without string_match');
    const value = compileStringMatcher(cookie.stringMatch);
    conditions.push((input) => {
      const found = cookieValue(input.headers, cookie.name);
      return (found !== undefined && value(found)) !== cookie.invertMatch;
    });
  }
  if (match.tlsContext !== undefined) {
    const { presented, validated } = match.tlsContext;
    conditions.push(({ tls }) => {
      const has = tls?.peerCertificateDer !== undefined;
      if (presented !== undefined && presented !== has) return false;
      return validated === undefined || (has && validated === (tls?.peerCertificateValidated ?? false));
    });
  }
  if (match.dynamicMetadata.length > 0 || match.filterState.length > 0)
    throw new Error('route match by dynamic_metadata or filter_state is not supported');
  const matches = conditions.length === 0 ? test : allOf([test, ...conditions]);
  return {
    matches,
    replacePrefix: (path, replacement) =>
      prefixLength < 0 ? replacement : replacement + path.slice(prefixLength),
  };
}

function allOf(predicates: readonly MatchPredicate[]): MatchPredicate {
  return (input) => {
    for (const predicate of predicates) if (!predicate(input)) return false;
    return true;
  };
}
