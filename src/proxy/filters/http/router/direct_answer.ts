/** Requests that the router answers without an upstream, or refuses. */
import type { LocalReply } from '../../../http/filter.ts';
import type { RequestHeaderMap } from '../../../http/header_map.ts';
import { parseRetryOn } from '../../../router/retry_policy.ts';
import type { RouteEntry } from '../../../router/route_entry.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

/** Redirects and direct responses. */
export function directAnswer(route: RouteEntry, headers: RequestHeaderMap, info: StreamInfo): LocalReply {
  const { action } = route;
  let body = action.kind === 'direct' ? action.body : '';
  const format = action.kind === 'direct' ? action.format : undefined;
  if (format !== undefined) body = format.format(info, headers, undefined, body);
  return {
    status: action.kind === 'forward' ? 500 : action.status,
    body,
    contentType: format?.contentType ?? 'text/plain',
    details: 'direct_response',
    flags: 0,
    modifyHeaders: (response) => {
      if (action.kind === 'redirect')
        response.add('location', action.location(headers, { info, request: headers, response }));
      if (route.hasResponseRules) route.applyResponseRules(response, headers, info);
    },
  };
}

/** True when the `x-envoy-` headers of `names` that are there can be read (Router.strict_check_headers). */
export function passesStrictCheck(headers: RequestHeaderMap, names: readonly string[]): boolean {
  for (const name of names) {
    const value = headers.getFirst(name);
    if (value === undefined) continue;
    if (name.endsWith('retry-on') || name.endsWith('grpc-on')) {
      if (value.split(',').some((part) => parseRetryOn(part) === 0)) return false;
    } else if (!/^\d{1,10}$/.test(value)) return false;
  }
  return true;
}
