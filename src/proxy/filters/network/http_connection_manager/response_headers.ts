/** What a connection manager does to the headers of each response (envoy mutateResponseHeaders). On the hot path. */
import type { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { HeaderFlag } from '../../../http/header_names.ts';
import type { HcmConfig } from './config.ts';
import { appended } from './request_headers.ts';

let dateSecond = -1;
let dateText = '';

/** `date` for a time in milliseconds since the epoch; made once per second. */
export function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}

/**
 * @param upgraded the response switches protocols: `connection` and `upgrade` stay.
 * @param nowMs milliseconds since the epoch, for `date`.
 */
export function mutateResponseHeaders(
  headers: ResponseHeaderMap,
  request: RequestHeaderMap | undefined,
  config: HcmConfig,
  requestId: string,
  upgraded: boolean,
  nowMs: number,
): void {
  const { seen } = headers;
  if ((seen & (HeaderFlag.connection | HeaderFlag.upgrade | HeaderFlag.hopByHop)) !== 0) {
    if (!upgraded) {
      headers.remove('connection');
      headers.remove('upgrade');
    }
    headers.remove('keep-alive');
    headers.remove('proxy-connection');
  }
  if (requestId !== '' && (config.alwaysRequestIdInResponse || forcesTrace(request)))
    headers.set('x-request-id', requestId);
  if (config.via !== '') headers.set('via', appended(headers.get('via'), config.via));
  if ((seen & HeaderFlag.date) === 0) headers.addFlagged('date', httpDate(nowMs), HeaderFlag.date);
  if (config.serverHeader === 'pass_through') return;
  if ((seen & HeaderFlag.server) === 0) headers.addFlagged('server', config.serverName, HeaderFlag.server);
  else if (config.serverHeader === 'overwrite') headers.set('server', config.serverName);
}

function forcesTrace(request: RequestHeaderMap | undefined): boolean {
  return (
    request !== undefined && (request.seen & HeaderFlag.envoy) !== 0 && request.has('x-envoy-force-trace')
  );
}
