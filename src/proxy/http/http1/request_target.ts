/** Request targets that are not plain paths, and `connection` tokens that name other headers. */
import type { RequestHeaderMap } from '../header_map.ts';

/**
 * Takes `http://host/path` (RFC 9112 3.2.2) apart: the authority replaces `host`, the path stays. False when it is no
 * http or https URL.
 */
export function splitAbsoluteTarget(headers: RequestHeaderMap): boolean {
  const target = headers.path;
  const lower = target.slice(0, 8).toLowerCase();
  const start = lower.startsWith('http://') ? 7 : lower === 'https://' ? 8 : 0;
  if (start === 0) return false;
  let end = start;
  while (end < target.length && !'/?#'.includes(target[end] as string)) end++;
  if (end === start) return false;
  const authority = target.slice(start, end);
  if (!isHostAndPort(authority)) return false;
  headers.authority = authority;
  headers.scheme = start === 7 ? 'http' : 'https';
  const rest = target.slice(end);
  headers.path = rest.startsWith('/') ? rest : `/${rest}`;
  return true;
}

/**
 * A DNS name or an address, with a port from 0 to 65535 or none. User information has no place there (RFC 9110 4.2.4); what
 * else may stand in a URL's host is refused as Envoy refuses it.
 */
function isHostAndPort(authority: string): boolean {
  const port = /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d+))?$/.exec(authority);
  return port !== null && (port[1] === undefined || Number(port[1]) <= 65_535);
}

/** Headers that a client may not have removed on the way by naming them in `connection`. */
const protectedNames: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
]);
const ownTokens: ReadonlySet<string> = new Set([
  'close',
  'keep-alive',
  'upgrade',
  'http2-settings',
  'te',
  'transfer-encoding',
  'connection',
]);

/** Names that `connection` nominates as hop-by-hop (RFC 9110 7.6.1); undefined when one of them is protected. */
export function nominatedHeaders(headers: RequestHeaderMap): string[] | undefined {
  const names: string[] = [];
  for (const part of (headers.get('connection') ?? '').split(',')) {
    const name = part.trim().toLowerCase();
    if (name === '' || ownTokens.has(name)) continue;
    if (name.startsWith(':') || protectedNames.has(name)) return undefined;
    names.push(name);
  }
  return names;
}
