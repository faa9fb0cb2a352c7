/** HTTPMatchRequest as Envoy's RouteMatch. */
import { create } from '@bufbuild/protobuf';
import {
  type HeaderMatcher,
  type RouteMatch,
  RouteMatchSchema,
} from '#api/gen/envoy/config/route/v3/route_components_pb.ts';
import type { HTTPMatchRequest, StringMatch } from '#config/kinds/virtual_service/types.ts';
import { headerMatcher, queryMatcher } from './string_match.ts';

type PathSpecifier = RouteMatch['pathSpecifier'];

function pathSpecifier(uri: StringMatch | undefined): PathSpecifier {
  if (uri?.exact !== undefined) return { case: 'path', value: uri.exact };
  if (uri?.regex !== undefined && uri.regex !== '*' && uri.regex !== '') {
    return {
      case: 'safeRegex',
      value: {
        $typeName: 'envoy.type.matcher.v3.RegexMatcher',
        engineType: { case: undefined },
        regex: uri.regex,
      },
    };
  }
  return { case: 'prefix', value: uri?.prefix ?? '/' };
}

/** The match of a rule; without conditions every request matches. */
export function routeMatch(match: HTTPMatchRequest | undefined): RouteMatch {
  const headers: HeaderMatcher[] = [];
  // Sorted, so that equal rules give equal bytes whatever the order of the source.
  for (const [name, value] of Object.entries(match?.headers ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))) {
    headers.push(headerMatcher(name, value));
  }
  for (const [name, value] of Object.entries(match?.withoutHeaders ?? {}).sort(([a], [b]) =>
    a < b ? -1 : 1,
  )) {
    headers.push(headerMatcher(name, value, true));
  }
  if (match?.method !== undefined) headers.push(headerMatcher(':method', match.method));
  if (match?.authority !== undefined) headers.push(headerMatcher(':authority', match.authority));
  if (match?.scheme !== undefined) headers.push(headerMatcher(':scheme', match.scheme));
  return create(RouteMatchSchema, {
    pathSpecifier: pathSpecifier(match?.uri),
    caseSensitive: match?.ignoreUriCase !== true,
    headers,
    queryParameters: Object.entries(match?.queryParams ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => queryMatcher(name, value)),
  });
}

/** Whether the match takes every request, so that later rules of the host are never reached. */
export function isCatchAll(route: RouteMatch | undefined): boolean {
  if (route === undefined) return false;
  const path = route.pathSpecifier;
  const everyPath =
    (path.case === 'prefix' && path.value === '/') ||
    (path.case === 'safeRegex' && (path.value.regex === '.*' || path.value.regex === '/.*'));
  return everyPath && route.headers.length === 0 && route.queryParameters.length === 0;
}
