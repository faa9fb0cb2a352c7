/** Turns a request into the one that a redirect of the upstream asks for (envoy convertRequestHeadersForInternalRedirect). */
import type { TerminalFilterCallbacks } from '../../../http/filter.ts';
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import type { InternalRedirectPolicy } from '../../../router/internal_redirect_policy.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';

/** Key of the filter state that counts the redirects of a request. */
const stateKey = 'trysail.internal_redirects';

interface RedirectState {
  count: number;
  readonly visited: Map<string, Set<string>>;
}

const absoluteUrl = /^(https?):\/\/([^/?#]+)([^#]*)/i;

/**
 * True when the headers are those of the next request, and its route is known to be there; else they are as they were.
 * The request must have come completely.
 */
export function takesRedirect(
  policy: InternalRedirectPolicy,
  route: RouteEntry,
  headers: RequestHeaderMap,
  response: ResponseHeaderMap,
  callbacks: TerminalFilterCallbacks,
): boolean {
  const location = response.getFirst('location');
  const url = location === undefined ? null : absoluteUrl.exec(location);
  if (url === null || headers.path === '') return false;
  const scheme = (url[1] as string).toLowerCase();
  const rest = url[3] as string;
  if (!policy.allowCrossScheme && scheme !== headers.scheme) return false;
  const info = callbacks.streamInfo;
  let state = info.filterState?.get(stateKey) as RedirectState | undefined;
  if (state === undefined) {
    state = { count: 0, visited: new Map() };
    info.filterState ??= new Map();
    info.filterState.set(stateKey, state);
  }
  if (state.count >= policy.maxRedirects) return false;
  const old = { scheme: headers.scheme, authority: headers.authority, path: headers.path };
  const copied = policy.headersToCopy.map((name) => [name, headers.getAll(name)] as const);
  for (const [name] of copied) {
    headers.remove(name);
    for (const value of response.getAll(name)) headers.add(name, value);
  }
  headers.scheme = scheme;
  headers.authority = url[2] as string;
  headers.path = rest.startsWith('/') ? rest : `/${rest}`;
  callbacks.clearRouteCache();
  const next = callbacks.route();
  const target = {
    from: route.name,
    to: next?.name ?? '',
    fromHttps: old.scheme === 'https',
    toHttps: scheme === 'https',
    visited: state.visited,
  };
  if (next === undefined || !policy.predicates.every((accepts) => accepts(target))) {
    Object.assign(headers, old);
    for (const [name, values] of copied) {
      headers.remove(name);
      for (const value of values) headers.add(name, value);
    }
    callbacks.clearRouteCache();
    return false;
  }
  // See other (RFC 9110 15.4.4): the next request asks for something else, its method and body do not go along.
  if (response.status === 303 && headers.method !== 'GET' && headers.method !== 'HEAD') {
    headers.method = 'GET';
    headers.remove('content-length');
  }
  state.count++;
  headers.set('x-envoy-original-url', `${old.scheme}://${old.authority}${old.path}`);
  return true;
}
