import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRegex } from './regex.ts';

/** Pattern, text, whole match, match in a part. Results of RE2. */
const cases: readonly (readonly [pattern: string, text: string, whole: boolean, part: boolean])[] = [
  ['a|b', 'ab', false, true],
  ['a|ab', 'ab', true, true],
  ['(?i)abc', 'ABC', true, true],
  ['\\d+', '12', true, true],
  ['[[:alpha:]]+', 'ab', true, true],
  ['(?P<x>a)b', 'ab', true, true],
  ['\\Qa.b\\E', 'a.b', true, true],
  ['\\Aab\\z', 'ab', true, true],
  ['[^a]', 'b', true, true],
  ['.', '\n', false, false],
  ['\\x41', 'A', true, true],
  ['\\pL+', 'é', true, true],
  ['', '', true, true],
  ['^$', 'x', false, false],
];

for (const [pattern, text, whole, part] of cases) {
  test(`${JSON.stringify(pattern)} on ${JSON.stringify(text)}`, () => {
    const regex = compileRegex(pattern);
    assert.equal(regex.matches(text), whole);
    assert.equal(regex.find(text), part);
  });
}

test('what RE2 refuses is refused', () => {
  for (const pattern of [
    '(?=a)',
    '(?!a)',
    '(?<=a)',
    '(a)\\1',
    'a**',
    '(',
    '[',
    'x{1001}',
    'x'.repeat(20_000),
  ])
    assert.throws(() => compileRegex(pattern), Error, pattern.slice(0, 20));
});

test('patterns that would backtrack stay linear', () => {
  for (const pattern of ['(a+)+$', '(a|a)*$', '(.*a){20}', '(?i)(a+)+$']) {
    const start = performance.now();
    compileRegex(pattern).matches(`${'a'.repeat(30)}!`);
    assert.ok(performance.now() - start < 500, pattern);
  }
});

test('substitutions take groups by number', () => {
  assert.equal(
    compileRegex('^/service/([^/]+)(/.*)$').replaceAll('/service/foo/v1', '\\2/instance/\\1'),
    '/v1/instance/foo',
  );
  assert.equal(compileRegex('(?i)/Xx').replaceAll('/a/xx/XX', '/[\\0]'), '/a/[/xx]/[/XX]');
  assert.equal(compileRegex('b').replaceAll('abc', '\\\\'), 'a\\c');
  assert.equal(compileRegex('b').replaceAll('abc', '$&'), 'a$&c');
});
