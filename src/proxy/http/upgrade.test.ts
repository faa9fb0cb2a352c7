import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestHeaderMap, ResponseHeaderMap } from './header_map.ts';
import {
  isExtendedConnect,
  switchedFromHttp2,
  switchedToHttp2,
  upgradeFromHttp2,
  upgradeToHttp2,
} from './upgrade.ts';

function request(method: string, protocol: string, fields: Record<string, string> = {}): RequestHeaderMap {
  const headers = new RequestHeaderMap(Object.keys(fields), Object.values(fields));
  return Object.assign(headers, { method, protocol, path: '/ws', scheme: 'https', authority: 'h' });
}

test('extended CONNECT looks like an upgrade of HTTP/1, and goes out as it came', () => {
  const headers = request('CONNECT', 'WebSocket', { origin: 'o' });
  assert.ok(isExtendedConnect(headers));
  assert.ok(!isExtendedConnect(request('CONNECT', '')));
  upgradeFromHttp2(headers);
  assert.deepEqual(
    [headers.method, headers.protocol, headers.get('upgrade'), headers.get('connection')],
    ['GET', 'websocket', 'websocket', 'upgrade'],
  );
  const copy = upgradeToHttp2(headers);
  assert.deepEqual(
    [copy.method, copy.protocol, copy.path, copy.scheme, copy.authority, copy.names],
    ['CONNECT', 'websocket', '/ws', 'https', 'h', ['origin']],
  );
  assert.equal(headers.get('upgrade'), 'websocket', 'the request itself may be sent again');
});

test('answers', () => {
  const response = new ResponseHeaderMap(['x', 'content-length'], ['1', '0']);
  response.status = 200;
  switchedFromHttp2(response, 'websocket');
  assert.deepEqual(
    [response.status, response.get('upgrade'), response.get('connection')],
    [101, 'websocket', 'upgrade'],
  );
  switchedToHttp2(response);
  assert.deepEqual([response.status, response.names], [200, ['x']]);
});
