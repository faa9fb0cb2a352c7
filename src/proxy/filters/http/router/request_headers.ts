/** What a route changes in the request on its way upstream (envoy RouteEntryImpl::finalizeRequestHeaders). */
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import type { ForwardAction, RouteEntry } from '../../../router/route_entry.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

function rewritePath(
  action: ForwardAction,
  headers: RequestHeaderMap,
  info: StreamInfo,
  insertOriginal: boolean,
): void {
  const { pathRewrite } = action;
  if (pathRewrite.kind === 'none' || headers.path === '') return;
  const question = headers.path.indexOf('?');
  const path = question < 0 ? headers.path : headers.path.slice(0, question);
  const query = question < 0 ? '' : headers.path.slice(question);
  let next: string;
  if (pathRewrite.kind === 'prefix') next = pathRewrite.replace(path, pathRewrite.replacement);
  else if (pathRewrite.kind === 'regex') next = pathRewrite.rewrite(path);
  else next = pathRewrite.format({ info, request: headers, response: undefined });
  if (insertOriginal) headers.set('x-envoy-original-path', headers.path);
  headers.path = next + query;
}

function rewriteHost(action: ForwardAction, headers: RequestHeaderMap, info: StreamInfo): void {
  const { hostRewrite } = action;
  let host: string | undefined;
  switch (hostRewrite.kind) {
    case 'literal':
      ({ host } = hostRewrite);
      break;
    case 'header':
      host = headers.get(hostRewrite.name);
      break;
    case 'path': {
      const question = headers.path.indexOf('?');
      host = hostRewrite.rewrite(question < 0 ? headers.path : headers.path.slice(0, question));
      break;
    }
    case 'format':
      host = hostRewrite.format({ info, request: headers, response: undefined });
      break;
    default:
      return;
  }
  if (host === undefined || host === '') return;
  setHost(action, headers, host);
}

/** Replaces the authority; the old one goes to `x-forwarded-host` when the route says so. */
export function setHost(action: ForwardAction, headers: RequestHeaderMap, host: string): void {
  if (action.appendForwardedHost) appendForwardedHost(headers);
  headers.authority = host;
}

/** A host that stands last already is not repeated. */
function appendForwardedHost(headers: RequestHeaderMap): void {
  const old = headers.get('x-forwarded-host');
  const { authority } = headers;
  if (old === undefined || old === '') headers.set('x-forwarded-host', authority);
  else if (old.slice(old.lastIndexOf(',') + 1) !== authority)
    headers.set('x-forwarded-host', `${old},${authority}`);
}

/** @param insertOriginal adds `x-envoy-original-path` when the path changes. */
export function finalizeRequestHeaders(
  route: RouteEntry,
  action: ForwardAction,
  headers: RequestHeaderMap,
  info: StreamInfo,
  insertOriginal: boolean,
): void {
  if (route.hasRequestRules) route.applyRequestRules(headers, info);
  if (action.hostRewrite.kind !== 'none') rewriteHost(action, headers, info);
  if (action.pathRewrite.kind !== 'none') rewritePath(action, headers, info, insertOriginal);
}
