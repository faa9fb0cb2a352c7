import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isPlainPath, normalizePath, type PathOptions } from './path_normalization.ts';

const base: PathOptions = { normalize: true, mergeSlashes: false, escapedSlashes: 'keep' };
const merge: PathOptions = { ...base, mergeSlashes: true };
const decode: PathOptions = { ...merge, escapedSlashes: 'forward' };

// Results of Envoy 1.40 for the same settings.
const cases: readonly (readonly [path: string, base: string, decoded: string])[] = [
  ['/a/./b', '/a/b', '/a/b'],
  ['/a/../b', '/b', '/b'],
  ['/..', '/', '/'],
  ['/a/..', '/', '/'],
  ['/a/b/..', '/a/', '/a/'],
  ['/a/b/.', '/a/b/', '/a/b/'],
  ['/.', '/', '/'],
  ['/%', '/%', '/%'],
  ['/%z', '/%z', '/%z'],
  ['/a/%2e%2E/b', '/b', '/b'],
  ['/a/.../b', '/a/.../b', '/a/.../b'],
  ['/a//../b', '/a/b', '/a/b'],
  ['/a?x=/../%41', '/a?x=/../%41', '/a?x=/../%41'],
  ['/a/..;x/b', '/b', '/b'],
  ['/a%2fb', '/a%2fb', '/a/b'],
  ['/a%5cb', '/a%5cb', '/a/b'],
  ['/a%2F%2F..%2fb', '/a%2F%2F..%2fb', '/a/b'],
  ['/%2e%2e%2fb', '/..%2fb', '/b'],
  ['//a//b', '//a//b', '/a/b'],
  ['/a\\..\\b', '/b', '/b'],
  ['/a//', '/a//', '/a/'],
  ['/a%252fb', '/a%252fb', '/a%252fb'],
  ['/a;x=1/b', '/a;x=1/b', '/a;x=1/b'],
  ['/%2E./x', '/x', '/x'],
  ['/a"<>^`{|}b', '/a%22%3C%3E%5E%60%7B%7C%7Db', '/a%22%3C%3E%5E%60%7B%7C%7Db'],
  ['/%41%7e%2d%5F%21', '/A~-_%21', '/A~-_%21'],
  ['//', '//', '//'],
  ['/%2f', '/%2f', '//'],
];

for (const [path, expectedBase, expectedDecoded] of cases) {
  test(`normalizes ${path}`, () => {
    assert.deepEqual(normalizePath(path, base), { kind: 'path', path: expectedBase });
    assert.deepEqual(normalizePath(path, decode), { kind: 'path', path: expectedDecoded });
    if (isPlainPath(path)) assert.equal(expectedBase, path);
  });
}

test('escaped NUL and fragments are refused, escaped slashes as asked for', () => {
  assert.deepEqual(normalizePath('/a%00', base), { kind: 'reject' });
  for (const path of ['/a#b', '/#', '/a?x#y'])
    assert.deepEqual(normalizePath(path, base), { kind: 'reject' });
  assert.deepEqual(normalizePath('/a%2fb', { ...base, escapedSlashes: 'reject' }), { kind: 'reject' });
  assert.deepEqual(normalizePath('/a%2fb?q', { ...base, escapedSlashes: 'redirect' }), {
    kind: 'redirect',
    path: '/a/b?q',
  });
});

test('plain paths are seen as plain', () => {
  for (const path of ['/', '/details/0', '/a.b/c?x=//y', '/a-b_c~d']) assert.equal(isPlainPath(path), true);
  for (const path of ['/a/./b', '//', '/a%41', '/a#b', '/a?x#y', '/.a'])
    assert.equal(isPlainPath(path), false);
});
