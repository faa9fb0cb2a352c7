import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import {
  ExtAuthzPerRouteSchema,
  ExtAuthzSchema,
} from '#api/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts';
import { RequestHeaderMap } from '../../../http/header_map.ts';
import { changeQuery, changeRequest, validChanges } from './mutations.ts';
import { compileRouteSettings, compileSettings } from './settings.ts';
import { type Allowed, noResponseChanges } from './verdict.ts';

function allowed(more: Partial<Allowed>): Allowed {
  return {
    kind: 'allowed',
    set: [],
    add: [],
    append: [],
    remove: [],
    response: noResponseChanges,
    querySet: [],
    queryRemove: [],
    metadata: undefined,
    ...more,
  };
}

test('changes that could break a request are told apart', () => {
  const cases: [Partial<Allowed>, boolean][] = [
    [{ set: [['x-a', 'value with spaces']] }, true],
    [{ set: [[':path', '/x']] }, true],
    [{ set: [['x a', '1']] }, false],
    [{ add: [['x-a', '1\r\nx-b: 2']] }, false],
    [{ append: [['x-a', '\0']] }, false],
    [{ remove: ['x-a\n'] }, false],
    [{ response: { ...noResponseChanges, set: [['', '1']] } }, false],
  ];
  for (const [changes, valid] of cases)
    assert.equal(validChanges(allowed(changes)), valid, JSON.stringify(changes));
});

test('what a verdict does to a request', () => {
  const headers = new RequestHeaderMap(['x-a', 'x-b', 'x-c'], ['1', '2', '3']);
  headers.authority = 'shop';
  const changes = allowed({
    set: [
      ['x-a', 'new'],
      ['host', 'other'],
    ],
    append: [
      ['x-b', 'more'],
      ['x-d', 'never'],
    ],
    remove: ['x-c', ':method', 'host'],
  });
  assert.equal(changeRequest(headers, changes), true);
  assert.deepEqual(headers.names, ['x-a', 'x-b']);
  assert.deepEqual(headers.values, ['new', '2,more']);
  assert.equal(headers.authority, 'other');
  assert.equal(changeRequest(headers, allowed({})), false);
});

test('query parameters are set and removed, and cannot end the request line', () => {
  const cases: [string, Partial<Allowed>, string][] = [
    ['/p?b=1&a=%20', { querySet: [['c', 'x']] }, '/p?a=%20&b=1&c=x'],
    ['/p?a=1', { queryRemove: ['a'] }, '/p'],
    ['/p', { querySet: [['a', '1 HTTP/1.1\r\n&b=2#f']] }, '/p?a=1%20HTTP/1.1%0D%0A%26b=2%23f'],
    ['/p?a', {}, '/p?a'],
  ];
  for (const [path, changes, expected] of cases) {
    const headers = new RequestHeaderMap();
    headers.path = path;
    changeQuery(headers, allowed(changes));
    assert.equal(headers.path, expected, path);
  }
});

test('fields that are not run are refused by name', () => {
  const refused: object[] = [
    { shadowMode: true },
    { emitFilterStateStats: true },
    { typedMetadataContextNamespaces: ['x'] },
    { decoderHeaderMutationRules: {} },
    { bootstrapMetadataLabelsKey: 'x' },
  ];
  for (const init of refused)
    assert.throws(() => compileSettings(create(ExtAuthzSchema, init)), /is not implemented$/);
  assert.throws(() => compileSettings(create(ExtAuthzSchema, { withRequestBody: {} })), /must be above 0/);
  const route = (override: object) => () =>
    compileRouteSettings(create(ExtAuthzPerRouteSchema, { override } as never));
  assert.throws(route({ case: undefined }), /override is missing/);
  assert.throws(route({ case: 'disabled', value: false }), /disabled must be true/);
});
