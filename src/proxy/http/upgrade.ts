/**
 * Upgrades as HTTP/1 (`connection: upgrade`, 101) and HTTP/2 (extended CONNECT, RFC 8441) write them. Inside the proxy all
 * look like those of HTTP/1, as in Envoy (Http::Utility::transformUpgrade...).
 */
import { RequestHeaderMap, type ResponseHeaderMap } from './header_map.ts';

/** True for a request that came as extended CONNECT. */
export function isExtendedConnect(headers: RequestHeaderMap): boolean {
  return headers.protocol !== '' && headers.method === 'CONNECT';
}

/** Turns extended CONNECT into a GET with `upgrade`. */
export function upgradeFromHttp2(headers: RequestHeaderMap): void {
  headers.method = 'GET';
  headers.protocol = headers.protocol.toLowerCase();
  headers.set('upgrade', headers.protocol);
  headers.set('connection', 'upgrade');
}

/** A copy for an HTTP/2 upstream; the request itself may be sent again to another. */
export function upgradeToHttp2(headers: RequestHeaderMap): RequestHeaderMap {
  const copy = new RequestHeaderMap(headers.names.slice(), headers.values.slice());
  copy.seen = headers.seen;
  copy.method = 'CONNECT';
  copy.path = headers.path;
  copy.scheme = headers.scheme;
  copy.authority = headers.authority;
  copy.protocol = headers.protocol;
  copy.remove('upgrade');
  copy.remove('connection');
  copy.remove('http2-settings');
  return copy;
}

/** A 101 as extended CONNECT answers: 200. */
export function switchedToHttp2(headers: ResponseHeaderMap): void {
  headers.status = 200;
  headers.remove('upgrade');
  headers.remove('connection');
  if (headers.getFirst('content-length') === '0') headers.remove('content-length');
}

/** A 200 to extended CONNECT as HTTP/1 answers: 101. */
export function switchedFromHttp2(headers: ResponseHeaderMap, protocol: string): void {
  headers.status = 101;
  headers.set('upgrade', protocol);
  headers.set('connection', 'upgrade');
}
