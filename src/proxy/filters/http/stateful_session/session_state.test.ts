import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { CookieBasedSessionStateSchema } from '#api/gen/envoy/extensions/http/stateful_session/cookie/v3/cookie_pb.ts';
import { HeaderBasedSessionStateSchema } from '#api/gen/envoy/extensions/http/stateful_session/header/v3/header_pb.ts';
import { RequestHeaderMap, ResponseHeaderMap } from '../../../http/header_map.ts';
import { cookieState, decodeCookie, encodeCookie, headerState, readSessionState } from './session_state.ts';

test('cookies: what is written is read back, until it is too old', () => {
  let now = 1_000_000;
  const cookie = { name: 's', path: '', ttl: { seconds: 30n, nanos: 0 } };
  const state = cookieState(create(CookieBasedSessionStateSchema, { cookie }), () => now);
  const response = new ResponseHeaderMap();
  state.write('[::1]:80', response);
  const text = response.getFirst('set-cookie') ?? '';
  assert.match(text, /^s="[^"]+"; Max-Age=30; HttpOnly$/);
  const request = new RequestHeaderMap();
  request.add('cookie', text.split(';')[0] ?? '');
  assert.equal(state.addressOf(request), '[::1]:80');
  now += 30_000;
  assert.equal(state.addressOf(request), '[::1]:80');
  now += 1000;
  assert.equal(state.addressOf(request), undefined);
});

test('the message in a cookie', () => {
  const address = '10.0.0.1:8080';
  const cases: readonly (readonly [what: string, bytes: Uint8Array, expected: string | undefined])[] = [
    ['no end', encodeCookie(address, 0), address],
    ['an end to come', encodeCookie(address, 101), address],
    ['an end that was', encodeCookie(address, 99), undefined],
    ['fields of later versions', Uint8Array.of(...encodeCookie(address, 0), 24, 1, 34, 1, 65), address],
    ['no address', encodeCookie('', 0), undefined],
    ['text', Buffer.from('[fe80::1]:80'), '[fe80::1]:80'],
    ['text that happens to be a message', Buffer.from(address), undefined],
    ['a message that breaks off is text', Uint8Array.of(10, 9, 65), '\n\tA'],
  ];
  for (const [what, bytes, expected] of cases)
    assert.equal(decodeCookie(Buffer.from(bytes), 100), expected, what);
});

test('headers; bad configurations', () => {
  const state = headerState(create(HeaderBasedSessionStateSchema, { name: 'X-S' }));
  const response = new ResponseHeaderMap();
  state.write('10.0.0.1:80', response);
  const request = new RequestHeaderMap();
  request.add('x-s', response.getFirst('x-s') ?? '');
  assert.equal(state.addressOf(request), '10.0.0.1:80');
  assert.throws(() => headerState(create(HeaderBasedSessionStateSchema)), /name is missing/);
  assert.throws(() => cookieState(create(CookieBasedSessionStateSchema)), /name is missing/);
  assert.throws(
    () => readSessionState({ name: 'envelope' } as Parameters<typeof readSessionState>[0]),
    /envelope .* not compiled in/,
  );
});
